"""Remarks on videos, collected while frames pass: rates, shapes of pixels, interlacing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from statecast.errors import FileError
from statecast.io.video.decoding import RawFrame
from statecast.io.video.discovery import Clip
from statecast.io.video.images import depth_of

EVEN = 1.5  # longest time between frames over the shortest, at most, of an even rate
ALIKE = 0.02  # share by which rates that count as equal may differ
USUAL_SHARE = 0.95  # share of times between frames that do not exceed that of the slower part


class ClipFacts(NamedTuple):
    """Facts about a clip (JSON values)."""

    frames: int
    height: int  # in square pixels, as shown
    width: int
    rate: float | None  # frames per second on average; None for images
    slowest: float | None  # the same for the slower part of a clip whose rate varies
    varies: bool
    interlaced: bool
    aspect: float  # width of a pixel over its height


class ClipTimes:
    """Collects facts about the frames of a clip while they are used."""

    def __init__(self) -> None:
        self.frames, self.first, self.last = 0, 0.0, 0.0
        self.steps: Counter[float] = Counter()  # seconds, rounded to milliseconds
        self.frame: tuple[tuple[int, int], float] = (0, 0), 1.0
        self.interlaced = False

    def watch(self, frames: Iterable[RawFrame]) -> Iterator[RawFrame]:
        """Yield the same frames, and collect facts about them."""
        for frame in frames:
            time = frame.time
            if time is not None:
                if self.frames:
                    self.steps[round(time - self.last, 3)] += 1
                else:
                    self.first = time
                self.last = time
            self.frames += 1
            self.frame = frame.size, frame.aspect
            self.interlaced |= frame.interlaced
            yield frame

    @property
    def facts(self) -> ClipFacts:
        """Facts seen so far."""
        (height, width), aspect = self.frame
        span = self.last - self.first
        rate = (self.frames - 1) / span if span > 0 else None
        slowest, counted = rate, 0
        for step in sorted(self.steps):
            counted += self.steps[step]
            if step > 0 and counted >= USUAL_SHARE * self.steps.total():
                slowest = 1 / step
                break
        varies = bool(self.steps) and max(self.steps) > EVEN * max(min(self.steps), 1e-3)
        return ClipFacts(
            self.frames, height, width, rate, slowest if varies else rate, varies,
            self.interlaced, aspect,
        )  # fmt: skip


def even_rate(facts: Iterable[ClipFacts]) -> float | None:
    """Frames per second that all clips reach; None if their rates are equal and do not vary."""
    known = [item for item in facts if item.rate and item.slowest]
    rates = sorted(item.rate for item in known if item.rate)
    differ = bool(rates) and rates[-1] > (1 + ALIKE) * rates[0]
    if not differ and not any(item.varies for item in known):
        return None
    return float(f"{min(item.slowest for item in known if item.slowest):.3g}")


def remarks_on(facts: Mapping[str, ClipFacts], *, even: bool) -> list[str]:
    """Remarks to read before training on clips, one sentence each.

    Args:
        facts: facts about each clip, by name.
        even: whether frames are taken at even times.
    """
    found = []
    rate = even_rate(facts.values())
    if rate is not None:
        varying = [name for name, item in facts.items() if item.varies]
        what = f"vary in {some(varying)}" if varying else "differ between videos"
        remedy = f"--data.frames_per_second {rate:g} makes them equal"
        found.append(f"frame rates {what}; " + ("frames at even times" if even else remedy))
    interlaced = [name for name, item in facts.items() if item.interlaced]
    if interlaced:
        found.append(
            f"interlaced: {some(interlaced)} shows two moments in each frame; deinterlace first, "
            "such as with ffmpeg -vf bwdif"
        )
    oblong = {name: item.aspect for name, item in facts.items() if item.aspect != 1}
    if oblong:
        aspect = next(iter(oblong.values()))
        found.append(f"pixels of {some(list(oblong))} are {aspect:.3g}:1 and are made square")
    return found


def some(names: Sequence[str]) -> str:
    """How many clips, and the name of one."""
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]


def bits_used(clips: Iterable[Clip]) -> int | None:
    """Bits that images of more than 8 bits use, by their largest value; None without such."""
    largest = -1
    for clip in clips:
        if not clip.images:
            continue
        try:
            for frame in clip.frames():
                if frame.pixels.dtype.itemsize == 1:
                    break
                largest = max(largest, int(frame.pixels.max()))
        except FileError:
            continue  # reported when it is decoded
    return None if largest < 0 else depth_of(largest)
