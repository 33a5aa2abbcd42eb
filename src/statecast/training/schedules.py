"""Learning rate as a function of the step, so that nothing about it needs saving."""

from __future__ import annotations

import math
from typing import Literal

from statecast.errors import InputError

Schedule = Literal["constant", "linear", "milestones", "cosine"]


def learning_rate_at(
    step: int,
    *,
    learning_rate: float,
    steps: int,
    schedule: Schedule,
    warmup: int,
    burn_in: int,
    milestones: tuple[int, ...],
    factor: float,
) -> float:
    """Learning rate of a step, counted from 0.

    Args:
        step: number of the step.
        learning_rate: the highest rate.
        steps: steps of the whole training.
        schedule: `constant`; `linear`, constant for `burn_in` steps and then straight to 0;
            `milestones`, multiplied by `factor` at each of them; `cosine`, half a period to 0.
        warmup: steps over which the rate rises in a straight line.
        burn_in: constant steps of `linear`.
        milestones: steps at which the rate drops.
        factor: what the rate is multiplied by at a milestone.
    """
    share = 1.0
    if schedule == "linear":
        share = min(1.0, max(steps - step, 0) / max(steps - burn_in, 1))
    elif schedule == "milestones":
        share = factor ** sum(step >= milestone for milestone in milestones)
    elif schedule == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))
    if step < warmup:
        share *= (step + 1) / warmup
    return learning_rate * share


def check_schedule(schedule: Schedule, *, steps: int, burn_in: int, factor: float) -> None:
    """Raise `InputError` for values that no schedule can follow."""
    if schedule == "linear" and not 0 <= burn_in <= steps:
        raise InputError(f"burn_in must lie between 0 and steps, {steps}, got {burn_in}.")
    if factor <= 0:
        raise InputError(f"factor must be positive, got {factor}.")
