"""Noise that changes continuously: white noise, and coloured noise with a correlation time."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from statecast.nn.gaussian import DiagonalGaussian, widened
from statecast.nn.noise_model import (
    Dynamics,
    NoiseModel,
    Steps,
    main_state,
    observed_or_prior,
    path_divergence,
    with_noise,
)
from statecast.solvers.brownian import BrownianPath, node_normals
from statecast.solvers.interval_noise import Interval, IntervalNoise
from statecast.solvers.reversible import Followed
from statecast.solvers.solvers import Solver, SolverName, Velocity, total

DiffusionName = Literal["state", "constant"]
START = 2**33  # node of an interval that gives the initial noise of a path


class DiffusiveInterval(IntervalNoise):
    """A frame interval with a Brownian path, whose increment drives each step."""

    def __init__(
        self, model: WhiteNoise | ColouredNoise, interval: Interval, dynamics: Dynamics
    ) -> None:
        self.model, self.interval, self.dynamics = model, interval, dynamics
        self.inputs = () if interval.evidence is None else (interval.evidence,)
        self._path: BrownianPath | None = None

    def velocity(self, state: Followed, start: float, end: float) -> Velocity:
        """Velocity of the state in one step, with the path's increment spread evenly over it."""
        if self._path is None:
            like, size = main_state(state), self.model.noise_size
            self._path = BrownianPath.of_keys(self.interval.keys, size, like)
        slope = self._path.increment(start, end) / (end - start)
        return lambda y: self.model.velocity(y, slope, self.interval, self.dynamics)

    def piece(self, solver: Solver, state: Followed, start: float, end: float) -> Followed:
        if start == 0 and self.interval.elapsed == 0:
            state = self.model.begin(state, self.interval, self.dynamics)
        return solver.step([self.velocity(state, start, end)], state, end - start)

    def piece_back(self, solver: Solver, state: Followed, start: float, end: float) -> Followed:
        return solver.step_back([self.velocity(state, start, end)], state, end - start)


class WhiteNoise(NoiseModel):
    r"""White noise that enters the latent linearly: a stochastic differential equation.

    $$dy = \big(f(y) + B\,\mu\big)\,dt + B\,\sigma\,dW, \qquad
    KL = \int \tfrac12 \left\|\frac{\mu_q - \mu_p(y)}{\sigma}\right\|^2 dt$$

    in Itô's sense. The posterior has its own mean μ, constant over a frame interval, and shares σ
    with the prior: by Girsanov's theorem, the divergence would be infinite otherwise. One Euler
    step per frame is the published update, with a velocity linear in z and a shared σ.

    Args:
        latent_size: size of y.
        noise_size: size of W.
        diffusion: whether σ depends on the `state`, or is `constant`.
        smallest: constant added to σ, which must not vanish.
    """

    enters_velocity = False
    reversible = True

    def __init__(
        self, latent_size: int, noise_size: int, *, diffusion: DiffusionName, smallest: float
    ) -> None:
        super().__init__(latent_size, noise_size)
        self.carried, self.smallest = 0, smallest
        self.posterior_size = noise_size
        self.mixing = nn.Linear(noise_size, latent_size, bias=False)
        self.raw_std: nn.Parameter | None = None
        if diffusion == "constant":
            self.prior_size = noise_size
            self.raw_std = nn.Parameter(torch.zeros(noise_size))

    def initialise(self, generator: torch.Generator | None) -> None:
        """Draw B with a scale that preserves the size of the noise; a constant σ starts at ln 2."""
        nn.init.normal_(self.mixing.weight, std=self.noise_size**-0.5, generator=generator)
        if self.raw_std is not None:
            nn.init.zeros_(self.raw_std)

    def gaussian(self, parameters: Tensor) -> DiagonalGaussian:
        mean = widened(parameters[..., : self.noise_size])
        raw = parameters[..., self.noise_size :] if self.raw_std is None else self.raw_std
        std = softplus(widened(raw)) + self.smallest
        return DiagonalGaussian(mean, std.expand_as(mean))

    def posterior(self, evidence: Tensor, prior: DiagonalGaussian) -> DiagonalGaussian:
        known = observed_or_prior(widened(evidence), prior.mean.mean(dim=0))
        return DiagonalGaussian(known, prior.std.mean(dim=0).expand_as(evidence))

    @property
    def solvers(self) -> tuple[SolverName, ...]:
        # Other solvers are for Stratonovich equations, which differ if σ depends on the state.
        return super().solvers if self.raw_std is not None else ("euler",)

    def interval(self, interval: Interval, dynamics: Dynamics) -> IntervalNoise:
        return DiffusiveInterval(self, interval, dynamics)

    def begin(self, state: Followed, interval: Interval, dynamics: Dynamics) -> Followed:
        """The initial state of a path."""
        return state

    def velocity(
        self, latent: Tensor, slope: Tensor, interval: Interval, dynamics: Dynamics
    ) -> Tensor:
        """Velocity of the latent, with ΔW/Δt in place of dW/dt."""
        prior = self.gaussian(dynamics.prior(latent))
        mean = observed_or_prior(interval.evidence, prior.mean)
        moved = total(dynamics.parts(None))(latent)
        return moved + self.mixing(widened(mean) + prior.std * slope)

    def divergence(
        self, steps: Steps, evidence: Tensor, dynamics: Dynamics
    ) -> Float[Tensor, "sample batch interval"]:
        prior = self.gaussian(dynamics.prior(steps.latents))
        observed = observed_or_prior(evidence[:, list(steps.intervals)], prior.mean)
        density = path_divergence(widened(observed), prior)
        return self.per_interval(density * density.new_tensor(steps.lengths), steps)

    def drift(
        self, steps: Steps, evidence: Tensor, dynamics: Dynamics
    ) -> Float[Tensor, "sample batch step latent"]:
        prior = self.gaussian(dynamics.prior(steps.latents)).mean
        observed = observed_or_prior(evidence[:, list(steps.intervals)], prior)
        pulled = self.mixing(widened(observed))
        velocity = total(dynamics.parts(None))(steps.latents) + pulled
        return velocity * velocity.new_tensor(steps.lengths).unsqueeze(-1)


