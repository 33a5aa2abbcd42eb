"""Pictures to an `.mp4` file: H.264 if that codec is available, else MPEG-4."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import InputError, require
from statecast.io.atomic_files import atomic_path

Array = np.ndarray[Any, np.dtype[Any]]

H264, MPEG4 = "libx264", "mpeg4"
QUALITY = {H264: {"crf": "16", "preset": "medium"}, MPEG4: {"qmin": "2", "qmax": "4"}}


def write_mp4(
    pictures: Sequence[Array], path: str | Path, frames_per_second: float, *, pause: int = 1
) -> Path:
    """Write pictures to an `.mp4` file, whole or not at all.

    Args:
        pictures: bytes (y, x, 3), all of the same size; odd sides get a white line.
        path: the file.
        frames_per_second: speed.
        pause: how many times the last picture is shown.

    Errors:
        InputError: there are no pictures, or the speed is not positive.
        MissingExtraError: PyAV is not installed.
    """
    require("av", "video", "write .mp4 files")
    if frames_per_second <= 0 or not pictures:
        raise InputError(
            f"A video needs pictures and a positive speed, got {len(pictures)} and "
            f"{frames_per_second}."
        )

    from av.error import FFmpegError

    with atomic_path(path, also=(FFmpegError,)) as place:
        encode([*pictures, *[pictures[-1]] * (pause - 1)], place, frames_per_second)
    return Path(path)


def encode(pictures: Sequence[Array], path: Path, frames_per_second: float) -> None:
    """Encode pictures into a file."""
    import av

    name = H264 if H264 in av.codec.codecs_available else MPEG4
    rate = Fraction(frames_per_second).limit_denominator(1001)
    height, width = (side + side % 2 for side in pictures[0].shape[:2])
    with path.open("wb") as target, av.open(target, "w", format="mp4") as content:
        stream: Any = content.add_stream(name, rate=rate, options=dict(QUALITY[name]))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            whole = np.full((height, width, 3), 255, np.uint8)
            whole[: picture.shape[0], : picture.shape[1]] = picture
            content.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="rgb24")))
        content.mux(stream.encode())
