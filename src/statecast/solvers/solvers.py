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
ADAPTIVE = ("dopri5",)  # they choose their steps themselves
PAIRED = ("reversible_heun",)  # they carry a state and its shadow
FRACTION_TOLERANCE = 1e-5  # times closer than this, in intervals, are the same

Velocity = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Solver:
    r"""How a state is followed through one interval of unit length.

    The velocity is a sum of parts, $dy/dt = \sum_j f_j(y)$. `residual` takes one Euler step of
    each part after another, $y \leftarrow y + h f_j(y)$: the residual blocks of a network, and a
    first-order method for the sum (a Lie splitting), equal to `euler` where there is one part.

    A fixed step of order p reaches the grid points k/`substeps`; a time in between is reached by
    one shorter step from the grid point before it, so that it is as accurate as they are. For
    methods of first order that is the straight line between grid points.

    `reversible_heun` carries a `Pair`, whose steps `step_back` undoes to the last bits. So it does
    with those of `residual` where no part moves what it depends on itself.

    Attributes:
        name: one of `SOLVERS`.
        substeps: equal steps in the interval; 1 for an adaptive solver.
        relative_tolerance, absolute_tolerance: largest local error of an adaptive solver, in
            fractions of the state and in its units.
        maximum_steps: of an adaptive solver, from one time wanted to the next.

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
            raise InputError(f"There is no solver {self.name!r}; choose from {', '.join(SOLVERS)}.")
        if not is_whole(self.substeps) or not 1 <= self.substeps <= LONGEST:
            raise InputError(
                f"A frame needs at least 1 step, and at most {LONGEST}, got "
                f"substeps={str(self.substeps)[:40]}."
            )
        if self.adaptive and self.substeps > 1:
            raise InputError(
                f"{self.name} chooses its steps itself: leave `substeps` out, got {self.substeps}. "
                "Its tolerances make them smaller."
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
        """Whether it chooses its steps itself."""
        return self.name in ADAPTIVE

    @property
    def paired(self) -> bool:
        """Whether it carries a state and its shadow."""
        return self.name in PAIRED

    @property
    def order(self) -> int:
        """The error at a fixed time shrinks as this power of the step."""
        if self.adaptive:
            return 5
        if self.paired:
            return 2
        return 1 if self.name == "residual" else STEPPERS[self.name].order

    def step(self, parts: Sequence[Velocity], state: Followed, length: float | Tensor) -> Followed:
        """One fixed step of this length, or of a length for each row."""
        if isinstance(state, Pair):
            velocity = total(parts)
            return reversible_heun(lambda y: length * velocity(y), state)
        if self.name != "residual":
            velocity = total(parts)
            increment = STEPPERS[self.name].increment
            # Lengths of rows are broadcast as a number is.
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
        """The state that one fixed step leads to this one from."""
        return self.step(list(reversed(parts)), state, -length)

    def at(
        self, parts: Sequence[Velocity], state: Followed, times: Sequence[float]
    ) -> list[Followed]:
        """States at increasing times above 0, in intervals.

        Args:
            parts: velocities whose sum is that of the state.
            state: at time 0; a `Pair` of a paired solver.
            times: times wanted; beyond 1 where the velocity stays the same in later intervals.

        Errors:
            ConvergenceError: an adaptive solver did not get there.
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
        ahead: Followed | None = None  # the state at the next one, where it is known already
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
    """The solver of these settings, checked once: a forecast asks for it in every interval."""
    return Solver(
        name=name,
        substeps=substeps,
        relative_tolerance=relative_tolerance,
        absolute_tolerance=absolute_tolerance,
    )


def total(parts: Sequence[Velocity]) -> Velocity:
    """The velocity that is the sum of parts."""
    if len(parts) == 1:
        return parts[0]

    def velocity(state: Tensor) -> Tensor:
        whole = parts[0](state)
        for part in parts[1:]:
            whole = whole + part(state)
        return whole

    return velocity
