"""Videos and folders of images: counts, sizes, rates, frames, and the broken ones."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from statecast.data.user.video_splits import (
    Wanted,
    chosen_split,
    clip_lengths,
    shown_fractions,
    split_clips,
)
from statecast.errors import FileError, InputError
from statecast.io.video.decoding import video_facts
from statecast.io.video.discovery import Clip, find_clips
from statecast.reports.inspection.contact_sheet import COLUMNS, ROWS, evenly, fitted
from statecast.reports.inspection.findings import Finding

Array = np.ndarray[Any, np.dtype[Any]]

NAMED = 8  # broken clips that are named
SHARES = (0.8, 0.1, 0.1)  # as of `Videos`
ALIKE = 0.02  # share by which rates may differ and still be one


class Seen(NamedTuple):
    """What was seen of a clip."""

    clip: Clip
    form: str  # container and codec
    size: tuple[int, int]  # width and height
    frames: int
    rate: float | None  # frames a second


def inspect_clips(path: Path, *, quick: bool = False) -> Finding:
    """Videos behind a path; every one is decoded, unless it should be quick.

    Errors:
        FileError: there are none, or a single one that cannot be read.
    """
    clips = find_clips(str(path))
    seen: list[Seen] = []
    broken: list[str] = []
    for clip in with_bar(clips):
        try:
            seen.append(headers(clip) if quick else decoded(clip))
        except FileError as error:
            if len(clips) == 1:
                raise
            broken.append(f"{clip.name}: {error}")
    finding = Finding(f"{len(clips)} video(s)" if len(clips) > 1 else "A video")
    describe(finding, seen, quick=quick)
    for text in broken[:NAMED]:
        finding.warn(text)
    if len(broken) > NAMED:
        finding.warn(f"and {len(broken) - NAMED} more")
    words = ["train", "videos", "--data.path", str(path)]
    if broken:
        words += ["--data.on_error", "skip"]
    rates = sorted({item.rate for item in seen if item.rate})
    if rates and rates[-1] > (1 + ALIKE) * rates[0] and all(item.rate for item in seen):
        words += ["--data.frames_per_second", f"{rates[0]:.4g}"]
    if seen:
        finding.suggest("Train", words)
        finding.preview = lambda: sheet(seen)
    return finding


def headers(clip: Clip) -> Seen:
    """A clip by what it states; of images, the first one is read."""
    if clip.images:
        height, width = next(iter(clip._replace(images=clip.images[:1]).frames())).pixels.shape[:2]
        return Seen(clip, "images", (width, height), len(clip.images), None)
    facts = video_facts(clip.path)
    count = facts.frames or round((facts.seconds or 0.0) * (facts.rate or 0.0))
    size = (facts.width, facts.height)
    return Seen(clip, f"{facts.container}, {facts.codec}", size, count, facts.rate)


def decoded(clip: Clip) -> Seen:
    """A clip with all of its frames."""
    count, first, last = 0, 0.0, 0.0
    size = (0, 0)
    for frame in clip.frames():
        last = frame.time or 0.0
        first = last if count == 0 else first
        size = (frame.pixels.shape[1], frame.pixels.shape[0])
        count += 1
    rate = (count - 1) / (last - first) if last > first else None
    form = "images"
    if not clip.images:
        facts = video_facts(clip.path)
        form, rate = f"{facts.container}, {facts.codec}", rate or facts.rate
    return Seen(clip, form, size, count, rate)


def describe(finding: Finding, seen: Sequence[Seen], *, quick: bool) -> None:
    """Say what a set of clips has in common, and how it would be split."""
    if not seen:
        return
    counts = [item.frames for item in seen]
    finding.say("formats", listed(item.form for item in seen))
    finding.say("sizes", listed(f"{w}×{h}" for w, h in (item.size for item in seen)))
    finding.say("frames per second", listed(shown_rate(item.rate) for item in seen))
    span = f"{min(counts)} to {max(counts)} each" if len(seen) > 1 else ""
    total = f"{sum(counts)}{', ' if span else ''}{span}"
    finding.say("frames", total + (", as the files state" if quick else ", all decoded"))
    finding.say("would be read", "by the data set videos: 64×64, grey, from the centre")
    names = [item.clip.name for item in seen]
    try:
        by = chosen_split("auto", names)
        parts = split_clips(names, counts, by, split_fractions=SHARES, gap=0, seed=None)
        lengths = clip_lengths(parts, Wanted(None, None, None, None))
        finding.say("splits", f"by {by}: {shown_fractions(parts)}")
        finding.say("windows", f"{lengths.context} frames observed, {lengths.horizon} forecast")
    except InputError as error:
        finding.warn(error)


def listed(values: Iterable[str]) -> str:
    """Different values, the most frequent first."""
    counted = Counter(values).most_common()
    if len(counted) == 1:
        return counted[0][0]
    shown = ", ".join(f"{value} ({count})" for value, count in counted[:4])
    return shown + (f" and {len(counted) - 4} more" if len(counted) > 4 else "")


def shown_rate(rate: float | None) -> str:
    """A rate for people."""
    return "unknown" if rate is None else f"{rate:.4g}"


def sheet(seen: Sequence[Seen]) -> list[list[Array]]:
    """Frames of the first clips, evenly spaced in time, small."""
    rows = []
    for item in seen[:ROWS]:
        chosen = evenly(max(item.frames, 1), COLUMNS)
        numbered = enumerate(item.clip.frames())  # which may be more than memory holds
        rows.append([fitted(frame.pixels) for number, frame in numbered if number in chosen])
    return [row for row in rows if row]


def with_bar(clips: Sequence[Clip]) -> Iterable[Clip]:
    """Clips with a progress bar, where there is a terminal."""
    from tqdm import tqdm

    bar: Iterable[Clip] = tqdm(
        clips, desc="looking", unit="video", leave=False, disable=not sys.stderr.isatty()
    )
    return bar
