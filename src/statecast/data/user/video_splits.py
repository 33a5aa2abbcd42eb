"""Splits of clips: by named folders, by whole videos in order, or in time within each video."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from statecast.data.base import SPLITS, Split
from statecast.data.user.field_splits import (
    Lengths,
    Parts,
    check_fractions,
    split_sequences,
    with_usual_gap,
)
from statecast.errors import InputError

SplitBy = Literal["auto", "folder", "video", "time"]
FOLDERS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
    "testing": "test",
}
USUAL_CONTEXT, USUAL_HORIZON = 5, 10  # frames, if there are enough


class Wanted(NamedTuple):
    """Window lengths as asked for; None is left to the data."""

    context: int | None
    horizon: int | None
    validation_horizon: int | None
    test_horizon: int | None


class CutClips(NamedTuple):
    """Clips after the split, with the lengths of their windows."""

    split_gap: int
    parts: Parts
    lengths: Lengths
    too_short: set[int]  # clips that hold no window of their split


def chosen_split(by: SplitBy, names: Sequence[str]) -> Literal["folder", "video", "time"]:
    """The split that `auto` stands for: by folders named after splits, by video, or in time."""
    if by != "auto":
        return by
    found = {split_of(name) for name in names}
    if {"train", "test"} <= found and None not in found:
        return "folder"
    return "video" if len(names) >= len(SPLITS) else "time"


def split_of(name: str) -> Split | None:
    """The split that the first folder in a clip's name stands for."""
    return FOLDERS.get(Path(name).parts[0].lower())


def split_clips(
    names: Sequence[str],
    frames: Sequence[int],
    by: Literal["folder", "video", "time"],
    *,
    split_fractions: Sequence[float],
    split_gap: int,
    seed: int | None,
) -> Parts:
    """Parts (clip, first frame, frame after the last) of each split.

    Args:
        names: of the clips.
        frames: number of frames of each clip.
        by: see `chosen_split`.
        split_fractions: of training, validation and tests.
        split_gap: frames left out between splits in time.
        seed: shuffles the clips before they are split by video; None keeps their order.

    Errors:
        InputError: there are too few clips or frames, or clips outside the folders of splits.
    """
    check_fractions(split_fractions, split_gap)
    if by == "folder":
        return by_folder(names, frames, split_fractions)
    if by == "time":
        long = [number for number, count in enumerate(frames) if count - 2 * split_gap >= 6]
        if not long:
            raise InputError(
                "No video is long enough to be split in time; it needs at least "
                f"{6 + 2 * split_gap} frames. Set split_gap: 0, or split: video."
            )
        parts = split_sequences(
            [frames[number] for number in long], "time", split_fractions, split_gap
        )
        return {s: [(long[i], a, b) for i, a, b in part] for s, part in parts.items()}
    return by_video(frames, split_fractions, seed)


def cut_clips(
    names: Sequence[str],
    frames: Sequence[int],
    by: Literal["folder", "video", "time"],
    *,
    split_fractions: Sequence[float],
    split_gap: int | None,
    seed: int | None,
    wanted: Wanted,
) -> CutClips:
    """Split clips, and choose the lengths of windows; arguments as `split_clips`.

    If `split_gap` is None, splits in time have the usual gap.

    Errors:
        InputError: there are too few clips or frames.
    """

    def cut(gap: int) -> CutClips:
        parts = split_clips(
            names, frames, by, split_fractions=split_fractions, split_gap=gap, seed=seed
        )
        lengths = clip_lengths(parts, wanted)
        return CutClips(gap, parts, lengths, too_short(parts, lengths))

    if split_gap is None and by == "time":
        return with_usual_gap(cut, lambda made: made.lengths.context)
    return cut(split_gap or 0)


