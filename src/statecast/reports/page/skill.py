"""Horizon of skill: the lead times at which a forecast beats a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from statecast.errors import InputError


class SkillHorizon(NamedTuple):
    """Lead times at which a forecast is better than a reference."""

    better: list[tuple[float, float]]  # first and last lead time of each range
    ranges: str  # the ranges as text
    statement: str


def skill_horizon(
    lead_times: Sequence[float],
    scores: Sequence[float],
    reference: Sequence[float],
    *,
    higher_is_better: bool,
    name: str = "persistence",
) -> SkillHorizon:
    """Compare a forecast's score with a reference's, lead time by lead time.

    Equal scores and NaN do not count as better.

    Args:
        lead_times: lead times in increasing order.
        scores: scores of the forecast, one per lead time.
        reference: scores of the reference, one per lead time.
        higher_is_better: direction of the metric.
        name: name of the reference in the statement.

    Errors:
        InputError: the numbers of scores and lead times differ, or are zero.
    """
    if not len(lead_times) == len(scores) == len(reference) > 0:
        raise InputError(
            "A horizon of skill needs one score of each forecast per lead time, got "
            f"{len(lead_times)} lead times, {len(scores)} and {len(reference)} scores."
        )
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        gain = np.asarray(scores, dtype=float) - np.asarray(reference, dtype=float)
    edges = [False, *(gain > 0 if higher_is_better else gain < 0), False]
    changes = [i for i, (left, right) in enumerate(pairwise(edges)) if left != right]
    better = [
        (float(lead_times[first]), float(lead_times[after - 1]))
        for first, after in zip(changes[::2], changes[1::2], strict=True)
    ]
    *rest, last = [f"{a:g}" if a == b else f"{a:g} to {b:g}" for a, b in better] or [""]
    ranges = f"{', '.join(rest)} and {last}" if rest else last
    where = f"lead times {ranges} of" if better else "no lead time up to"
    if better == [(lead_times[0], lead_times[-1])]:
        where = "every lead time up to"
    doubt = "" if np.isfinite(gain).all() else " (some scores are not finite)"
    return SkillHorizon(better, ranges, f"better than {name} at {where} {lead_times[-1]:g}{doubt}")
