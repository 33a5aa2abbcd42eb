"""How a latent with noise goes from one frame to the next: residual, GRU, or plain layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.nn.blocks import initialise_orthogonal, initialise_uniform, mlp
from statecast.nn.gaussian import widened
from statecast.solvers.solvers import Solver, Velocity

TransitionName = Literal["residual", "gru", "mlp"]


class Transition(nn.Module, ABC):
    """One frame interval of the latent, given the noise of that interval.

    Class attributes:
        continuous: whether it is a differential equation, which any solver can follow.
    """

    continuous: ClassVar[bool] = False

    @abstractmethod
    def step(
        self,
        latent: Float[Tensor, "*batch latent"],
        noise: Float[Tensor, "*batch noise"] | None,
        *,
        solver: Solver,
        fractions: Sequence[float],
    ) -> list[Float[Tensor, "*batch latent"]]:
        """Latents at increasing fractions of the interval; its end alone unless continuous."""

    @abstractmethod
    def initialise(self, gain: float, generator: torch.Generator | None) -> None:
        """Draw the weights."""


class ResidualTransition(Transition):
    r"""An ordinary differential equation whose noise is constant in an interval.

    $$\frac{dy}{dt} = f(y, z_{\lfloor t\rfloor+1})$$

    Reference: Franceschi et al. (2020), https://arxiv.org/abs/2002.09219, section 3.
    """

    continuous = True

    def __init__(self, latent_size: int, noise_size: int, *, hidden: int, layers: int) -> None:
        super().__init__()
        self.velocity = mlp(latent_size + noise_size, hidden, latent_size, layers=layers)

    def step(
        self, latent: Tensor, noise: Tensor | None, *, solver: Solver, fractions: Sequence[float]
    ) -> list[Tensor]:
        return solver.at([self._given(noise)], latent, fractions)

    def _given(self, noise: Tensor | None) -> Velocity:
        return lambda latent: self.velocity(joined(latent, noise))

    def initialise(self, gain: float, generator: torch.Generator | None) -> None:
        initialise_orthogonal(self.velocity, gain, generator)


class MLPTransition(Transition):
    """y' = MLP(y, z): no identity path."""

    def __init__(self, latent_size: int, noise_size: int, *, hidden: int, layers: int) -> None:
        super().__init__()
        self.next = mlp(latent_size + noise_size, hidden, latent_size, layers=layers)

    def step(
        self, latent: Tensor, noise: Tensor | None, *, solver: Solver, fractions: Sequence[float]
    ) -> list[Tensor]:
        return [widened(self.next(joined(latent, noise)))]

    def initialise(self, gain: float, generator: torch.Generator | None) -> None:
        initialise_orthogonal(self.next, gain, generator)


class GRUTransition(Transition):
    """y' = GRU(y, z): one gated recurrent unit, whose hidden state is the latent."""

    def __init__(self, latent_size: int, noise_size: int) -> None:
        super().__init__()
        if noise_size == 0:
            raise InputError("The gru transition takes noise as its input. Set stochastic: true.")
        self.cell = nn.GRUCell(noise_size, latent_size)

    def step(
        self, latent: Tensor, noise: Tensor | None, *, solver: Solver, fractions: Sequence[float]
    ) -> list[Tensor]:
        assert noise is not None
        after = self.cell(noise.flatten(0, -2), latent.flatten(0, -2))
        return [widened(after).view_as(latent)]

    def initialise(self, gain: float, generator: torch.Generator | None) -> None:
        initialise_uniform(self.cell, generator)


def transition_of(
    name: TransitionName, latent_size: int, noise_size: int, *, hidden: int, layers: int
) -> Transition:
    """The transition of this name; `noise_size` is 0 where there is no noise."""
    if name == "gru":
        return GRUTransition(latent_size, noise_size)
    kind = ResidualTransition if name == "residual" else MLPTransition
    return kind(latent_size, noise_size, hidden=hidden, layers=layers)


def joined(latent: Tensor, noise: Tensor | None) -> Tensor:
    """Latent and noise as one input."""
    return latent if noise is None else torch.cat([latent, noise], dim=-1)
