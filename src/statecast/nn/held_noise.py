r"""Noise that is held between renewals: on a grid of times, at random times, or when needed.

$$\frac{dy}{dt} = f(y, z_k) \text{ on } [\tau_k, \tau_{k+1}), \qquad
z_k \sim p(z \mid y(\tau_k)) \text{ or } q(z \mid x_{\le \lfloor\tau_k\rfloor + 1})$$

As published, the posterior of noise renewed at τ depends on the frames up to the first one after τ,
so that new frames can update a state.
"""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from statecast.nn.gaussian import DiagonalGaussian, widened
from statecast.nn.noise_model import (
    Dynamics,
    NoiseModel,
    Steps,
    main_state,
    observed_or_prior,
    rate_divergence,
    with_noise,
)
from statecast.solvers.brownian import node_normals
from statecast.solvers.counters import counter_uniforms, node_keys
from statecast.solvers.interval_noise import (
    Interval,
    IntervalNoise,
    grid_renewals,
    number_of_time,
    poisson_times,
)
from statecast.solvers.reversible import Followed
from statecast.solvers.solvers import Solver, Velocity

Model = TypeVar("Model", bound=NoiseModel)
TIMES, GATES = 2**32, 2**32 + 1  # nodes of an interval that give times and decisions


class HeldInterval(IntervalNoise, Generic[Model]):
    """A frame interval of noise that is held between renewals."""

    def __init__(self, model: Model, interval: Interval, dynamics: Dynamics) -> None:
        self.model, self.interval, self.dynamics = model, interval, dynamics
        self.inputs = () if interval.evidence is None else (interval.evidence,)

    def move(self, solver: Solver, state: Followed, length: float | Tensor) -> Followed:
        """The state one step of this length later, driven by its own noise."""
        size = self.model.latent_size
        noise = main_state(state)[..., size:]

        def held(part: Velocity) -> Velocity:
            return lambda both: pad(part(both[..., :size]), (0, self.model.noise_size))

        parts = [held(part) for part in self.dynamics.parts(noise)]
        return self.dynamics.stepper(solver).step(parts, state, length)

    def gaussian(self, parameters: Tensor) -> DiagonalGaussian:
        """Distribution of renewed noise, given the prior's parameters at the latent."""
        return self.model.gaussian(observed_or_prior(self.interval.evidence, parameters))

    def fresh(self, node: int, state: Followed) -> Tensor:
        """Noise renewed at a state, (sample, batch, noise)."""
        latent = main_state(state)[..., : self.model.latent_size]
        parameters = self.dynamics.prior(latent)
        standard = node_normals(self.interval.keys, node, self.model.noise_size, latent)
        return self.gaussian(parameters).at(standard)

    def renew(self, node: int, state: Followed, gate: Tensor | None = None) -> Followed:
        """The state with fresh noise, in all rows or in rows with a gate of 1."""
        fresh = self.fresh(node, state)
        if gate is not None:
            fresh = torch.lerp(main_state(state)[..., self.model.latent_size :], fresh, gate)
        return with_noise(state, fresh, self.model.latent_size)


class GridNoise(NoiseModel):
    r"""Noise renewed every `period` frame intervals, from the start of a path.

    $$\sum_k KL(q(z_k) \,\|\, p(z_k \mid y(\tau_k)))$$

    A period of 1 gives the published noise.
    """

    def __init__(self, latent_size: int, noise_size: int, *, period: float) -> None:
        super().__init__(latent_size, noise_size)
        self.period = period

    def interval(self, interval: Interval, dynamics: Dynamics) -> IntervalNoise:
        return GridInterval(self, interval, dynamics)

    def renewals(self, elapsed: int) -> list[float]:
        """Times of renewals in an interval, in [0, 1)."""
        return grid_renewals(self.period, elapsed)

    def divergence(
        self, steps: Steps, evidence: Tensor, dynamics: Dynamics
    ) -> Float[Tensor, "sample batch interval"]:
        chosen = [
            index
            for index, (start, interval) in enumerate(
                zip(steps.starts, steps.intervals, strict=True)
            )
            if number_of_time(self.renewals(interval), start) is not None
        ]
        intervals = [steps.intervals[index] for index in chosen]
        parameters = dynamics.prior(steps.latents[:, :, chosen])
        observed = observed_or_prior(evidence[:, intervals], parameters)
        terms = self.gaussian(observed).divergence(self.gaussian(parameters))
        count = max(steps.intervals) + 1
        index = torch.tensor(intervals, device=terms.device)
        return terms.new_zeros(*terms.shape[:2], count).index_add(2, index, terms)


