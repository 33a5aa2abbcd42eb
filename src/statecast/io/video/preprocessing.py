"""Frames as a model sees them: chosen by time, cropped, resized, grey or in colour."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from statecast.errors import InputError
from statecast.io.video.decoding import RawFrame
from statecast.io.video.discovery import Clip
from statecast.io.video.images import as_bytes, decode_images
from statecast.io.video.options import Box, ClipOptions
from statecast.io.video.remarks import ClipTimes

Array = np.ndarray[Any, np.dtype[Any]]

TICK = 2e-3  # seconds, tolerance of times; containers round them to milliseconds


def prepared_frames(
    clip: Clip, options: ClipOptions, seen: ClipTimes | None = None
) -> Iterator[Array]:
    """Prepared frames of a clip from its beginning, bytes (channel, y, x).

    Args:
        clip: the clip.
        options: how they are prepared.
        seen: watches every frame of the clip, taken or not.

    Errors:
        FileError, CorruptionError: the clip cannot be decoded.
        InputError: the options do not fit the clip.
    """
    frames = clip.frames() if seen is None else seen.watch(clip.frames())
    for frame in taken(frames, options, clip.name):
        yield prepare(frame, options, clip.name)


class LastFrames(NamedTuple):
    """The last prepared frames of a clip."""

    values: Array  # bytes (time, channel, y, x)
    end: float  # of the clip, in frame intervals


def last_prepared(clip: Clip, options: ClipOptions, count: int) -> LastFrames:
    """The last `count` prepared frames, counted back from the last frame.

    Errors:
        InputError: there are fewer frames.
        As `prepared_frames`.
    """
    rate = options.frames_per_second
    kept: deque[RawFrame] = deque()
    back = (count - 1) * options.frame_step
    early = max(0, len(clip.images) - back - 1) if rate is None else 0  # that need no decoding
    end = early / options.frame_step
    for frame in decode_images(clip.images[early:]) if clip.images else clip.frames():
        kept.append(frame)
        if rate is None:
            end += 1 / options.frame_step
            if len(kept) > back + 1:
                kept.popleft()
            continue
        start = time_of(frame, clip.name) - back / rate
        end = time_of(frame, clip.name) * rate / options.frame_step
        while len(kept) > 1 and time_of(kept[1], clip.name) <= start + TICK:
            kept.popleft()
    chosen = (
        list(kept)[:: -options.frame_step] if rate is None else chosen_back(kept, back, options)
    )
    if len(chosen) < count:
        raise InputError(
            f"{clip.name} has {len(chosen)} frame(s) at this rate, but a forecast from it needs "
            f"{count}. Lower --context."
        )
    prepared = [prepare(frame, options, clip.name) for frame in reversed(chosen[:count])]
    return LastFrames(np.stack(prepared), end)


def chosen_back(kept: Iterable[RawFrame], back: int, options: ClipOptions) -> list[RawFrame]:
    """Frames shown at the ticks up to the last frame, in reverse order."""
    frames = list(kept)
    assert options.frames_per_second is not None
    times = np.array([frame.time for frame in frames], dtype=np.float64)
    chosen = []
    for tick in range(0, back + 1, options.frame_step):
        time = times[-1] - tick / options.frames_per_second
        if time + TICK < times[0]:
            break
        chosen.append(frames[int(np.searchsorted(times, time + TICK, side="right")) - 1])
    return chosen


def taken(frames: Iterable[RawFrame], options: ClipOptions, name: str) -> Iterator[RawFrame]:
    """Frames at the rate asked for: at each tick, the frame shown then."""
    if options.frames_per_second is None:
        for number, frame in enumerate(frames):
            if number % options.frame_step == 0:
                yield frame
        return
    step = options.frame_step / options.frames_per_second
    shown: RawFrame | None = None
    start, ticks = 0.0, 0
    for frame in frames:
        time = time_of(frame, name)
        if shown is None:
            start = time
        else:
            while start + ticks * step + TICK < time:
                yield shown
                ticks += 1
        shown = frame
    if shown is not None and start + ticks * step <= time_of(shown, name) + TICK:
        yield shown


def time_of(frame: RawFrame, name: str) -> float:
    """Time of a frame.

    Errors:
        InputError: its source has no clock.
    """
    if frame.time is None:
        raise InputError(
            f"{name} is a folder of images, which have no time: leave frames_per_second out, and "
            "set frame_step to take fewer frames."
        )
    return frame.time


def prepare(frame: RawFrame, options: ClipOptions, name: str) -> Array:
    """A frame cropped, resized, and in the colours asked for: bytes (channel, y, x)."""
    from PIL import Image

    height, width = options.size
    image = Image.fromarray(np.ascontiguousarray(as_bytes(frame.pixels, options.bits)))
    left, top, right, bottom = box_of(frame, options, name)
    box = (left / frame.aspect, top, min(right / frame.aspect, image.width), bottom)
    method = Image.Resampling.BOX if options.resampling == "area" else Image.Resampling.LANCZOS
    image = image.resize((width, height), method, box=box)
    content = np.asarray(image.convert("L") if options.colour == "grey" else image)
    return content[None] if content.ndim == 2 else content.transpose(2, 0, 1)


def box_of(
    frame: RawFrame, options: ClipOptions, name: str
) -> Box | tuple[float, float, float, float]:
    """Part of a frame to keep: left, top, right, bottom, in pixels as shown.

    Errors:
        InputError: the box is not inside the frame.
    """
    height, width = frame.pixels.shape[0], frame.pixels.shape[1] * frame.aspect
    if options.crop == "none":
        return 0, 0, width, height
    if options.crop == "centre":
        shape = options.size[1] / options.size[0]  # width over height
        kept_width, kept_height = min(width, height * shape), min(height, width / shape)
        left, top = (width - kept_width) / 2, (height - kept_height) / 2
        return left, top, left + kept_width, top + kept_height
    _, _, right, bottom = options.crop
    if right > frame.size[1] or bottom > height:
        raise InputError(
            f"{name} has frames of {frame.size[1]}×{height} pixels, but the crop "
            f"{list(options.crop)} (left, top, right, bottom) reaches beyond them. Make it smaller."
        )
    return options.crop
