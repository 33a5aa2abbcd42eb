"""Frames of AVI and MP4 files, decoded with PyAV: known containers only, cut-off files refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from statecast.errors import CorruptionError, FileError, InputError, require
from statecast.io.video.decoding import CLOSED, reading

Array = np.ndarray[Any, np.dtype[Any]]
Container = Literal["avi", "mp4"]

MAGIC = {"avi": (8, b"AVI "), "mp4": (4, b"ftyp")}  # place and bytes that identify a container
LARGEST_FRAME = 1 << 24  # pixels; a larger frame is taken for a decompression bomb
LOST_SHARE = 0.05  # share of the stated frames that a whole file may lack
LOST_FEWEST = 2  # number of the stated frames that a whole file may lack
RATE_TOLERANCE = 0.01


def decode_frames(
    path: Path, container: Container, *, rate: float, size: tuple[int, int] | None = None
) -> Iterator[Array]:
    """Frames of a video in order, RGB bytes (y, x, 3).

    Args:
        path: of the file.
        container: which it must be. The first bytes are compared before anything is decoded, so
            that a playlist cannot make the decoder open other files.
        rate: frames per second that it must have.
        size: rows and columns to scale to, with bicubic interpolation; by default no scaling.

    Errors:
        CorruptionError: it cannot be decoded, or holds fewer frames than it states.
        FileError: it is in another container.
        InputError: it has another rate, or frames that are too large.
        MissingExtraError: PyAV is not installed.
    """
    require("av", "video", "read videos")
    import av

    check_magic(path, container)
    scaling: dict[str, Any] = {}
    if size is not None:
        scaling = {"height": size[0], "width": size[1], "interpolation": "BICUBIC"}
    count = 0
    with (
        reading(path),
        path.open("rb") as content,
        av.open(content, "r", format=container, options=dict(CLOSED)) as file,
    ):
        if not file.streams.video:
            raise CorruptionError(f"{path} holds no video.")
        stream = file.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.options = {"max_pixels": str(LARGEST_FRAME)}
        if stream.width * stream.height > LARGEST_FRAME:
            raise InputError(
                f"{path} has frames of {stream.height}×{stream.width}, larger than any in this "
                "data set."
            )
        check_rate(path, stream.average_rate, rate)
        for frame in file.decode(stream):
            if frame.is_corrupt:
                raise CorruptionError(f"{path}: frame {count} is damaged. Get it again.")
            yield frame.to_ndarray(format="rgb24", **scaling)
            count += 1
        promised = stream.frames
    if count == 0 or promised - count > max(LOST_FEWEST, LOST_SHARE * promised):
        raise CorruptionError(
            f"{path} should hold {promised} frames, but ends after {count}. Get it again."
        )


def check_magic(path: Path, container: Container) -> None:
    """Raise `FileError` unless a file begins as its container does."""
    place, expected = MAGIC[container]
    try:
        with path.open("rb") as stream:
            head = stream.read(place + len(expected))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.") from error
    if head[place:] != expected:
        raise FileError(f"{path} is not an {container.upper()} file: it begins with {head!r}.")


def check_rate(path: Path, found: Any, expected: float) -> None:
    """Raise `InputError` unless a video has the expected rate."""
    if found is None or abs(float(found) / expected - 1) > RATE_TOLERANCE:
        shown = "none" if found is None else f"{float(found):g}"
        raise InputError(f"{path} should have {expected:g} frames per second, got {shown}.")