class ColouredNoise(NoiseModel):
    r"""Noise z with a correlation time 1/κ: an Ornstein–Uhlenbeck process that drives the latent.

    $$\frac{dy}{dt} = f(y, z), \qquad dz = -\kappa\,(z - \mu(y))\,dt + \sigma(y)\sqrt{2\kappa}\,dW$$

    The first z comes from N(μ, σ²), the stationary distribution at the first latent. The posterior
    has its own Gaussian for the first z, and pulls z towards its own mean in each frame interval:

    $$KL(q(z_0) \,\|\, p(z_0)) + \int \frac{\kappa}{4}
    \left\|\frac{\mu_q - \mu_p(y)}{\sigma(y)}\right\|^2 dt$$

    The Itô and the Stratonovich equation agree, since σ depends on y, which has no noise itself.

    Args:
        latent_size: size of y.
        noise_size: size of z.
        time: 1/κ, in frame intervals.
        smallest: constant added to σ, which must not vanish.
    """

    reversible = True

    def __init__(self, latent_size: int, noise_size: int, *, time: float, smallest: float) -> None:
        super().__init__(latent_size, noise_size)
        self.time, self.smallest = time, smallest

    def gaussian(self, parameters: Tensor) -> DiagonalGaussian:
        mean, raw = widened(parameters).chunk(2, dim=-1)
        return DiagonalGaussian(mean, softplus(raw) + self.smallest)

    def why_not_solvable(self, solver: Solver) -> str | None:
        if solver.substeps * self.time < 1:
            return (
                f"does not converge with steps longer than its correlation time, {self.time:g} "
                f"frames; set substeps to {int(-(-1 // self.time))} or more"
            )
        return None

    def interval(self, interval: Interval, dynamics: Dynamics) -> IntervalNoise:
        return DiffusiveInterval(self, interval, dynamics)

    def begin(self, state: Followed, interval: Interval, dynamics: Dynamics) -> Followed:
        """The initial state of a path, with a draw of its first z."""
        latent = main_state(state)[..., : self.latent_size]
        given = observed_or_prior(interval.evidence, dynamics.prior(latent))
        standard = node_normals(interval.keys, START, self.noise_size, latent)
        return with_noise(state, self.gaussian(given).at(standard), self.latent_size)

    def velocity(
        self, both: Tensor, slope: Tensor, interval: Interval, dynamics: Dynamics
    ) -> Tensor:
        """Velocity of the latent and of z, with ΔW/Δt in place of dW/dt."""
        latent, noise = both[..., : self.latent_size], both[..., self.latent_size :]
        parameters = dynamics.prior(latent)
        prior = self.gaussian(parameters)
        mean = self.gaussian(observed_or_prior(interval.evidence, parameters)).mean
        pulled = (mean - noise) / self.time + prior.std * (2 / self.time) ** 0.5 * slope
        return torch.cat([total(dynamics.parts(noise))(latent), pulled], dim=-1)

    def divergence(
        self, steps: Steps, evidence: Tensor, dynamics: Dynamics
    ) -> Float[Tensor, "sample batch interval"]:
        parameters = dynamics.prior(steps.latents)
        prior = self.gaussian(parameters)
        known = observed_or_prior(evidence[:, list(steps.intervals)], parameters)
        posterior = self.gaussian(known)
        density = path_divergence(posterior.mean, prior) / (2 * self.time)
        terms = density * density.new_tensor(steps.lengths)
        first = DiagonalGaussian(posterior.mean[:, :, :1], posterior.std[:, :, :1]).divergence(
            DiagonalGaussian(prior.mean[:, :, :1], prior.std[:, :, :1])
        )
        return self.per_interval(torch.cat([terms[..., :1] + first, terms[..., 1:]], -1), steps)
