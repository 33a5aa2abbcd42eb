r"""NoiseModel: the interface of all kinds of noise of a latent in continuous time.

A kind of noise is a distribution over paths, with an approximate posterior that is filtered from
observed frames. It defines how the latent, and the noise carried beside it, move through a frame
interval, and the Kullback–Leibler divergence of posterior paths from prior paths.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.nn.gaussian import DiagonalGaussian
from statecast.solvers.interval_noise import Interval, IntervalNoise
from statecast.solvers.reversible import Followed, Pair
from statecast.solvers.solvers import ADAPTIVE, ODE_SOLVERS, Solver, SolverName, Velocity


class Dynamics(NamedTuple):
    """Parts of a model that its noise uses."""

    parts: Callable[[Tensor | None], list[Velocity]]  # of the latent's velocity, given the noise
    prior: Callable[[Tensor], Tensor]  # from a latent to the prior's parameters
    stepper: Callable[[Solver], Solver]  # from the requested solver to the one that takes steps


class Steps(NamedTuple):
    """The steps of a path through observed intervals, in order."""

    latents: Float[Tensor, "sample batch step latent"]  # at the start of each
    lengths: Sequence[float]  # in frame intervals
    starts: Sequence[float]  # in [0, 1), within the interval
    intervals: Sequence[int]  # index of the interval of each

    @classmethod
    def of(cls, latents: Tensor, ends: Sequence[Sequence[float]]) -> Steps:
        """Steps that end at these times in each interval."""
        starts = [start for times in ends for start in (0.0, *times[:-1])]
        stops = [stop for times in ends for stop in times]
        lengths = [stop - start for start, stop in zip(starts, stops, strict=True)]
        intervals = [index for index, times in enumerate(ends) for _ in times]
        return cls(latents, lengths, starts, intervals)


class NoiseModel(nn.Module, ABC):
    """A kind of noise of a latent.

    Args:
        latent_size: size of the latent.
        noise_size: size of the noise.

    Attributes:
        carried: number of columns that the noise adds to the latent.
        enters_velocity: whether the noise is an input of the transition.
        reversible: whether the noise before a step can be computed from that after it.
        posterior_size: number of parameters of the posterior of a frame interval.
        prior_size: number of parameters of the prior at a latent.
    """

    enters_velocity: ClassVar[bool] = True
    reversible: ClassVar[bool] = False

    def __init__(self, latent_size: int, noise_size: int) -> None:
        super().__init__()
        self.latent_size, self.noise_size = latent_size, noise_size
        self.carried = noise_size
        self.posterior_size = self.prior_size = 2 * noise_size

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw the weights of the noise itself."""

    def gaussian(self, parameters: Float[Tensor, "*batch size"]) -> DiagonalGaussian:
        """Distribution of the noise, from the first of the parameters."""
        return DiagonalGaussian.from_output(parameters[..., : 2 * self.noise_size])

    def posterior(
        self, evidence: Float[Tensor, "*batch size"], prior: DiagonalGaussian
    ) -> DiagonalGaussian:
        """Distribution of the noise, given the evidence of observed frames and the prior."""
        return self.gaussian(evidence)

    @property
    def solvers(self) -> tuple[SolverName, ...]:
        """Solvers that support this noise; by default, those with fixed steps."""
        return tuple(name for name in ODE_SOLVERS if name not in ADAPTIVE)

    def why_not_solvable(self, solver: Solver) -> str | None:
        """Why the steps of a solver are too long; None if they are not."""
        return None

    def renewals(self, elapsed: int) -> list[float]:
        """Times of renewals common to all rows, in [0, 1) of an interval."""
        return []

    @abstractmethod
    def interval(self, interval: Interval, dynamics: Dynamics) -> IntervalNoise:
        """The noise of a frame interval."""

    @abstractmethod
    def divergence(
        self, steps: Steps, evidence: Float[Tensor, "batch interval size"], dynamics: Dynamics
    ) -> Float[Tensor, "sample batch interval"]:
        """Divergence of the posterior path from the prior path, in nats per frame interval."""

    def drift(
        self, steps: Steps, evidence: Float[Tensor, "batch interval size"], dynamics: Dynamics
    ) -> Float[Tensor, "sample batch step latent"] | None:
        """Contribution of the drift to the latent in each step; None if it is all that moves it."""
        return None

    def per_interval(
        self, terms: Float[Tensor, "sample batch step"], steps: Steps
    ) -> Float[Tensor, "sample batch interval"]:
        """Terms of steps, summed over each interval."""
        index = torch.tensor(steps.intervals, device=terms.device)
        total = terms.new_zeros(*terms.shape[:2], max(steps.intervals) + 1)
        return total.index_add(2, index, terms)


# States with noise: columns of the latent, then of the noise.


def main_state(state: Followed) -> Tensor:
    """The state without its shadow."""
    return state.state if isinstance(state, Pair) else state


def with_noise(state: Followed, noise: Tensor, latent_size: int) -> Followed:
    """The state with this noise beside the latent."""
    if isinstance(state, Pair):
        return Pair(*(torch.cat([part[..., :latent_size], noise], dim=-1) for part in state))
    return torch.cat([state[..., :latent_size], noise], dim=-1)


def observed_or_prior(
    evidence: Float[Tensor, "*batch size"] | None, prior: Float[Tensor, "*batch more"]
) -> Float[Tensor, "*batch size"]:
    """The evidence of observed frames, and the prior's parameters where it is missing or NaN."""
    if evidence is None:
        return prior
    return torch.where(evidence.isnan(), prior[..., : evidence.shape[-1]], evidence)


def path_divergence(
    posterior_mean: Float[Tensor, "*batch noise"], prior: DiagonalGaussian
) -> Float[Tensor, "*batch"]:
    r"""Divergence between white noises of different means, per unit of time (Girsanov).

    $$\tfrac12 \left\|\frac{\mu_q - \mu_p}{\sigma}\right\|^2$$

    Both have the same σ; otherwise the divergence would be infinite.
    """
    return 0.5 * ((posterior_mean - prior.mean) / prior.std).square().sum(dim=-1)


def rate_divergence(
    posterior: Float[Tensor, "*batch"], prior: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    r"""Divergence of one Poisson process from another, per unit of time.

    $$\lambda_q \ln\frac{\lambda_q}{\lambda_p} - \lambda_q + \lambda_p$$
    """
    return posterior * (posterior / prior).log() - posterior + prior
