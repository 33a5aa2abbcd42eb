"""Small videos that tests write in their real formats."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {  # ending: container, codec, format of pixels
    ".mp4": ("mp4", "libx264", "yuv420p"),
    ".mov": ("mov", "mpeg4", "yuv420p"),
    ".mkv": ("matroska", "ffv1", "bgr0"),  # without loss
    ".webm": ("webm", "libvpx-vp9", "yuv420p"),
    ".avi": ("avi", "mpeg4", "yuv420p"),
    ".ts": ("mpegts", "libx264", "yuv420p"),
    ".mpg": ("mpeg", "mpeg2video", "yuv420p"),
    ".gif": ("gif", "gif", "rgb8"),
    ".3gp": ("3gp", "libx264", "yuv420p"),
    ".mts": ("mpegts", "libx264", "yuv420p"),
    ".wmv": ("asf", "wmv2", "yuv420p"),
    ".flv": ("flv", "flv", "yuv420p"),
    ".y4m": ("yuv4mpegpipe", "rawvideo", "yuv420p"),
}


def noise(count=10, height=32, width=32, *, channels=3, seed=0, low=0, high=256):
    """Frames of noise, bytes (time, y, x, channel)."""
    generator = np.random.default_rng(seed)
    return generator.integers(low, high, (count, height, width, channels), dtype=np.uint8)


def ramp(count=10, height=32, width=32):
    """Frame number n is even grey of brightness 20 n + 10."""
    levels = (20 * np.arange(count) + 10).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def write_video(
    path: Path, frames: Any, *, rate=25, times=None, pixels=None, codec=None, rotation=None,
    given="rgb24", seconds_of_sound=0, aspect=None, interlaced=False, options=None,
) -> Path:  # fmt: skip
    """Write frames (time, y, x[, channel]); times are whole milliseconds, for a variable rate."""
    import av

    container, usual_codec, usual_pixels = KINDS[path.suffix.lower()]
    with av.open(str(path), "w", format=container) as content:
        stream: Any = content.add_stream(codec or usual_codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels or usual_pixels
        if rotation is not None:
            stream.set_display_rotation(rotation)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)
        stream.options = {"flags": "+ildct+ilme"} if interlaced else dict(options or {})
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound: Any = content.add_stream("aac", rate=48_000) if seconds_of_sound else None
        content.start_encoding()
        for number, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=given)
            if times is not None:
                image.pts, image.time_base = int(times[number]), Fraction(1, 1000)
            content.mux(stream.encode(image))
        content.mux(stream.encode())
        if sound is not None:
            for start in range(0, 48_000 * seconds_of_sound, 1024):
                silence = np.zeros((2, 1024), np.float32)
                piece = av.AudioFrame.from_ndarray(silence, format="fltp", layout="stereo")
                piece.sample_rate, piece.pts = 48_000, start
                content.mux(sound.encode(piece))
            content.mux(sound.encode())
    return path


def cut(path: Path, share: float) -> Path:
    """Cut a file off after a share of its bytes."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path
