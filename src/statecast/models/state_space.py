"""StateSpaceForecaster: encode once, carry a latent forward, decode; and its latent space."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.checks import LONGEST, typed
from statecast.errors import InputError
from statecast.frames import Batch, Forecast, Frames
from statecast.models.argument_checks import Times
from statecast.models.base import Codes, evaluation_mode
from statecast.models.latents import (
    TIME_TOLERANCE,
    Latents,
    check_clock,
    check_own,
    extend,
    fingerprint_of,
)
from statecast.models.reversed_path import run_back
from statecast.models.roll_out import LatentRollout, State
from statecast.nn.codecs.base import Content
from statecast.solvers.solvers import Solver, SolverName

DECODE_BYTES = 2**26  # of feature maps held at once while decoding: few enough for a CPU's caches
GPU_DECODE_BYTES = 2**30  # the same on other devices, which need large batches
DECODE_MAPS = 4  # largest feature maps that a decoder holds per frame, as measured


class StateSpaceForecaster(LatentRollout):
    """A model that encodes the context once, carries a latent forward, and decodes.

    A forecast is `observe`, `advance`, `decode`; it never looks at a generated frame.
    """

    supports_content_swap = True
    reconstructs: bool = False  # whether the context's own frames have latents
    gap_input: bool = False  # whether frames may be missing, at uneven whole times

    @abstractmethod
    def content_of(self, context: Float[Tensor, "batch time channel *space"]) -> Content:
        """Content of observed frames, in the units of the model."""

    @abstractmethod
    def observe(
        self,
        context: Float[Tensor, "batch time channel *space"],
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> State:
        """Content and latent of observed frames, in the units of the model."""

    def inputs(self, frames: Frames | Batch) -> Float[Tensor, "batch time channel *space"]:
        if not self.gap_input and isinstance(frames, Frames):
            check_clock(frames.times, len(frames), " SRVP accepts gaps with model.gap_input: true.")
        return super().inputs(frames)

    def dynamics_code(self, latent: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch code"]:
        """The part of a latent that is decoded: all of it, unless the latent has a memory."""
        return latent

    def codes_of(self, context: Frames, *, generator: torch.Generator | None = None) -> Codes:
        state = self.observe(self.inputs(context), generator=generator)
        # Some states begin before the last observed frame, and some after it.
        time = max(state.time, 0.0)
        latent = self.advance(state, torch.tensor([time]), generator=generator)[0, :, 0]
        dynamics = self.dynamics_code(latent).flatten(1)
        return Codes(dynamics, state.content.code.flatten(1), round(time))

    @property
    def largest_feature_map(self) -> int:
        """Number of values in the largest feature map of decoding a frame, to bound memory."""
        return math.prod(self.spec.frame_shape)

    def precompute_content(self, content: Content) -> Content:
        """Content with all that `decode` computes only from content, once for all latents."""
        return content

    @abstractmethod
    def decode(
        self, content: Content, latents: Float[Tensor, "batch many latent *grid"]
    ) -> Float[Tensor, "batch many channel *space"]:
        """Frames decoded from many latents of each sequence, in the units of the model."""

    def earliest_time(self, length: int) -> float:
        """Time of the state that `observe` returns for a context of this length."""
        return 0.0

    # The latent space: infer a path through it, continue, reintegrate and decode it.

    @typed
    def infer_latents(
        self,
        context: Frames | Any,
        *,
        samples: int = 1,
        substeps: int | None = None,
        solver: SolverName | None = None,
        generator: torch.Generator | None = None,
    ) -> Latents:
        """Content of observed frames, and a path through the latent space that follows them.

        Args:
            context: consecutive frames as for `forecast`, of any length; their times are kept.
            samples: paths to draw for each sequence.
            substeps: steps of the solver per frame while conditioning; by default the model's own.
            solver: solver of the transition's differential equation; by default the model's own.
            generator: source of the random draws.

        Errors:
            InputError: a shape, channel count, length, time or option does not fit.
        """
        frames = self.check_context(context, "context").to(next(self.buffers()).device)
        if samples < 1:
            raise InputError(f"Latents need at least 1 sample, got samples={samples}.")
        chosen = self.choose_solver(solver, substeps)
        with evaluation_mode(self) as model, torch.no_grad():
            observed = self.inputs(frames)
            latents = model.infer_path(
                observed, samples=samples, solver=chosen, generator=generator
            )
        times = latents.times + frames.times[-1].cpu()
        return replace(latents, times=times, model=fingerprint_of(self))

    def infer_path(
        self,
        observed: Float[Tensor, "batch time channel *space"],
        *,
        samples: int,
        solver: Solver,
        generator: torch.Generator | None,
    ) -> Latents:
        """Latents of observed frames, in the units of the model; the last frame has time 0."""
        state = self.observe(observed, samples=samples, generator=generator)
        solvers = (solver,) * max(round(-state.time), 0)
        path = self.roll_out(state.latent, solvers, generator=generator)
        times = state.time + torch.arange(len(solvers) + 1.0)
        return Latents(content=state.content, times=times, solvers=solvers, **path._asdict())

    @typed
    def continue_latents(
        self,
        latents: Latents,
        horizon: int | None = None,
        *,
        samples: int | None = None,
        substeps: int | None = None,
        solver: SolverName | None = None,
        generator: torch.Generator | None = None,
    ) -> Latents:
        """The path, followed by a forecast up to the lead time `horizon`.

        With the generator that the latents were inferred with, this equals `forecast`.

        Args:
            latents: a path of this model.
            horizon: last lead time, in whole frames after time 0; by default that of training.
            samples: futures to draw of a path with a single sample; by default, as many as the
                path has samples.
            substeps: steps of the solver per frame from here on; by default the model's own.
            solver: solver of the transition's differential equation; by default the model's own.
            generator: source of the random draws.

        Errors:
            InputError: latents of another model, a horizon before their end, or samples that do
                not fit.
        """
        horizon = self.spec.horizon if horizon is None else horizon
        if horizon > LONGEST:
            raise InputError(f"A horizon is at most {LONGEST} frames, got {horizon}.")
        count = round(horizon - check_own(self, latents).end)
        if count < 0:
            raise InputError(
                f"These latents reach to time {latents.end:g} already, got a horizon of {horizon}."
            )
        chosen = self.choose_solver(solver, substeps)
        if samples is not None:
            latents = latents.with_samples(samples)
        with evaluation_mode(self) as model, torch.no_grad():
            solvers = (chosen,) * count
            path = model.roll_out(
                latents.states[:, :, -1], solvers, elapsed=latents.elapsed, generator=generator
            )
        return extend(latents, path, solvers)

    @typed
    def reintegrate_latents(
        self, latents: Latents, *, substeps: int | None = None, solver: SolverName | None = None
    ) -> Latents:
        """Integrate a path again, from its first state and with its noise.

        Args:
            latents: a path of this model; its first state and its noise may have been changed.
            substeps: steps of the solver per frame; by default those of the path.
            solver: solver of the transition's differential equation; by default that of the path.

        Errors:
            InputError: latents of another model, or a solver that the model does not support.
        """
        check_own(self, latents)
        solvers = latents.solvers
        if substeps is not None or solver is not None:
            solvers = (self.choose_solver(solver, substeps),) * len(solvers)
        with evaluation_mode(self) as model, torch.no_grad():
            path = model.roll_out(
                latents.states[:, :, 0],
                solvers,
                noise=latents.noise,
                evidence=latents.evidence,
                elapsed=-latents.origin,
            )
            prior = model.noise_prior(path.states[:, :, :-1])
        return replace(latents, states=path.states, prior=prior, solvers=solvers)

    @typed
    def decode_latents(self, latents: Latents, times: Times | None = None) -> Forecast:
        """Frames of a path, in the units of the data.

        Args:
            latents: a path of this model.
            times: increasing times within the path, whole or not; by default those of its states.

        Errors:
            InputError: latents of another model, or times that do not fit.
        """
        wanted = latents.times if times is None else self._check_times(None, times)
        return Forecast(
            samples=self.frames_at(latents, wanted), times=wanted, channels=self.spec.channels
        )

    def frames_at(
        self, latents: Latents, times: Float[Tensor, " time"]
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """Frames of a path at any of its times, in any order, in the units of the data."""
        check_own(self, latents)
        with evaluation_mode(self) as model, torch.no_grad():
            states = model.states_at(latents, times)
            return self.normaliser.restore(model.decode_all(latents.content, states), axis=3)

    def states_at(
        self, latents: Latents, times: Float[Tensor, " time"]
    ) -> Float[Tensor, "sample batch time latent *grid"]:
        """States of a path at any of its times, in any order.

        Between frames, the path's own solver and noise give them.

        Errors:
            InputError: a time outside the path, or between frames where the transition works in
                whole frames only.
        """
        last, found = len(latents) - 1, []
        for time in (times.double() - latents.start).tolist():
            if not -TIME_TOLERANCE <= time <= last + TIME_TOLERANCE:
                raise InputError(
                    f"These latents reach from time {latents.start:g} to {latents.end:g}, got a "
                    f"time of {time + latents.start:g}."
                )
            frame = min(max(math.floor(time + TIME_TOLERANCE), 0), last)
            state = latents.states[:, :, frame]
            if time - frame > TIME_TOLERANCE:
                now = None if latents.noise is None else latents.noise[:, :, frame : frame + 1]
                state = self.roll_out(
                    state,
                    latents.solvers[frame : frame + 1],
                    fractions=[[time - frame]],
                    noise=now,
                    evidence=latents.evidence_of(frame),
                    elapsed=frame - latents.origin,
                ).states[:, :, 1]
            found.append(state)
        return torch.stack(found, dim=2)

    def predict(
        self,
        context: Frames,
        times: Float[Tensor, " time"],
        *,
        samples: int,
        substeps: int | None,
        solver: SolverName | None,
        content_from: Frames | None,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        observed = self.inputs(context)
        chosen = self.choose_solver(solver, substeps)
        state: State | Latents
        early = float(times[0]) < self.earliest_time(len(context))
        if early and (self.reconstructs or self.invertible(chosen)):
            state, latents = self.states_around(
                observed, times, samples=samples, solver=chosen, generator=generator
            )
        else:
            state = self.observe(observed, samples=samples, generator=generator)
            latents = self.advance(
                state, times, substeps=substeps, solver=solver, generator=generator
            )
        content = state.content
        if content_from is not None:
            content = self.content_of(self.inputs(content_from)).expand(len(context.values))
        return self.normaliser.restore(self.decode_all(content, latents), axis=3)

    def states_around(
        self,
        observed: Float[Tensor, "batch time channel *space"],
        times: Float[Tensor, " time"],
        *,
        samples: int,
        solver: Solver,
        generator: torch.Generator | None,
    ) -> tuple[Latents, Float[Tensor, "sample batch time latent *grid"]]:
        """The inferred path, extended both ways to hold all `times`, and its states at them."""
        path = self.infer_path(observed, samples=samples, solver=solver, generator=generator)
        path = replace(path, model=fingerprint_of(self))
        after = max(math.ceil(float(times[-1]) - path.end), 0)
        if after:
            solvers = (solver,) * after
            found = self.roll_out(
                path.states[:, :, -1], solvers, elapsed=path.elapsed, generator=generator
            )
            path = extend(path, found, solvers)
        before = max(math.ceil(path.start - float(times[0]) - TIME_TOLERANCE), 0)
        if self.invertible(solver):
            path = run_back(self, path, before, generator)
        elif before:
            raise self.too_early(path.start, float(times[0]))
        return path, self.states_at(path, times)

    @typed
    def reconstruct(
        self, context: Frames | Any, *, samples: int = 1, generator: torch.Generator | None = None
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """The context's own frames as the model sees them, decoded from its latents.

        With a generator in the same state, sample i is the past of sample i of `forecast`.

        Args:
            context: observed frames, as `forecast` takes them.
            samples: number of draws of the latents.
            generator: source of the random draws.

        Errors:
            InputError: the model has no latents of context frames, or the context does not fit.
        """
        if not self.reconstructs:
            raise InputError(f"This {type(self).__name__} does not reconstruct its context.")
        latents = self.infer_latents(context, samples=samples, generator=generator)
        return self.decode_latents(latents).samples

    def decode_all(
        self,
        content: Content,
        latents: Float[Tensor, "sample batch time latent *grid"],
        *,
        limit: int | None = None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """Decode all samples and times, as many at once as `limit` bytes of feature maps allow.

        Samples and times are folded together; parts that depend only on content are computed once
        per sequence.
        """
        samples, batch, length = latents.shape[:3]
        folded = latents.transpose(0, 1).flatten(1, 2)  # (batch, sample * time, latent)
        frames: Tensor | None = None
        usual = DECODE_BYTES if latents.device.type == "cpu" else GPU_DECODE_BYTES
        for sequences, parts in self._decode_parts(batch, samples * length, limit or usual):
            ready = self.precompute_content(content.select(sequences))
            for many in parts:
                part = self.decode(ready, folded[sequences, many])
                if frames is None:
                    with torch.inference_mode(False):  # saves a copy in `forecast`
                        frames = part.new_empty(batch, samples * length, *part.shape[2:])
                frames[sequences, many] = part
        assert frames is not None
        return frames.unflatten(1, (samples, length)).transpose(0, 1)

    def _decode_parts(
        self, batch: int, many: int, limit: int
    ) -> Iterator[tuple[slice, list[slice]]]:
        """Slices of sequences, and of their latents, whose maps fit into `limit` bytes."""
        frames = max(1, limit // (DECODE_MAPS * 4 * self.largest_feature_map))
        at_once = max(1, frames // many)
        step = min(many, frames)
        for sequence in range(0, batch, at_once):
            latents = [slice(start, start + step) for start in range(0, many, step)]
            yield slice(sequence, sequence + at_once), latents
