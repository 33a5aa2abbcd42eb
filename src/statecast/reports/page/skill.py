"""Horizon of skill: up to which lead time a forecast beats a trivial one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from statecast.errors import InputError


class SkillHorizon(NamedTuple):
    """Where a forecast is better than a reference, by lead times."""

    until: float | None  # last lead time before it first fails to be better; None where at once
    lost: float | None  # first lead time at which it is not better; None where it is at all
    better: list[tuple[float, float]]  # all ranges of lead times in which it is better
    known: bool  # whether both scores are numbers at every lead time
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

    An equal score, or one that is NaN, is not better.

    Args:
        lead_times: in order.
        scores: of the forecast, one per lead time.
        reference: of the trivial forecast.
        higher_is_better: direction of the metric.
        name: of the reference, in the statement.

    Errors:
        InputError: not as many scores as lead times, or none.
    """
    if not len(lead_times) == len(scores) == len(reference) > 0:
        raise InputError(
            "A horizon of skill needs one score of each forecast per lead time, got "
            f"{len(lead_times)} lead times, {len(scores)} and {len(reference)} scores."
        )
    with np.errstate(invalid="ignore"):  # of two infinite scores none is better
        gain = np.asarray(scores, dtype=float) - np.asarray(reference, dtype=float)
    wins = list(gain > 0 if higher_is_better else gain < 0)
    lost = next((i for i, win in enumerate(wins) if not win), None)
    until = len(wins) - 1 if lost is None else lost - 1
    better = _ranges(lead_times, wins)
    known = bool(np.isfinite(gain).all())
    return SkillHorizon(
        until=float(lead_times[until]) if until >= 0 else None,
        lost=None if lost is None else float(lead_times[lost]),
        better=better,
        known=known,
        statement=_statement(lead_times, lost, better, known=known, name=name),
    )


def _ranges(lead_times: Sequence[float], wins: Sequence[bool]) -> list[tuple[float, float]]:
    """First and last lead time of each run of wins."""
    edges = [False, *wins, False]
    changes = [i for i, (left, right) in enumerate(pairwise(edges)) if left != right]
    return [
        (float(lead_times[first]), float(lead_times[after - 1]))
        for first, after in zip(changes[::2], changes[1::2], strict=True)
    ]


def _statement(
    lead_times: Sequence[float],
    lost: int | None,
    better: Sequence[tuple[float, float]],
    *,
    known: bool,
    name: str,
) -> str:
    """The comparison in words."""
    end = f"{lead_times[-1]:g}"
    doubt = "" if known else " (some scores are no finite numbers)"
    if lost is None:
        return f"Never within the horizon: better than {name} at every lead time up to {end}."
    start = f"At lead time {lead_times[0]:g} already"
    if not better:
        return f"{start}: at no lead time up to {end} better than {name}{doubt}."
    later = [f"{a:g}" if a == b else f"{a:g} to {b:g}" for a, b in better]
    if lost == 0:
        return f"{start}; better than {name} at lead times {', '.join(later)}{doubt}."
    first = f"At lead time {lead_times[lost]:g}: better than {name} up to {better[0][1]:g}"
    again = f", and again at {', '.join(later[1:])}" if later[1:] else ""
    return f"{first}{again}{doubt}."
