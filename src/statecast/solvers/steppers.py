"""Explicit one-step methods for dy/dt = f(t, y), each with its declared order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError

Velocity = Callable[[float, Tensor], Tensor]


@dataclass(frozen=True)
class Stepper:
    """One step of a method.

    Attributes:
        name: name of the method.
        order: the power of the step with which the error at a fixed time shrinks.
        increment: from (f, t, y, dt) to the increment of y.
    """

    name: str
    order: int
    increment: Callable[[Velocity, float, Tensor, float], Tensor]


def _euler(f: Velocity, t: float, y: Tensor, dt: float) -> Tensor:
    return dt * f(t, y)


def _midpoint(f: Velocity, t: float, y: Tensor, dt: float) -> Tensor:
    return dt * f(t + dt / 2, y + dt / 2 * f(t, y))


def _heun(f: Velocity, t: float, y: Tensor, dt: float) -> Tensor:
    first = f(t, y)
    return dt / 2 * (first + f(t + dt, y + dt * first))


def _rk4(f: Velocity, t: float, y: Tensor, dt: float) -> Tensor:
    first = f(t, y)
    second = f(t + dt / 2, y + dt / 2 * first)
    third = f(t + dt / 2, y + dt / 2 * second)
    fourth = f(t + dt, y + dt * third)
    return dt / 6 * (first + 2 * (second + third) + fourth)


STEPPERS = {
    stepper.name: stepper
    for stepper in (
        Stepper("euler", 1, _euler),
        Stepper("midpoint", 2, _midpoint),
        Stepper("heun", 2, _heun),
        Stepper("rk4", 4, _rk4),
    )
}


def trajectory(
    f: Velocity,
    state: Float[Tensor, "*shape"],
    times: list[float],
    *,
    stepper: str = "rk4",
    substeps: int = 1,
) -> Iterator[Float[Tensor, "*shape"]]:
    """States at increasing times; the first one is `state`.

    Args:
        f: velocity at a time and state.
        state: state at the first time.
        times: requested times.
        stepper: name of the method, in STEPPERS.
        substeps: equal steps between two times.

    Errors:
        InputError: an unknown stepper, or less than 1 substep.
    """
    if stepper not in STEPPERS or substeps < 1:
        raise InputError(
            f"A trajectory needs a stepper out of {list(STEPPERS)} and at least 1 substep, got "
            f"{stepper!r} and {substeps}."
        )
    increment = STEPPERS[stepper].increment
    yield state
    for start, end in pairwise(times):
        dt = (end - start) / substeps
        for index in range(substeps):
            state = state + increment(f, start + index * dt, state, dt)
        yield state
