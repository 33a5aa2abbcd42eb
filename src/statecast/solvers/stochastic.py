r"""One-step methods for dy = f(y) dt + g(y) dW, each with its declared orders.

A step of length h needs the increment ΔW of the path; SRK also needs the integral
$U = \int (W_s - W_a)\, ds$. With $I(y) = f(y) h + g(y) ΔW$ in place of h f, the methods for
ordinary equations (`steppers.py`) become methods for stochastic ones: `euler` is the method of
Euler and Maruyama for Itô equations; `heun` and `midpoint` are methods for Stratonovich equations.
Both kinds of equation agree if g does not depend on y.

References: Kloeden and Platen (1992); Rößler (2010), https://doi.org/10.1137/09076636X; Kidger et
al. (2021), https://arxiv.org/abs/2105.13493.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.solvers.steppers import STEPPERS

Calculus = Literal["ito", "stratonovich"]
Structure = Literal["additive", "diagonal", "general"]


@dataclass(frozen=True, kw_only=True)
class StochasticEquation:
    r"""dy = f(y) dt + g(y) dW, an Itô or a Stratonovich equation.

    Attributes:
        drift: the function f.
        diffusion: from (y, ΔW) to g(y) ΔW, linear in ΔW.
        structure: `additive` if g does not depend on y, `diagonal` if $g_i$ depends only on $y_i$
            and drives only $y_i$, otherwise `general`.
    """

    drift: Callable[[Tensor], Tensor]
    diffusion: Callable[[Tensor, Tensor], Tensor]
    structure: Structure = "general"

    def increment(self, state: Tensor, length: float, brownian: Tensor) -> Tensor:
        """f(y) h + g(y) ΔW."""
        return length * self.drift(state) + self.diffusion(state, brownian)

    def scale(self, state: Tensor) -> Tensor:
        """g(y), elementwise, for an additive or diagonal equation."""
        return self.diffusion(state, torch.ones_like(state))

    def scale_and_slope(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """g(y) and its derivative, elementwise, for an additive or diagonal equation."""
        recorded = torch.is_grad_enabled()
        with torch.enable_grad():
            point = state if state.requires_grad else state.detach().requires_grad_()
            scale = self.scale(point)
            if not scale.requires_grad:
                return scale, torch.zeros_like(scale)
            (slope,) = torch.autograd.grad(
                scale.sum(), point, create_graph=recorded, materialize_grads=True
            )
        return (scale, slope) if recorded else (scale.detach(), slope)


Step = Callable[[StochasticEquation, Tensor, float, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True, kw_only=True)
class StochasticStepper:
    """A one-step method.

    Attributes:
        name: name of the method.
        calculus: kinds of equation that it solves.
        orders: strong order, that of the path's error, by structure of g; the method does not
            support a structure without an entry.
        advance: from (equation, y, h, ΔW, U) to y one step later.
    """

    name: str
    calculus: tuple[Calculus, ...]
    orders: dict[Structure, float]
    advance: Step

    def step(
        self,
        equation: StochasticEquation,
        state: Float[Tensor, "*shape"],
        length: float,
        brownian: Float[Tensor, "*noise"],
        integral: Float[Tensor, "*noise"] | None = None,
    ) -> Float[Tensor, "*shape"]:
        """One step.

        Args:
            equation: the equation, in a sense of `calculus`.
            state: the state y before the step.
            length: the length h.
            brownian: the increment ΔW.
            integral: the integral U; only `srk` needs it.

        Errors:
            InputError: the structure of g does not fit, or the integral is missing.
        """
        if equation.structure not in self.orders:
            raise InputError(
                f"The method {self.name} supports {' or '.join(self.orders)} noise, got "
                f"{equation.structure} noise."
            )
        return self.advance(equation, state, length, brownian, integral)


def _explicit(name: str) -> Step:
    increment = STEPPERS[name].increment
    return lambda equation, state, length, brownian, _: (
        state + increment(lambda _, y: equation.increment(y, length, brownian), 0.0, state, 1.0)
    )


def _milstein(correction: float) -> Step:
    """Milstein's method; `correction` is the factor of h subtracted from ΔW²: 1 for Itô, else 0."""

    def advance(
        equation: StochasticEquation,
        state: Tensor,
        length: float,
        brownian: Tensor,
        integral: Tensor | None,
    ) -> Tensor:
        scale, slope = equation.scale_and_slope(state)
        added = length * equation.drift(state) + scale * brownian
        return state + added + 0.5 * scale * slope * (brownian.square() - correction * length)

    return advance


def _srk(
    equation: StochasticEquation,
    state: Tensor,
    length: float,
    brownian: Tensor,
    integral: Tensor | None,
) -> Tensor:
    if integral is None:
        raise InputError("The method srk needs the integral U of the path over each step.")
    run = _sra1 if equation.structure == "additive" else _srid2
    return run(equation, state, length, brownian, integral / length)


def _sra1(
    equation: StochasticEquation, state: Tensor, h: float, brownian: Tensor, mean: Tensor
) -> Tensor:
    scale = equation.scale(state)
    first = equation.drift(state)
    second = equation.drift(state + 0.75 * h * first + 1.5 * scale * mean)
    return state + h * (first + 2 * second) / 3 + scale * brownian


def _srid2(
    equation: StochasticEquation, state: Tensor, h: float, brownian: Tensor, mean: Tensor
) -> Tensor:
    f, g, root = equation.drift, equation.scale, math.sqrt(h)
    f1, g1 = f(state), g(state)
    g2 = g(state + 0.25 * h * f1 - 0.5 * root * g1)
    f2 = f(state + h * f1)
    f3 = f(state + 0.25 * h * (f1 + f2) + mean * (g1 + 0.5 * g2))
    g3 = g(state + h * f1 + root * g1)
    g4 = g(state + 0.25 * h * f3 + root * (2 * g1 - g2 + 0.5 * g3))
    double = 0.5 * (brownian.square() - h) / root
    triple = (brownian**3 - 3 * h * brownian) / (6 * h)
    noise = (
        g1 * (-brownian + double + 2 * mean - 2 * triple)
        + g2 * (4 * brownian - 4 * double - 4 * mean + 5 * triple) / 3
        + g3 * (2 * brownian + double - 2 * mean - 2 * triple) / 3
        + g4 * triple
    )
    return state + h * (f1 + f2 + 4 * f3) / 6 + noise


STOCHASTIC_STEPPERS = {
    stepper.name: stepper
    for stepper in (
        StochasticStepper(
            name="euler_maruyama",
            calculus=("ito",),
            orders={"additive": 1, "diagonal": 0.5, "general": 0.5},
            advance=_explicit("euler"),
        ),
        StochasticStepper(
            name="milstein",
            calculus=("ito",),
            orders={"additive": 1, "diagonal": 1},
            advance=_milstein(1.0),
        ),
        StochasticStepper(
            name="milstein_stratonovich",
            calculus=("stratonovich",),
            orders={"additive": 1, "diagonal": 1},
            advance=_milstein(0.0),
        ),
        StochasticStepper(
            name="heun",
            calculus=("stratonovich",),
            orders={"additive": 1, "diagonal": 1, "general": 0.5},
            advance=_explicit("heun"),
        ),
        StochasticStepper(
            name="midpoint",
            calculus=("stratonovich",),
            orders={"additive": 1, "diagonal": 1, "general": 0.5},
            advance=_explicit("midpoint"),
        ),
        StochasticStepper(
            name="srk",
            calculus=("ito",),
            orders={"additive": 1.5, "diagonal": 1.5},
            advance=_srk,
        ),
    )
}