class GridInterval(HeldInterval[GridNoise]):
    """A frame interval with the same times of renewal for all rows."""

    def __init__(self, model: GridNoise, interval: Interval, dynamics: Dynamics) -> None:
        super().__init__(model, interval, dynamics)
        self.renewals = model.renewals(interval.elapsed)

    def piece(self, solver: Solver, state: Followed, start: float, end: float) -> Followed:
        node = number_of_time(self.renewals, start)
        if node is not None:
            state = self.renew(node, state)
        return self.move(solver, state, end - start)


class RandomNoise(NoiseModel):
    """Noise renewed at random times, with a learned rate λ(y) between 0 and `largest`."""

    def __init__(self, latent_size: int, noise_size: int, *, rate: float, largest: float) -> None:
        super().__init__(latent_size, noise_size)
        self.largest = largest
        self.offset = math.log(rate / (largest - rate))
        self.prior_size = 2 * noise_size + 1

    def rate(self, parameters: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch"]:
        """Renewals per frame interval, from the last of the parameters."""
        return self.largest * torch.sigmoid(widened(parameters[..., -1]) + self.offset)


class PoissonNoise(RandomNoise):
    r"""Noise renewed at the times of a Poisson process of rate λ(y).

    The process is thinned from one of the largest rate (Lewis and Shedler, 1979), which is exact
    for any steps. The posterior has its own rate in each frame interval. The divergence is

    $$KL(q(z_0) \,\|\, p(z_0)) + \int \lambda_q \ln\frac{\lambda_q}{\lambda_p} - \lambda_q
    + \lambda_p + \lambda_q\, KL(q(z) \,\|\, p(z \mid y))\; dt$$

    with the integrand at the left end of each step. The gradient of a decision is that of its
    probability (straight through).
    """

    def __init__(self, latent_size: int, noise_size: int, *, rate: float, largest: float) -> None:
        super().__init__(latent_size, noise_size, rate=rate, largest=largest)
        self.posterior_size = 2 * noise_size + 1

    def interval(self, interval: Interval, dynamics: Dynamics) -> IntervalNoise:
        return PoissonInterval(self, interval, dynamics)

    def divergence(
        self, steps: Steps, evidence: Tensor, dynamics: Dynamics
    ) -> Float[Tensor, "sample batch interval"]:
        parameters = dynamics.prior(steps.latents)
        observed = observed_or_prior(evidence[:, list(steps.intervals)], parameters)
        marks = self.gaussian(observed).divergence(self.gaussian(parameters))
        rate = self.rate(observed)
        density = rate_divergence(rate, self.rate(parameters)) + rate * marks
        terms = density * density.new_tensor(steps.lengths)
        return self.per_interval(torch.cat([(terms + marks)[..., :1], terms[..., 1:]], -1), steps)


class PoissonInterval(HeldInterval[PoissonNoise]):
    """A frame interval in which each row has its own times of renewal."""

    def __init__(self, model: PoissonNoise, interval: Interval, dynamics: Dynamics) -> None:
        super().__init__(model, interval, dynamics)
        times = poisson_times(node_keys(interval.keys, TIMES), model.largest)
        self.times = torch.from_numpy(times)  # (sample, batch, event)
        gates = counter_uniforms(node_keys(interval.keys, GATES), times.shape[-1])
        self.gates = torch.from_numpy(gates)

    def piece(self, solver: Solver, state: Followed, start: float, end: float) -> Followed:
        if start == 0 and self.interval.elapsed == 0:
            state = self.renew(0, state)
        like = main_state(state)
        now = torch.full_like(self.times[..., 0], start)
        inside = (self.times >= start) & (self.times < end)
        for event in torch.nonzero(inside.flatten(0, -2).any(dim=0)).flatten().tolist():
            here = inside[..., event]
            then = torch.where(here, self.times[..., event], now)
            state = self.move(solver, state, (then - now).unsqueeze(-1).to(like))
            now, gate = then, self.gate(event, state, here)
            state = self.renew(1 + event, state, gate)
        return self.move(solver, state, (end - now).unsqueeze(-1).to(like))

    def gate(self, event: int, state: Followed, here: Tensor) -> Tensor:
        """1 in rows that this event renews, 0 in others."""
        latent = main_state(state)[..., : self.model.latent_size]
        parameters = self.interval.evidence
        if parameters is None or bool(parameters.isnan().any()):
            parameters = observed_or_prior(parameters, self.dynamics.prior(latent))
        chance = (self.model.rate(parameters) / self.model.largest).expand(here.shape)
        taken = here.to(chance.device) & (self.gates[..., event].to(chance) < chance)
        gate = taken + here.to(chance) * (chance - chance.detach())
        return gate.unsqueeze(-1).to(latent)


class AdaptiveNoise(RandomNoise):
    r"""Noise renewed at those frames where it is needed.

    While frames are observed, noise is renewed where the posterior departs from the prior,
    $KL(q(z) \,\|\, p(z \mid y)) > c$. In a forecast, it is renewed with the probability
    $1 - e^{-\lambda(y)}$, which learns from observed renewals:

    $$\sum_t m_t \left(KL(q(z_t) \,\|\, p(z_t \mid y_t)) - \ln(1 - e^{-\lambda(y_t)})\right)
    + (1 - m_t) \lambda(y_t)$$

    is the joint divergence of renewals m and their noise.
    """

    def __init__(
        self, latent_size: int, noise_size: int, *, threshold: float, rate: float, largest: float
    ) -> None:
        super().__init__(latent_size, noise_size, rate=rate, largest=largest)
        self.threshold = threshold

    def interval(self, interval: Interval, dynamics: Dynamics) -> IntervalNoise:
        return AdaptiveInterval(self, interval, dynamics)

    def renewed(
        self, parameters: Float[Tensor, "*batch prior"], evidence: Float[Tensor, "*batch size"]
    ) -> tuple[Tensor, Tensor]:
        """Whether to renew observed noise, and its divergence from the prior."""
        observed = self.gaussian(observed_or_prior(evidence, parameters))
        divergence = observed.divergence(self.gaussian(parameters))
        return divergence > self.threshold, divergence

    def divergence(
        self, steps: Steps, evidence: Tensor, dynamics: Dynamics
    ) -> Float[Tensor, "sample batch interval"]:
        chosen = [index for index, start in enumerate(steps.starts) if start == 0]
        parameters = dynamics.prior(steps.latents[:, :, chosen])
        renewed, divergence = self.renewed(parameters, evidence)
        rate = self.rate(parameters)
        terms = torch.where(renewed, divergence - torch.log(-torch.expm1(-rate)), rate)
        terms = terms.masked_fill(evidence[..., 0].isnan(), 0.0)
        # The first noise is always drawn.
        return torch.cat([divergence[..., :1], terms[..., 1:]], dim=-1)


class AdaptiveInterval(HeldInterval[AdaptiveNoise]):
    """A frame interval with renewals at its start, in the rows that need them."""

    def piece(self, solver: Solver, state: Followed, start: float, end: float) -> Followed:
        if start == 0:
            state = self.renew(0, state, self.gate(state))
        return self.move(solver, state, end - start)

    def gate(self, state: Followed) -> Tensor | None:
        """1 in rows to renew, 0 in others; None to renew all."""
        if self.interval.elapsed == 0:
            return None
        latent = main_state(state)[..., : self.model.latent_size]
        parameters = self.dynamics.prior(latent)
        chance = -torch.expm1(-self.model.rate(parameters))
        draws = counter_uniforms(node_keys(self.interval.keys, GATES), 1)[..., 0]
        renewed, evidence = torch.from_numpy(draws).to(chance) < chance, self.interval.evidence
        if evidence is not None:
            needed, _ = self.model.renewed(parameters, evidence)
            renewed = torch.where(evidence[..., 0].isnan(), renewed, needed)
        return renewed.unsqueeze(-1).to(latent)
