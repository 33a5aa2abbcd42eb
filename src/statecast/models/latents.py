"""Latents: a path through the latent space of a state-space model, and how to continue it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from statecast.checks import typed
from statecast.errors import InputError
from statecast.io.html import html_table
from statecast.nn.codecs.base import Content
from statecast.nn.gaussian import DiagonalGaussian
from statecast.solvers.solvers import Solver

TIME_TOLERANCE = 1e-5  # times closer than this, in frame intervals, are the same
PROBED = 2  # values of each weight that enter a fingerprint


@dataclass(frozen=True, kw_only=True)
class Latents:
    """States of a batch of sequences at whole frames, with all that integrating them again needs.

    Attributes:
        content: content, one per sequence, constant in time.
        states: latent states, one per frame: y of SRVP, T of Separable.
        times: of the states, one frame interval apart; 0 is the last observed frame.
        solvers: the solver that integrates the transition through each frame interval.
        noise: z of each frame interval, or the keys that generate it; None for a transition
            without noise.
        initial: q(y₁ | x), if the first state was drawn from it; (batch, latent).
        posterior: q(z | x) of the observed intervals, which come first; (batch, interval, noise).
        prior: p(z | y) of every interval; (sample, batch, interval, noise).
        evidence: what observed frames say about the noise of each interval, if keys generate that
            noise; NaN where nothing was observed; (batch, interval, size).
        origin: index of the state at which the noise clocks started.
        model: fingerprint of the model that inferred them.
    """

    content: Content
    states: Float[Tensor, "sample batch time latent"]
    times: Float[Tensor, " time"]
    solvers: tuple[Solver, ...]
    noise: Shaped[Tensor, "sample batch interval noise"] | None = None
    initial: DiagonalGaussian | None = None
    posterior: DiagonalGaussian | None = None
    prior: DiagonalGaussian | None = None
    evidence: Float[Tensor, "batch interval size"] | None = None
    origin: int = 0
    model: str = ""

    def __repr__(self) -> str:
        sizes = ", ".join(
            f"{name} {size}"
            for name, size in zip(
                ("sample", "batch", "time", "latent"), self.states.shape, strict=False
            )
        )
        return f"Latents({sizes}, times {float(self.times[0]):g} … {float(self.times[-1]):g})"

    def _repr_html_(self) -> str:
        """Shapes of the parts, for notebooks."""
        parts = {
            "states (sample, batch, time, latent)": self.states,
            "content (batch, content, *grid)": self.content.code,
            "noise (sample, batch, interval, noise)": self.noise,
        }
        rows = {n: "none" if v is None else "×".join(map(str, v.shape)) for n, v in parts.items()}
        solvers = dict.fromkeys(f"{s.name}, {s.substeps} per frame" for s in self.solvers)
        return html_table(repr(self), rows | {"solver steps": "; ".join(solvers) or "none"})

    def __post_init__(self) -> None:
        if self.states.ndim != 4 or 0 in self.states.shape:
            raise InputError(
                "States of latents are (sample, batch, time, latent) and not empty, got "
                f"{tuple(self.states.shape)}."
            )
        samples, batch, length = self.states.shape[:3]
        check_clock(self.times, length)
        if len(self.content.code) != batch:
            raise InputError(
                f"{batch} sequences of states need {batch} contents, got {len(self.content.code)}."
            )
        if len(self.solvers) != length - 1:
            raise InputError(
                f"{length} states need the solvers of {length - 1} intervals, got "
                f"{len(self.solvers)}."
            )
        expected = (samples, batch, length - 1)
        if self.noise is not None and tuple(self.noise.shape[:-1]) != expected:
            raise InputError(
                f"Noise of these states should be (sample, batch, interval) = {expected}, got "
                f"{tuple(self.noise.shape[:-1])}."
            )

    def __len__(self) -> int:
        """Number of states of each sequence."""
        return self.states.shape[2]

    @property
    def start(self) -> float:
        """Time of the first state."""
        return float(self.times[0])

    @property
    def end(self) -> float:
        """Time of the last state."""
        return float(self.times[-1])

    @property
    def elapsed(self) -> int:
        """Frame intervals from the start of the noise clocks to the last state."""
        return len(self) - 1 - self.origin

    def evidence_of(self, interval: int) -> Float[Tensor, "batch 1 size"] | None:
        """Evidence of observed frames on the noise of one interval; None if there is none."""
        if self.evidence is None:
            return None
        found = self.evidence[:, interval : interval + 1]
        return None if bool(found.isnan().all()) else found

    @typed
    def with_samples(self, samples: int) -> Latents:
        """These latents with this number of samples: unchanged, or a single one repeated.

        Errors:
            InputError: they already hold several samples, but not this number.
        """
        if samples < 1:
            raise InputError(f"Latents need at least 1 sample, got samples={samples}.")
        if len(self.states) not in (1, samples):
            raise InputError(
                f"These latents hold {len(self.states)} samples, so samples={samples} cannot be "
                "drawn from them. Infer them with 1 sample, or leave `samples` out."
            )
        noise = None if self.noise is None else self.noise.expand(samples, -1, -1, -1)
        return replace(
            self,
            states=self.states.expand(samples, -1, -1, -1),
            noise=noise,
            prior=None if self.prior is None else DiagonalGaussian(
                *(part.expand(samples, -1, -1, -1) for part in self.prior)
            ),
        )  # fmt: skip


class Rollout(NamedTuple):
    """States along frame intervals, including the first state, and the noise of each interval."""

    states: Float[Tensor, "sample batch time latent *grid"]
    noise: Shaped[Tensor, "sample batch interval noise"] | None
    prior: DiagonalGaussian | None  # of drawn noise; None where noise was given


def extend(latents: Latents, path: Rollout, solvers: tuple[Solver, ...]) -> Latents:
    """Latents continued by a roll-out from their last state, with these solvers."""
    if not solvers:
        return latents
    noise, prior = path.noise, path.prior
    if noise is not None and latents.noise is not None:
        noise = torch.cat([latents.noise, noise], dim=2)
    if prior is not None and latents.prior is not None:
        prior = DiagonalGaussian(
            torch.cat([latents.prior.mean, prior.mean], dim=2),
            torch.cat([latents.prior.std, prior.std], dim=2),
        )
    evidence = latents.evidence
    if evidence is not None:
        unknown = evidence.new_full((len(evidence), len(solvers), evidence.shape[2]), torch.nan)
        evidence = torch.cat([evidence, unknown], dim=1)
    width = max(latents.states.shape[3], path.states.shape[3])
    states = [with_width(latents.states, width), with_width(path.states, width)[:, :, 1:]]
    return replace(
        latents,
        states=torch.cat(states, dim=2),
        times=latents.start + torch.arange(float(len(latents) + len(solvers))),
        solvers=latents.solvers + solvers,
        noise=noise,
        prior=prior,
        evidence=evidence,
    )


def with_width(
    states: Float[Tensor, "sample batch time latent *grid"], width: int
) -> Float[Tensor, "sample batch time width *grid"]:
    """States of this width; those without a shadow get a copy of themselves as one."""
    return states if states.shape[3] == width else torch.cat([states, states], dim=3)


def check_own(model: nn.Module, latents: Latents) -> Latents:
    """Return `latents` if they belong to `model`.

    Errors:
        InputError: another model, or other weights, inferred them.
    """
    if latents.model != fingerprint_of(model):
        raise InputError(
            f"These latents come from another model than this {type(model).__name__}, or from "
            "other weights. Infer them again."
        )
    return latents


def fingerprint_of(model: nn.Module) -> str:
    """Digest of the names, shapes and some values of a model's weights and statistics."""
    tensors = model.state_dict()
    digest = hashlib.sha256(repr([(n, tuple(t.shape)) for n, t in tensors.items()]).encode())
    probes = [tensor.reshape(-1)[-PROBED:].double() for tensor in tensors.values()]
    digest.update(torch.cat(probes).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def check_clock(times: Float[Tensor, " time"], length: int, remedy: str = "") -> None:
    """Raise `InputError` unless `times` are `length` times, one frame interval apart."""
    if times.shape != (length,) or not bool(torch.isfinite(times).all()):
        raise InputError(f"{length} frames need {length} finite times, got {times.tolist()}.")
    if not bool(((times.diff() - 1).abs() <= TIME_TOLERANCE).all()):
        raise InputError(
            f"Frames must be consecutive, 1 frame interval apart, got times {times.tolist()}."
            + remedy
        )
