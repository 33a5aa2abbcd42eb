"""Time of two sides that take turns, on a processor or a GPU."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

SHORTEST = 0.05  # seconds that one measurement takes at least, by repeated calls
MOST_CALLS = 1000
FEWEST = 3  # turns, whatever they take


class Clock:
    """Seconds of calls.

    On a GPU, and with several threads, they are those that pass, and a GPU has finished before
    they are read; with one thread they are those of the processor, so that what else runs on the
    machine counts less.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.of_processor = device.type == "cpu" and torch.get_num_threads() == 1

    def now(self) -> float:
        """The time, once everything asked for is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.process_time() if self.of_processor else time.perf_counter()

    def seconds(self, call: Callable[[], Any], calls: int = 1) -> float:
        """Seconds per call."""
        started = self.now()
        for _ in range(calls):
            call()
        return (self.now() - started) / calls


class Timing(NamedTuple):
    """Medians over turns."""

    ours: float  # seconds
    plain: float
    ratio: float  # median of the turns' own ratios, plain over ours
    lowest: float  # of the turns' ratios
    highest: float
    turns: int


def alternate(
    clock: Clock,
    ours: Callable[[], Any],
    plain: Callable[[], Any],
    *,
    repeats: int,
    budget: float = math.inf,
) -> Timing:
    """Time calls of two sides in turns, after one of each that warms it up."""
    sides = [partial(clock.seconds, side, calls_for(clock, side)) for side in (ours, plain)]
    return in_turns(sides, repeats=repeats, budget=budget)


def in_turns(
    sides: Sequence[Callable[[], float]], *, repeats: int, budget: float = math.inf
) -> Timing:
    """Measure two sides in turns, the first of each pair in alternation.

    Args:
        sides: each measures itself, in seconds.
        repeats: turns of both.
        budget: seconds after which no further turn is begun, once there were 3.
    """
    began, pairs = time.perf_counter(), []
    for turn in range(repeats):
        if turn >= FEWEST and time.perf_counter() - began > budget:
            break
        order = (0, 1) if turn % 2 == 0 else (1, 0)
        found = {index: sides[index]() for index in order}
        pairs.append((found[0], found[1]))
    ours, plain = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [there / here for here, there in pairs]
    return Timing(ours, plain, statistics.median(ratios), min(ratios), max(ratios), len(pairs))


def calls_for(clock: Clock, call: Callable[[], Any]) -> int:
    """How many calls one measurement of a side takes, after one or two that warm it up."""
    seconds = clock.seconds(call)
    if seconds < 10 * SHORTEST:
        seconds = clock.seconds(call)
    return max(1, min(MOST_CALLS, round(SHORTEST / max(seconds, 1e-9))))
