"""Transitions of a latent with noise from frame to frame: residual, coupling, GRU, MLP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from statecast.errors import InputError
from statecast.nn.blocks import initialise_orthogonal, initialise_uniform, mlp
from statecast.nn.gaussian import widened
from statecast.solvers.reversible import Followed
from statecast.solvers.solvers import Solver, Velocity

TransitionName = Literal["residual", "coupling", "gru", "mlp"]


class Transition(nn.Module, ABC):
    """A transition of the latent through a frame interval, given the noise of the interval.

    Class attributes:
        continuous: whether it is a differential equation, which any solver can integrate.
    """

    continuous: ClassVar[bool] = False

    @abstractmethod
    def step(
        self,
        latent: Followed,
        noise: Float[Tensor, "*batch noise"] | None,
        *,
        solver: Solver,
        fractions: Sequence[float],
    ) -> list[Followed]:
        """Latents at increasing fractions of the interval; only its end unless continuous."""

    @abstractmethod
    def initialise(self, gain: float, generator: torch.Generator | None) -> None:
        """Draw the weights."""


class ContinuousTransition(Transition):
    """A differential equation with a velocity that is a sum of parts."""

    continuous = True

    @abstractmethod
    def parts(self, noise: Float[Tensor, "*batch noise"] | None) -> list[Velocity]:
        """Velocities, given the noise, whose sum is the velocity of the latent."""

    def stepper(self, solver: Solver) -> Solver:
        """The solver that takes the steps when this one is requested."""
        return solver

    def invertible(self, solver: Solver) -> bool:
        """Whether steps of this solver can be undone up to the last bits."""
        return solver.paired

    def step(
        self, latent: Followed, noise: Tensor | None, *, solver: Solver, fractions: Sequence[float]
    ) -> list[Followed]:
        return self.stepper(solver).at(self.parts(noise), latent, fractions)


class ResidualTransition(ContinuousTransition):
    r"""An ordinary differential equation with noise that is constant over an interval.

    $$\frac{dy}{dt} = f(y, z_{\lfloor t\rfloor+1})$$

    Reference: Franceschi et al. (2020), https://arxiv.org/abs/2002.09219, section 3.
    """

    def __init__(self, latent_size: int, noise_size: int, *, hidden: int, layers: int) -> None:
        super().__init__()
        self.velocity = mlp(latent_size + noise_size, hidden, latent_size, layers=layers)

    def parts(self, noise: Tensor | None) -> list[Velocity]:
        return [lambda latent: self.velocity(joined(latent, noise))]

    def initialise(self, gain: float, generator: torch.Generator | None) -> None:
        initialise_orthogonal(self.velocity, gain, generator)


class CouplingTransition(ContinuousTransition):
    r"""Additive couplings: each half of the latent moves by a function of the other.

    $$a' = a + h\, F(b, z), \qquad b' = b + h\, G(a', z)$$

    A step of $da/dt = F(b, z)$, $db/dt = G(a, z)$ that can be undone for any h: b first, then a.
    The step preserves volume. Solvers other than `euler` integrate the same equation.

    References: Dinh et al. (2015), https://arxiv.org/abs/1410.8516; Gomez et al. (2017),
    https://arxiv.org/abs/1707.04585.
    """

    def __init__(self, latent_size: int, noise_size: int, *, hidden: int, layers: int) -> None:
        super().__init__()
        if latent_size % 2:
            raise InputError(
                "The coupling transition splits the latent in halves: latent_size must be even, "
                f"got {latent_size}."
            )
        self.half_size = latent_size // 2
        self.first, self.second = (
            mlp(self.half_size + noise_size, hidden, self.half_size, layers=layers)
            for _ in range(2)
        )

    def parts(self, noise: Tensor | None) -> list[Velocity]:
        def first(latent: Tensor) -> Tensor:
            return pad(
                self.first(joined(latent[..., self.half_size :], noise)), (0, self.half_size)
            )

        def second(latent: Tensor) -> Tensor:
            return pad(
                self.second(joined(latent[..., : self.half_size], noise)), (self.half_size, 0)
            )

        return [first, second]

    def stepper(self, solver: Solver) -> Solver:
        # `residual` moves one half after the other.
        return replace(solver, name="residual") if solver.name == "euler" else solver

    def invertible(self, solver: Solver) -> bool:
        return solver.paired or solver.name == "euler"

    def initialise(self, gain: float, generator: torch.Generator | None) -> None:
        for network in (self.first, self.second):
            initialise_orthogonal(network, gain, generator)


class MLPTransition(Transition):
    """y' = MLP(y, z), without an identity path."""

    def __init__(self, latent_size: int, noise_size: int, *, hidden: int, layers: int) -> None:
        super().__init__()
        self.next = mlp(latent_size + noise_size, hidden, latent_size, layers=layers)

    def step(
        self, latent: Followed, noise: Tensor | None, *, solver: Solver, fractions: Sequence[float]
    ) -> list[Followed]:
        assert isinstance(latent, Tensor)
        return [widened(self.next(joined(latent, noise)))]

    def initialise(self, gain: float, generator: torch.Generator | None) -> None:
        initialise_orthogonal(self.next, gain, generator)


class GRUTransition(Transition):
    """y' = GRU(y, z), a gated recurrent unit with the latent as its hidden state."""

    def __init__(self, latent_size: int, noise_size: int) -> None:
        super().__init__()
        if noise_size == 0:
            raise InputError("The gru transition needs noise as its input. Set stochastic: true.")
        self.cell = nn.GRUCell(noise_size, latent_size)

    def step(
        self, latent: Followed, noise: Tensor | None, *, solver: Solver, fractions: Sequence[float]
    ) -> list[Followed]:
        assert isinstance(latent, Tensor)
        assert noise is not None
        after = self.cell(noise.flatten(0, -2), latent.flatten(0, -2))
        return [widened(after).view_as(latent)]

    def initialise(self, gain: float, generator: torch.Generator | None) -> None:
        initialise_uniform(self.cell, generator)


def transition_of(
    name: TransitionName, latent_size: int, noise_size: int, *, hidden: int, layers: int
) -> Transition:
    """The transition of this name; a `noise_size` of 0 means no noise."""
    if name == "gru":
        return GRUTransition(latent_size, noise_size)
    kinds = (ResidualTransition, CouplingTransition, MLPTransition)
    kind = kinds[("residual", "coupling", "mlp").index(name)]
    return kind(latent_size, noise_size, hidden=hidden, layers=layers)


def joined(latent: Tensor, noise: Tensor | None) -> Tensor:
    """Latent and noise as one input."""
    return latent if noise is None else torch.cat([latent, noise], dim=-1)
