"""The latent process of SRVP: a differential equation with noise, its prior and its posterior."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.models.carried_states import interval_keys
from statecast.models.srvp_gaps import GapNetwork
from statecast.models.state_space import StateSpaceForecaster
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.held_noise import RandomNoise
from statecast.nn.noise_model import Dynamics, NoiseModel, Steps
from statecast.nn.noise_models import NoiseName, RenewalName
from statecast.nn.transitions import (
    ContinuousTransition,
    ResidualTransition,
    Transition,
    TransitionName,
)
from statecast.solvers.interval_noise import Constant, Interval, IntervalNoise, follow, step_times
from statecast.solvers.reversible import Followed
from statecast.solvers.solvers import Solver, SolverName


class Inference(NamedTuple):
    """Latents of observed frames, drawn from the posterior, and the Gaussians behind them."""

    latents: Float[Tensor, "sample batch time latent"]
    increments: Float[Tensor, "sample batch step latent"]  # of each step, without white noise
    noise: Shaped[Tensor, "sample batch interval noise"] | None  # z₂ … z_T, or their keys
    initial: DiagonalGaussian  # q(y₁), (batch, latent)
    posterior: DiagonalGaussian | None  # q(z₂ … z_T), (batch, time − 1, noise)
    prior: DiagonalGaussian | None  # p(z₂ … z_T | y), (sample, batch, time − 1, noise)
    divergence: Float[Tensor, "sample batch interval"] | None  # of q(z) from p(z), in nats
    evidence: Float[Tensor, "batch interval size"] | None  # if keys generate noise


class LatentProcess(StateSpaceForecaster):
    """A latent that follows a differential equation, driven by noise with a learned prior.

    Attributes:
        initial: maps the codes of the first frames to q(y₁).
        transition: transition of y, given the noise.
        lstm, posterior, prior: filter, posterior and prior of the noise; None without noise.
        noise_model: noise in continuous time; None if noise is held over frame intervals.
        gaps: tells the posterior of missing frames; None if no frame may be missing.
    """

    initial: nn.Sequential
    transition: Transition
    lstm: nn.LSTM | None
    posterior: nn.Linear | None
    prior: nn.Sequential | None
    noise_model: NoiseModel | None
    gaps: GapNetwork | None
    inference_frames: int
    latent_size: int

    def infer(
        self,
        codes: Float[Tensor, "batch time code"],
        *,
        samples: int = 1,
        solver: Solver | None = None,
        generator: torch.Generator | None = None,
    ) -> Inference:
        """Draw y₁ and z₂ … z_T from the posterior, and carry the latent through all frames."""
        initial = self.initial_state(codes)
        first = initial.draw(generator, samples)
        parameters, unobserved = self.evidence_of(codes)
        solver = solver or self.choose_solver()
        if self.noise_model is not None and parameters is not None:
            keys = interval_keys(generator, samples, len(codes), parameters.shape[1])
            if unobserved is not None:
                parameters = parameters.masked_fill(unobserved.unsqueeze(2), torch.nan)
            return self._infer_from_keys(
                first, initial, keys=keys, evidence=parameters, solver=solver
            )
        posterior, noise = None, None
        if parameters is not None:
            posterior = DiagonalGaussian.from_output(parameters)
            noise = posterior.draw(generator, samples)
            if unobserved is not None:
                noise = noise.masked_fill(unobserved.unsqueeze(2), torch.nan)
        intervals, every = codes.shape[1] - 1, solver.substeps
        steps = tuple(index / every for index in range(1, every + 1))
        run = self.roll_out(
            first,
            (solver,) * intervals,
            fractions=(steps,) * intervals,
            noise=noise,
            generator=generator,
        )
        path, noise = run.states, run.noise
        latents = path[:, :, ::every]
        prior = self.noise_prior(latents[:, :, :-1])
        divergence = posterior.divergence(prior) if posterior and prior else None
        if divergence is not None and unobserved is not None:
            divergence = divergence.masked_fill(unobserved, 0.0)
        increments = path[..., : self.latent_size].diff(dim=2)
        return Inference(
            latents, increments, noise, initial, posterior, prior, divergence, evidence=None
        )

    def initial_state(self, codes: Float[Tensor, "batch time code"]) -> DiagonalGaussian:
        """q(y₁), given the codes of the first frames."""
        first = codes[:, : self.inference_frames]
        if self.gaps is not None:
            first = self.gaps.filled(first)
        return DiagonalGaussian.from_output(self.initial(first.flatten(1)))

    def evidence_of(
        self, codes: Float[Tensor, "batch time code"]
    ) -> tuple[Float[Tensor, "batch interval size"] | None, Bool[Tensor, "batch interval"] | None]:
        """Parameters of the posterior of each interval, and which intervals have no evidence.

        Both are None for a model without noise, the latter also if all intervals have evidence.
        """
        if self.lstm is None or self.posterior is None:
            return None, None
        if self.gaps is not None:
            found = self.gaps.evidence(codes, lstm=self.lstm, posterior=self.posterior)
            return found.parameters, found.unobserved if bool(found.unobserved.any()) else None
        # z_t depends on frames up to t, so one pass gives the parameters at all times.
        return self.posterior(self.lstm(codes)[0][:, 1:]), None

    def _infer_from_keys(
        self,
        first: Float[Tensor, "sample batch latent"],
        initial: DiagonalGaussian,
        *,
        keys: Int64[Tensor, "sample batch interval 1"],
        evidence: Float[Tensor, "batch interval size"],
        solver: Solver,
    ) -> Inference:
        model = self.noise_model
        assert model is not None
        intervals = evidence.shape[1]
        first = torch.cat([first, first.new_zeros(*first.shape[:2], model.carried)], dim=-1)
        ends = [step_times(solver.substeps, model.renewals(index)) for index in range(intervals)]
        path = self.roll_out(
            first, (solver,) * intervals, fractions=ends, noise=keys, evidence=evidence
        ).states
        steps = Steps.of(path[:, :, :-1, : self.latent_size], ends)
        frames = torch.tensor([0, *itertools.accumulate(map(len, ends))])
        latents = path[:, :, frames]
        prior = self.noise_prior(latents[:, :, :-1])
        assert prior is not None
        increments = model.drift(steps, evidence, self.noise_dynamics)
        if increments is None:
            increments = path[..., : self.latent_size].diff(dim=2)
        return Inference(
            latents=latents,
            increments=increments,
            noise=keys,
            initial=initial,
            posterior=model.posterior(evidence, prior),
            prior=prior,
            divergence=model.divergence(steps, evidence, self.noise_dynamics),
            evidence=evidence,
        )

    def noise_prior(self, latent: Float[Tensor, "*batch latent"]) -> DiagonalGaussian | None:
        if self.prior is None:
            return None
        parameters = self.prior(latent[..., : self.latent_size])
        if self.noise_model is not None:
            return self.noise_model.gaussian(parameters)
        return DiagonalGaussian.from_output(parameters)

    def renewal_rates(self, states: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch"]:
        """Learned rates of renewal λ(y) at states of a path, in renewals per frame interval.

        Errors:
            InputError: the model does not learn a rate of renewal.
        """
        if not isinstance(self.noise_model, RandomNoise) or self.prior is None:
            raise InputError("Only renewal: poisson and renewal: adaptive learn a rate of renewal.")
        return self.noise_model.rate(self.prior(states[..., : self.latent_size]))

    def dynamics(self) -> nn.Module | None:
        kind = self.transition
        return kind.velocity if isinstance(kind, ResidualTransition) else None

    def step(
        self,
        latent: Followed,
        noise: Tensor | Interval | None,
        *,
        solver: Solver,
        fractions: Sequence[float],
    ) -> list[Followed]:
        if isinstance(noise, Interval):
            return follow(self.interval_noise(noise), solver, latent, fractions)
        return self.transition.step(latent, noise, solver=solver, fractions=fractions)

    @property
    def noise_dynamics(self) -> Dynamics:
        """Parts of this model that a noise model uses."""
        assert isinstance(self.transition, ContinuousTransition)
        assert self.prior is not None
        return Dynamics(self.transition.parts, self.prior, self.transition.stepper)

    def interval_noise(self, noise: Tensor | Interval | None) -> IntervalNoise:
        if isinstance(noise, Interval):
            assert self.noise_model is not None
            return self.noise_model.interval(noise, self.noise_dynamics)
        if not isinstance(self.transition, ContinuousTransition):
            return super().interval_noise(noise)
        inputs = () if noise is None else (noise,)
        return Constant(self.transition.parts(noise), self.transition.stepper, inputs)

    def step_weights(self) -> Iterator[nn.Parameter]:
        yield from self.transition.parameters()
        if self.noise_model is not None and self.prior is not None:
            yield from (*self.noise_model.parameters(), *self.prior.parameters())

    def invertible(self, solver: Solver) -> bool:
        kind = self.transition
        known = self.noise_model is None or self.noise_model.reversible
        return known and isinstance(kind, ContinuousTransition) and kind.invertible(solver)

    def choose_solver(
        self, solver: SolverName | None = None, substeps: int | None = None
    ) -> Solver:
        chosen = super().choose_solver(solver, substeps)
        if self.noise_model is not None:
            reason = self.noise_model.why_not_solvable(chosen)
            if reason is not None:
                raise InputError(f"This noise {reason}.")
        return chosen


def check_noise(
    noise: NoiseName, renewal: RenewalName, transition: TransitionName, *, stochastic: bool
) -> None:
    """Raise `InputError` if a transition cannot have this kind of noise."""
    kind = noise if noise != "held" else f"renewal: {renewal}"
    if not stochastic:
        raise InputError(f"{kind} needs a model with noise: set stochastic: true.")
    if noise != "held" and renewal != "frames":
        raise InputError(
            f"{noise.capitalize()} noise changes all the time and is never renewed. Leave renewal: "
            f"{renewal} out, or set noise: held."
        )
    if transition in ("gru", "mlp"):
        raise InputError(
            f"The {transition} transition works in whole frames only, got {kind}. Set transition: "
            "residual."
        )
    if transition == "coupling" and noise != "held":
        raise InputError(
            f"The coupling transition needs noise: held, got {noise}. To undo steps with other "
            "noise, set transition: residual and solver: reversible_heun."
        )
