"""Inspects videos and folders of images: counts, sizes, rates, frames, and broken files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statecast.data.progress import progress
from statecast.data.user.array_axes import evenly
from statecast.data.user.video_splits import (
    Wanted,
    chosen_split,
    cut_clips,
    shown_fractions,
)
from statecast.errors import FileError, InputError
from statecast.io.video.decoding import RawFrame, video_facts
from statecast.io.video.discovery import Clip, find_clips
from statecast.io.video.options import ClipOptions
from statecast.io.video.preprocessing import prepare
from statecast.io.video.remarks import (
    ClipFacts,
    ClipTimes,
    bits_used,
    even_rate,
    remarks_on,
)
from statecast.reports.inspection.contact_sheet import COLUMNS, ROWS, SIDE
from statecast.reports.inspection.findings import Finding, path_option

Array = np.ndarray[Any, np.dtype[Any]]

NAMED = 8  # broken clips and other files to name, at most
SHARES = (0.8, 0.1, 0.1)  # default fractions of the splits of `Videos`


def inspect_clips(path: Path | Sequence[Path], *, quick: bool = False) -> Finding:
    """Inspect the videos of a path; unless `quick`, every video is decoded.

    Errors:
        FileError: there is no video, or the only one cannot be read.
    """
    clips, ignored = find_clips(path)
    seen: dict[str, ClipFacts] = {}
    broken: list[str] = []
    for clip in progress(clips, "looking", unit="video", leave=False):
        try:
            seen[clip.name] = headers(clip) if quick else decoded(clip)
        except FileError as error:
            if len(clips) == 1:
                raise
            broken.append(f"{clip.name}: {error}")
    whole = [clip for clip in clips if clip.name in seen]
    bits = bits_used(whole)
    finding = Finding(f"{len(clips)} video(s)" if len(clips) > 1 else "A video")
    describe(finding, whole, seen, quick=quick)
    if bits is not None:
        finding.say("bits", f"{bits} of each number are used: {2**bits - 1} is white")
    if ignored:
        more = f" and {len(ignored) - NAMED} more" if len(ignored) > NAMED else ""
        finding.say("ignored", f"{', '.join(ignored[:NAMED])}{more}: not videos")
    for text in remarks_on(seen, even=False):
        finding.say("note", text)
    for text in broken[:NAMED]:
        finding.warn(text)
    if len(broken) > NAMED:
        finding.warn(f"and {len(broken) - NAMED} more")
    words = ["train", "videos", "--data.path", path_option(path)]
    if broken:
        words += ["--data.on_error", "skip"]
    rate = even_rate(seen.values())
    if rate is not None and all(item.rate for item in seen.values()):
        words += ["--data.frames_per_second", f"{rate:g}"]
    if seen:
        finding.suggest("Train", words)
        finding.preview = lambda: sheet(whole, seen, bits)
    return finding


def headers(clip: Clip) -> ClipFacts:
    """Facts from the header of a clip, or from the first of its images."""
    if clip.images:
        height, width = next(iter(clip._replace(images=clip.images[:1]).frames())).size
        return ClipFacts(len(clip.images), height, width, None, None, False, False, 1.0)
    facts = video_facts(clip.path)
    count = facts.frames or round((facts.seconds or 0.0) * (facts.rate or 0.0))
    shape = (facts.height, facts.width)
    return ClipFacts(count, *shape, facts.rate, facts.rate, False, False, 1.0)


def decoded(clip: Clip) -> ClipFacts:
    """Facts from all frames of a clip."""
    times = ClipTimes()
    for _ in times.watch(clip.frames()):
        pass
    if times.facts.rate or clip.images:
        return times.facts
    return times.facts._replace(rate=video_facts(clip.path).rate)


def form_of(clip: Clip) -> str:
    """Container and codec of a clip."""
    if clip.images:
        return "images" if clip.path.is_dir() else "stack of images"
    facts = video_facts(clip.path)
    return f"{facts.container}, {facts.codec}"


def describe(
    finding: Finding, clips: Sequence[Clip], seen: Mapping[str, ClipFacts], *, quick: bool
) -> None:
    """Report what clips have in common, and how they would be split."""
    if not seen:
        return
    counts = [item.frames for item in seen.values()]
    finding.say("formats", listed(map(form_of, clips)))
    finding.say("sizes", listed(f"{item.width}×{item.height}" for item in seen.values()))
    finding.say("frames per second", listed(shown_rate(item.rate) for item in seen.values()))
    span = f"{min(counts)} to {max(counts)} each" if len(seen) > 1 else ""
    total = f"{sum(counts)}{', ' if span else ''}{span}"
    finding.say("frames", total + (", as the files state" if quick else ", all decoded"))
    finding.say("would be read", "by the data set videos: 64×64, grey, from the centre")
    names = list(seen)
    try:
        by = chosen_split("auto", names)
        wanted = Wanted(None, None, None, None)
        found = cut_clips(
            names, counts, by, split_fractions=SHARES, split_gap=None, seed=None, wanted=wanted
        )
        finding.say("splits", f"by {by}: {shown_fractions(found.parts)}")
        lengths = found.lengths
        finding.say("windows", f"{lengths.context} frames observed, {lengths.horizon} forecast")
    except InputError as error:
        finding.warn(error)


def listed(values: Iterable[str]) -> str:
    """Distinct values as text, the most frequent first."""
    counted = Counter(values).most_common()
    if len(counted) == 1:
        return counted[0][0]
    shown = ", ".join(f"{value} ({count})" for value, count in counted[:4])
    return shown + (f" and {len(counted) - 4} more" if len(counted) > 4 else "")


def shown_rate(rate: float | None) -> str:
    """A rate as text."""
    return "unknown" if rate is None else f"{rate:.4g}"


def sheet(
    clips: Sequence[Clip], seen: Mapping[str, ClipFacts], bits: int | None
) -> list[list[Array]]:
    """Small frames of the first clips, evenly spaced in time."""
    rows = []
    for clip in clips[:ROWS]:
        chosen = evenly(max(seen[clip.name].frames, 1), COLUMNS)
        numbered = enumerate(clip.frames())  # read one by one; memory may not hold all
        rows.append([small(frame, bits) for number, frame in numbered if number in chosen])
    return [row for row in rows if row]


def small(frame: RawFrame, bits: int | None) -> Array:
    """A frame as bytes (y, x, 3), in the size of a contact sheet."""
    scale = SIDE / max(frame.size)
    height, width = (max(1, round(scale * side)) for side in frame.size)
    options = ClipOptions(size=(height, width), crop="none", colour="rgb", bits=bits)
    return prepare(frame, options, "").transpose(1, 2, 0)
