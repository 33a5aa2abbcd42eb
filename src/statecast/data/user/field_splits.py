"""Splits of sequences by time or by file, and window lengths that fit them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from statecast.data.base import SPLITS, Split
from statecast.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]
SplitBy = Literal["time", "file"]
Cut = TypeVar("Cut")

USUAL_CONTEXT, USUAL_HORIZON = 8, 12  # frames, where there are enough of them
Parts = dict[Split, list[tuple[int, int, int]]]  # sequence, first frame, frame after the last


class Lengths(NamedTuple):
    """Frames of the windows of each split."""

    context: int
    horizon: int
    validation_horizon: int
    test_horizon: int

    def horizon_of(self, split: Split) -> int:
        """Frames forecast in the windows of a split."""
        horizons = (self.horizon, self.validation_horizon, self.test_horizon)
        return dict(zip(SPLITS, horizons, strict=True))[split]


def split_sequences(
    lengths: Sequence[int], by: SplitBy, split_fractions: Sequence[float], split_gap: int
) -> Parts:
    """Frames of each split: first those for training, then validation, then tests.

    Args:
        lengths: frames of each sequence.
        by: `time` cuts every sequence; `file` gives whole sequences to each split, in order.
        split_fractions: of training, validation and tests; they add up to 1.
        split_gap: frames left out between the splits of a sequence.

    Errors:
        InputError: split_fractions do not add up to 1, or there are too few frames or files.
    """
    check_fractions(split_fractions, split_gap)
    if by == "file":
        if len(lengths) < 3:
            raise InputError(
                f"Splits by file need at least 3 sequences, got {len(lengths)}. Set split: time."
            )
        ends = cuts(len(lengths), split_fractions)
        return {
            split: [(i, 0, lengths[i]) for i in range(start, stop)]
            for split, (start, stop) in zip(SPLITS, ends, strict=True)
        }
    parts: Parts = {split: [] for split in SPLITS}
    for sequence, length in enumerate(lengths):
        if length - 2 * split_gap < 6:
            raise InputError(
                f"Sequence {sequence} has {length} frame{'s' * (length != 1)}; to be split in time "
                f"it needs at least {6 + 2 * split_gap}: 2 each for training, validation and tests"
                + (" and two gaps." if split_gap else ".")
            )
        for index, (split, (start, stop)) in enumerate(
            zip(SPLITS, cuts(length - 2 * split_gap, split_fractions), strict=True)
        ):
            parts[split].append((sequence, start + index * split_gap, stop + index * split_gap))
    return parts


def check_fractions(split_fractions: Sequence[float], split_gap: int) -> None:
    """Raise `InputError` unless split_fractions are three positive numbers that add up to 1."""
    if (
        len(split_fractions) != len(SPLITS)
        or min(split_fractions) <= 0
        or abs(sum(split_fractions) - 1) > 1e-6
        or split_gap < 0
    ):
        raise InputError(
            "split_fractions must be three positive numbers that add up to 1, and split_gap at "
            f"least 0, got {list(split_fractions)} and {split_gap}."
        )


def with_usual_gap(cut: Callable[[int], Cut], context: Callable[[Cut], int]) -> Cut:
    """Cut windows, with the usual gap between splits in time.

    The gap is as long as the context, or the longest that leaves room for the windows. It keeps
    the context of a test window apart from the last validation frames.

    Args:
        cut: parts and window lengths with a gap; raises `InputError` if windows do not fit.
        context: frames observed in the windows of a cut.
    """
    without = cut(0)
    for gap in range(context(without), 0, -1):
        with suppress(InputError):
            return cut(gap)
    return without


def cuts(total: int, split_fractions: Sequence[float]) -> list[tuple[int, int]]:
    """Start and end of three consecutive parts, each of at least 2 if there are 6 or more."""
    least = 2 if total >= 6 else 1
    test = max(least, round(split_fractions[2] * total))
    validation = max(least, round(split_fractions[1] * total))
    trained = total - test - validation
    return [(0, trained), (trained, trained + validation), (trained + validation, total)]


def window_lengths(
    parts: Parts,
    *,
    context: int | None,
    horizon: int | None,
    validation_horizon: int | None,
    test_horizon: int | None,
) -> Lengths:
    """Lengths of windows that fit every part: the given ones, else usual ones that fit.

    Tests forecast as far as training, or up to twice as far if the test part still has at least
    as many starts as lead times.

    Errors:
        InputError: a part is too short for the windows, or a length is below 1.
    """
    for asked in (context, horizon, validation_horizon, test_horizon):
        if asked is not None and asked < 1:
            raise InputError(f"Context and horizons must be at least 1 frame, got {asked}.")
    shortest = {split: min(stop - start for _, start, stop in parts[split]) for split in SPLITS}
    room = min(shortest.values())
    if context is None:
        context = min(USUAL_CONTEXT, max(1, room // 4))
    left = max(room - context, 1)
    if horizon is None:
        horizon = min(USUAL_HORIZON, max(1, left // 2))
    if validation_horizon is None:
        validation_horizon = min(horizon, max(1, shortest["validation"] - context))
    if test_horizon is None:
        room = shortest["test"] - context  # a score needs several starts, too
        test_horizon = max(1, min(room, 2 * horizon, max(horizon, (room + 1) // 2)))
    lengths = Lengths(context, horizon, validation_horizon, test_horizon)
    for split in SPLITS:
        wanted = context + lengths.horizon_of(split)
        if wanted > shortest[split]:
            raise InputError(
                f"The {split} part has {shortest[split]} frames, too few for windows of {context} "
                f"+ {lengths.horizon_of(split)}. Shorten context or horizons, or change "
                "split_fractions."
            )
    return lengths


def window_starts(parts: Sequence[tuple[int, int, int]], length: int, window_stride: int) -> Array:
    """Sequence and first frame of each window of `length` frames, `window_stride` frames apart."""
    starts = [
        (sequence, first)
        for sequence, start, stop in parts
        for first in range(start, stop - length + 1, window_stride)
    ]
    return np.array(starts, dtype=np.int64).reshape(-1, 2)