def by_video(frames: Sequence[int], split_fractions: Sequence[float], seed: int | None) -> Parts:
    """Whole clips in order, or shuffled: training first, tests last, at least one for each split.

    Errors:
        InputError: there are fewer than three clips.
    """
    order = list(range(len(frames)))
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(frames)).tolist()
    if len(order) < len(SPLITS):
        raise InputError(
            f"{len(order)} video(s) are too few for training, validation and tests. Set split: "
            "time."
        )
    test = max(1, round(split_fractions[2] * len(order)))
    held_out = max(1, round(split_fractions[1] * len(order)))
    trained = max(1, len(order) - test - held_out)
    bounds = (0, trained, max(trained + 1, len(order) - test), len(order))
    return {
        split: [(number, 0, frames[number]) for number in order[start:stop]]
        for split, start, stop in zip(SPLITS, bounds[:-1], bounds[1:], strict=True)
    }


def by_folder(
    names: Sequence[str], frames: Sequence[int], split_fractions: Sequence[float]
) -> Parts:
    """Clips by the folders train, validation and test.

    Without a validation folder, the last clips of the training folder are for validation.

    Errors:
        InputError: a clip lies outside these folders, or a split has no clip.
    """
    parts: Parts = {split: [] for split in SPLITS}
    for number, name in enumerate(names):
        split = split_of(name)
        if split is None:
            raise InputError(
                f"split: folder needs every video below train, validation or test, got {name}. "
                "Move it there, or set split: video."
            )
        parts[split].append((number, 0, frames[number]))
    trained = len(parts["train"])
    if not parts["validation"] and trained > 1:
        share = split_fractions[1] / (split_fractions[0] + split_fractions[1])
        held_out = min(trained - 1, max(1, round(share * trained)))
        parts["validation"] = parts["train"][-held_out:]
        parts["train"] = parts["train"][:-held_out]
    for split, part in parts.items():
        if not part:
            raise InputError(
                f"The folders hold no video for {split}. Add some, or set split: video."
            )
    return parts


def clip_lengths(parts: Parts, wanted: Wanted) -> Lengths:
    """Window lengths: as asked for, else lengths for which half the clips of each split have room.

    If a split has only one clip, the clip holds at least as many windows as lead times.

    Errors:
        InputError: a length is below 1.
    """
    usual = {s: int(np.median([b - a for _, a, b in parts[s]])) for s in SPLITS}
    room = min(usual.values())
    context, horizon = wanted.context, wanted.horizon
    if context is None:
        context = min(USUAL_CONTEXT, max(1, (room - (horizon or 0)) // 3))
    if horizon is None:
        alone = min(len(parts[s]) for s in SPLITS) == 1
        left = room - context
        horizon = min(USUAL_HORIZON, max(1, (left + 1) // 2 if alone else left))
    validation, test = wanted.validation_horizon, wanted.test_horizon
    if validation is None:
        validation = horizon
    if test is None:
        left = usual["test"] - context
        test = min(2 * horizon, max(horizon, (left + 1) // 2 if len(parts["test"]) == 1 else left))
    lengths = Lengths(context, horizon, validation, test)
    if min(lengths) < 1:
        raise InputError(f"Context and horizons must be at least 1 frame, got {tuple(lengths)}.")
    return lengths


def too_short(parts: Parts, lengths: Lengths) -> set[int]:
    """Clips that hold no window of their split.

    Errors:
        InputError: no clip of a split holds one.
    """
    short: set[int] = set()
    for split in SPLITS:
        length = lengths.context + lengths.horizon_of(split)
        found = {number for number, start, stop in parts[split] if stop - start < length}
        if len(found) == len(parts[split]):
            longest = max(stop - start for _, start, stop in parts[split])
            raise InputError(
                f"No video holds a {split} window of {length} frames ({lengths.context} + "
                f"{lengths.horizon_of(split)}); the longest part has {longest}. Shorten context "
                "or horizons, or take frames more often."
            )
        short |= found
    return short


def shown_fractions(parts: Parts) -> str:
    """Clips and frames of each split, for people."""
    return ", ".join(
        f"{len(parts[s])} {s} ({sum(b - a for _, a, b in parts[s])} frames)" for s in SPLITS
    )
