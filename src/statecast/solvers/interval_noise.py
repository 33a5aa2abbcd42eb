"""The noise of a frame interval, which drives a solver's steps and divides them at renewals."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.solvers.counters import Floats, Integers, counter_uniforms
from statecast.solvers.reversible import Followed
from statecast.solvers.solvers import FRACTION_TOLERANCE, Solver, Velocity


class Interval(NamedTuple):
    """A frame interval, as seen by noise that is generated inside it."""

    keys: Integers  # (sample, batch); determine all that is random in the interval
    elapsed: int  # whole frames since the path began
    evidence: Float[Tensor, "batch size"] | None  # from observed frames; None in a forecast


class IntervalNoise(ABC):
    """The noise of one frame interval, for all rows: a pure function of keys and states.

    Held noise is constant from one renewal to the next; white noise is the increment of a Brownian
    path over each step; coloured noise is part of the state.
    """

    renewals: Sequence[float] = ()  # in [0, 1), common to all rows
    inputs: Sequence[Tensor] = ()  # tensors, besides weights, that get gradients from states

    @abstractmethod
    def piece(self, solver: Solver, state: Followed, start: float, end: float) -> Followed:
        """The state at `end`, one step of the solver after `start`; no renewal lies in between."""

    def piece_back(self, solver: Solver, state: Followed, start: float, end: float) -> Followed:
        """The state at `start` from which `piece` leads to this one.

        Errors:
            InputError: this noise cannot be run backwards.
        """
        raise InputError(
            f"{type(self).__name__} cannot be run backwards: the noise before a renewal is not "
            "known after it. Hold the noise over frames, or use white or coloured noise."
        )


class Constant(IntervalNoise):
    """Noise that is constant over the whole interval, or no noise.

    Args:
        parts: velocities, given the noise, whose sum is the velocity of the state.
        stepper: maps the requested solver to the one that takes the steps.
        inputs: the noise, if it needs gradients.
    """

    def __init__(
        self,
        parts: Sequence[Velocity],
        stepper: Callable[[Solver], Solver] = lambda solver: solver,
        inputs: Sequence[Tensor] = (),
    ) -> None:
        self.parts, self.stepper, self.inputs = parts, stepper, inputs

    def piece(self, solver: Solver, state: Followed, start: float, end: float) -> Followed:
        return self.stepper(solver).step(self.parts, state, end - start)

    def piece_back(self, solver: Solver, state: Followed, start: float, end: float) -> Followed:
        return self.stepper(solver).step_back(self.parts, state, end - start)


def step_times(substeps: int, renewals: Sequence[float] = ()) -> list[float]:
    """End times of the steps of a frame interval: those of equal parts, and renewals."""
    times = {index / substeps for index in range(1, substeps + 1)}
    for renewal in renewals:
        if all(abs(renewal - time) > FRACTION_TOLERANCE for time in (0.0, *times)):
            times.add(renewal)
    return sorted(times)


def follow(
    noise: IntervalNoise, solver: Solver, state: Followed, fractions: Sequence[float]
) -> list[Followed]:
    """States at increasing fractions of an interval, each above 0 and at most 1.

    A shorter step, off the path that continues, leads to a time between two steps, so that
    requesting it changes no other state.
    """
    ends = step_times(solver.substeps, noise.renewals)
    times, path, found = [0.0, *ends], [state], []
    for fraction in fractions:
        before = max(i for i, time in enumerate(times) if time <= fraction + FRACTION_TOLERANCE)
        while len(path) <= before:
            index = len(path) - 1
            path.append(noise.piece(solver, path[index], times[index], times[index + 1]))
        beyond = fraction - times[before]
        if beyond <= FRACTION_TOLERANCE:
            found.append(path[before])
        else:
            found.append(noise.piece(solver, path[before], times[before], fraction))
    return found


def follow_back(noise: IntervalNoise, solver: Solver, state: Followed) -> Followed:
    """The state at the start of an interval that ends in this state."""
    times = [0.0, *step_times(solver.substeps, noise.renewals)]
    for start, end in zip(times[-2::-1], times[:0:-1], strict=True):
        state = noise.piece_back(solver, state, start, end)
    return state


def number_of_time(times: Sequence[float], time: float) -> int | None:
    """Index of a time among others; None if it is not one of them."""
    found = (i for i, other in enumerate(times) if abs(other - time) <= FRACTION_TOLERANCE)
    return next(found, None)


def grid_renewals(period: float, elapsed: int) -> list[float]:
    """Times in [0, 1) of a frame interval at which a clock of this period ticks.

    Args:
        period: frame intervals from one tick to the next.
        elapsed: whole frame intervals since the clock started, with a tick.
    """
    first = math.ceil(elapsed / period - FRACTION_TOLERANCE)
    last = math.ceil((elapsed + 1) / period - FRACTION_TOLERANCE)
    return [max(index * period - elapsed, 0.0) for index in range(first, last)]


def poisson_times(keys: Integers, rate: float) -> Floats:
    """Times (*rows, event) of a Poisson process in [0, 1); rows with fewer events go on beyond 1.

    Args:
        keys: keys of the rows.
        rate: mean number of events per interval.
    """
    count = 4 + 2 * math.ceil(rate)
    while True:
        times = (-np.log(counter_uniforms(keys, count)) / rate).cumsum(axis=-1)
        if bool((times[..., -1] >= 1).all()):
            return times
        count *= 2
