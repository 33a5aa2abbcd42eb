"""Solvers of dy/dt = f(y) over frame intervals, at any times within them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from statecast.checks import LONGEST, is_number, is_whole
from statecast.errors import InputError
from statecast.solvers.adaptive import dormand_prince
from statecast.solvers.reversible import Followed, Pair, reversible_heun
from statecast.solvers.steppers import STEPPERS

OdeSolverName = Literal["euler", "midpoint", "heun", "rk4", "reversible_heun", "dopri5"]
SolverName = Literal["residual", "euler", "midpoint", "heun", "rk4", "reversible_heun", "dopri5"]
ODE_SOLVERS: tuple[SolverName, ...] = get_args(OdeSolverName)
SOLVERS: tuple[SolverName, ...] = get_args(SolverName)
ADAPTIVE = ("dopri5",)  # solvers that choose their own steps
PAIRED = ("reversible_heun",)  # solvers that carry a state and its shadow
FRACTION_TOLERANCE = 1e-5  # times closer than this, in intervals, are the same

Velocity = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Solver:
    r"""A method that carries a state through one interval of unit length.

    The velocity is a sum of parts, $dy/dt = \sum_j f_j(y)$. `residual` takes an Euler step of one
    part after another, $y \leftarrow y + h f_j(y)$: the residual blocks of a network, and a
    first-order method for the sum (a Lie splitting). With a single part, it equals `euler`.

    Fixed steps lead to the grid points k/`substeps`. One shorter step from the grid point before
    leads to a time in between, which is as accurate as the grid points; for a method of first
    order, the state is linear between grid points.

    `reversible_heun` carries a `Pair`; `step_back` undoes its steps up to the last bits. It also
    undoes those of `residual` if no part changes the values that it depends on.

    Attributes:
        name: one of `SOLVERS`.
        substeps: equal steps in the interval; 1 for an adaptive solver.
        relative_tolerance, absolute_tolerance: largest local error of an adaptive solver, relative
            to the state and in units of the state.
        maximum_steps: most steps of an adaptive solver between two requested times.

    Errors:
        InputError: an unknown name, or a number that does not fit.
    """

    name: SolverName = "euler"
    substeps: int = 1
    relative_tolerance: float = 1e-5
    absolute_tolerance: float = 1e-6
    maximum_steps: int = 1000

    def __post_init__(self) -> None:
        if self.name not in SOLVERS:
            raise InputError(f"Unknown solver {self.name!r}; choose from {', '.join(SOLVERS)}.")
        if not is_whole(self.substeps) or not 1 <= self.substeps <= LONGEST:
            raise InputError(
                f"A frame needs at least 1 step, and at most {LONGEST}, got "
                f"substeps={str(self.substeps)[:40]}."
            )
        if self.adaptive and self.substeps > 1:
            raise InputError(
                f"{self.name} chooses its own steps: leave `substeps` out, got {self.substeps}. "
                "Lower its tolerances for smaller steps."
            )
        if not is_whole(self.maximum_steps) or self.maximum_steps < 1:
            raise InputError(
                f"maximum_steps must be at least 1, got {str(self.maximum_steps)[:40]}."
            )
        tolerances = (self.relative_tolerance, self.absolute_tolerance)
        if not all(map(is_number, tolerances)):
            raise InputError(f"Tolerances must be positive numbers, got {str(tolerances)[:60]}.")
        if not all(0 < tolerance < math.inf for tolerance in tolerances):
            raise InputError(
                "Tolerances must be positive numbers, got relative_tolerance="
                f"{tolerances[0]} and absolute_tolerance={tolerances[1]}."
            )

    @property
    def adaptive(self) -> bool:
        """Whether the solver chooses its own steps."""
        return self.name in ADAPTIVE

    @property
    def paired(self) -> bool:
        """Whether the solver carries a state and its shadow."""
        return self.name in PAIRED

    @property
    def order(self) -> int:
        """The power of the step with which the error at a fixed time shrinks."""
        if self.adaptive:
            return 5
        if self.paired:
            return 2
        return 1 if self.name == "residual" else STEPPERS[self.name].order

    def step(self, parts: Sequence[Velocity], state: Followed, length: float | Tensor) -> Followed:
        """One step of this length in intervals, one for all rows or one per row."""
        if isinstance(state, Pair):
            velocity = total(parts)
            return reversible_heun(lambda y: length * velocity(y), state)
        if self.name != "residual":
            velocity = total(parts)
            increment = STEPPERS[self.name].increment
            # A tensor of lengths broadcasts like a number.
            return state + increment(lambda _, y: velocity(y), 0.0, state, cast("float", length))
        for part in parts:
            change = part(state)
            if isinstance(length, Tensor):
                state = state + length * change
            elif length == 1:
                state = state + change
            else:
                state = torch.add(state, change, alpha=length)
        return state

    def step_back(self, parts: Sequence[Velocity], state: Followed, length: float) -> Followed:
        """The state from which one step of this length leads to this state."""
        return self.step(list(reversed(parts)), state, -length)

    def at(
        self, parts: Sequence[Velocity], state: Followed, times: Sequence[float]
    ) -> list[Followed]:
        """States at increasing times above 0, in intervals.

        Args:
            parts: velocities whose sum is that of the state.
            state: the state at time 0; a `Pair` for a paired solver.
            times: requested times; beyond 1 if later intervals have the same velocity.

        Errors:
            ConvergenceError: an adaptive solver did not reach its tolerance.
        """
        if self.paired and isinstance(state, Tensor):
            pairs = self.at(parts, Pair(state, state), times)
            return [pair.state for pair in pairs if isinstance(pair, Pair)]
        if self.adaptive:
            assert isinstance(state, Tensor)
            states = dormand_prince(
                total(parts),
                state,
                times,
                relative_tolerance=self.relative_tolerance,
                absolute_tolerance=self.absolute_tolerance,
                maximum_steps=self.maximum_steps,
            )
            return list(states)
        reached, found = 0, list[Followed]()  # grid points
        ahead: Followed | None = None  # the state at the next grid point, if already known
        length, tolerance = 1 / self.substeps, FRACTION_TOLERANCE * self.substeps
        for time in times:
            position = time * self.substeps
            before = math.floor(position + tolerance)
            while reached < before:
                state = self.step(parts, state, length) if ahead is None else ahead
                reached, ahead = reached + 1, None
            beyond = position - before
            if beyond <= tolerance:
                found.append(state)
            elif self.order == 1:
                ahead = self.step(parts, state, length) if ahead is None else ahead
                assert isinstance(state, Tensor)
                assert isinstance(ahead, Tensor)
                found.append(state.lerp(ahead, beyond))
            else:
                found.append(self.step(parts, state, beyond * length))
        return found


@lru_cache(maxsize=64)
def solver_of(
    name: SolverName, substeps: int, relative_tolerance: float, absolute_tolerance: float
) -> Solver:
    """The solver with these settings; cached, since forecasts ask for it in each interval."""
    return Solver(
        name=name,
        substeps=substeps,
        relative_tolerance=relative_tolerance,
        absolute_tolerance=absolute_tolerance,
    )


def total(parts: Sequence[Velocity]) -> Velocity:
    """The sum of velocities."""
    if len(parts) == 1:
        return parts[0]

    def velocity(state: Tensor) -> Tensor:
        whole = parts[0](state)
        for part in parts[1:]:
            whole = whole + part(state)
        return whole

    return velocity
