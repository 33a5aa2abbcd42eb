"""Frames of a video file, decoded by PyAV; no other file is opened."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from statecast.errors import CorruptionError, FileError, StatecastError, require
from statecast.io.video.containers import NAMES, START, container_of, packet_of

Array = np.ndarray[Any, np.dtype[Any]]

LARGEST_FRAME = 1 << 26  # pixels; a larger frame is taken for a decompression bomb
WIDEST = 4.0  # largest width over height of a pixel
USUAL_RATE = 25.0  # frames per second if a file states none
SLACK = 2e-3  # seconds that a stated duration may be off, in addition to half a frame
SLACK_WITH_SOUND = 0.1  # share that it may be off if other streams may outlast the pictures
ENDING = 1 << 16  # bytes at the end of a file that show whether it is complete
HIDING = ("vp8", "libvpx")  # codecs with coded frames that are never shown
LAST_PAGE = 4  # flag of the last page of an Ogg stream
CLOSED = {  # the decoder must not open anything else, or follow references
    "protocol_whitelist": "none",
    "enable_drefs": "0",
    "use_absolute_path": "0",
}


class RawFrame(NamedTuple):
    """A frame as a player would show it."""

    time: float | None  # seconds, increasing; None if the source has no clock
    pixels: Array  # bytes (y, x, 3), red, green, blue; or uint16 (y, x[, 3]) for deeper images
    aspect: float = 1.0  # width of a pixel over its height, as shown
    interlaced: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in square pixels, as a player shows it."""
        return self.pixels.shape[0], round(self.pixels.shape[1] * self.aspect)


class Seen(NamedTuple):
    """The part of a video that has been decoded."""

    frames: int
    end: float  # seconds, end of the last frame
    spacing: float  # seconds between the last two frames
    packets: int = 0  # packets of coded frames, read so far
    stop: int = 0  # byte after the last packet
    lost: int = 0  # coded frames after the first shown one that should have been shown


class VideoFacts(NamedTuple):
    """Facts from the header of a video file."""

    container: str
    codec: str
    pixels: str  # format of its pixels, in the decoder's words
    height: int
    width: int
    frames: int | None
    rate: float | None  # frames a second, on average
    seconds: float | None


def video_facts(path: Path) -> VideoFacts:
    """Header of a video file.

    Errors:
        FileError, CorruptionError: it is not a video, or damaged.
    """
    with opened(path) as (content, stream, container):
        codec = stream.codec_context
        return VideoFacts(
            container=NAMES[container],
            codec=codec.name,
            pixels=str(codec.pix_fmt or "unknown"),
            height=codec.height,
            width=codec.width,
            frames=stream.frames or None,
            rate=None if stream.average_rate is None else float(stream.average_rate),
            seconds=stated_seconds(content, stream),
        )


def decode_video(path: Path) -> Iterator[RawFrame]:
    """All frames of a video file, in the order of display, rotated as its metadata say.

    Errors:
        FileError: it is not a video in a known container.
        CorruptionError: it is cut off or damaged: the decoder fails, or there are fewer frames
            than the file states.
        MissingExtraError: PyAV is not installed.
    """
    with opened(path) as (content, stream, container):
        step = 1 / float(stream.average_rate or USUAL_RATE)
        last: float | None = None
        seen = Seen(0, 0.0, step)
        interlaced = False
        packets = stop = 0  # count what the file holds; a trimmed file does not show all of it
        coded, shown_at = set[int](), set[int]()  # times, in units of the stream
        for packet in content.demux(stream):
            packets += packet.size > 0
            stop = max(stop, (packet.pos or 0) + packet.size)
            if packet.size and packet.pts is not None and not packet.is_discard:
                coded.add(packet.pts)
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise CorruptionError(
                        f"{path} is damaged: frame {seen.frames} cannot be decoded whole."
                    )
                time = frame.time
                if last is not None and (time is None or time <= last):
                    time = last + step
                spacing = step if last is None or time is None else time - last
                last = 0.0 if time is None else float(time)
                interlaced |= frame.interlaced_frame
                if frame.pts is not None:
                    shown_at.add(frame.pts)
                shown = float(frame.duration * frame.time_base) if frame.duration else spacing
                seen = Seen(seen.frames + 1, last + shown, spacing)
                aspect = aspect_of(stream, turned=round(frame.rotation) % 180 != 0)
                yield RawFrame(last, pixels_of(frame), aspect, frame.interlaced_frame)
        lost = sum(time > min(shown_at, default=time) for time in coded - shown_at)
        if interlaced or stream.codec_context.name in HIDING:
            lost = 0  # one frame may be two fields that are coded separately
        seen = seen._replace(packets=packets, stop=stop, lost=lost)
        check_whole(path, container, content, stream, seen)


@contextmanager
def opened(path: Path) -> Iterator[tuple[Any, Any, str]]:
    """A video file, its first video stream, and its container, which the first bytes tell."""
    require("av", "video", "read videos")
    import av

    container = container_of(path)
    with (
        reading(path),
        path.open("rb") as stream,
        av.open(stream, format=container, options=dict(CLOSED)) as content,
    ):
        if not content.streams.video:
            raise CorruptionError(f"{path} holds no pictures, or is cut off.")
        pictures = content.streams.video[0]
        codec = pictures.codec_context
        if codec is None:
            raise CorruptionError(f"{path} has a codec that cannot be decoded, or is cut off.")
        if codec.width * codec.height > LARGEST_FRAME:
            raise FileError(
                f"{path} has frames of {codec.width}×{codec.height} pixels; at most "
                f"{LARGEST_FRAME} pixels are read."
            )
        # Damage is an error; by default decoders paint over it. Coded frames may be larger than
        # the container says.
        codec.options = {
            "err_detect": "crccheck+bitstream+buffer+explode",
            "max_pixels": str(LARGEST_FRAME),
        }
        yield content, pictures, container


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the decoder raises on damaged files into `CorruptionError`."""
    import av

    try:
        yield
    except StatecastError:
        raise
    except (
        av.error.FFmpegError, IndexError, AttributeError, ValueError, OSError, RuntimeError,
    ) as error:  # fmt: skip
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:120]
        raise CorruptionError(f"{path} is cut off or damaged ({reason}).") from error


def pixels_of(frame: Any) -> Array:
    """A decoded frame as bytes (y, x, 3), rotated for display; transparent parts are black."""
    if any(component.is_alpha for component in frame.format.components):
        pixels = on_black(frame.to_ndarray(format="rgba"))
    else:
        pixels = frame.to_ndarray(format="rgb24")
    quarter, rest = divmod(round(frame.rotation), 90)
    if rest:
        raise CorruptionError(
            f"A video is rotated by {frame.rotation}°; only quarter turns are read."
        )
    return np.rot90(pixels, quarter % 4)  # both count anticlockwise


def aspect_of(stream: Any, *, turned: bool) -> float:
    """Width of a pixel over its height, as a player shows it; 1 if the value is implausible."""
    aspect = float(stream.sample_aspect_ratio or 1)
    if not 1 / WIDEST <= aspect <= WIDEST:
        return 1.0
    return 1 / aspect if turned else aspect


def on_black(pixels: Array) -> Array:
    """Bytes (y, x, 4) with opacity, drawn on black."""
    alpha = pixels[..., 3:].astype(np.uint16)
    laid: Array = ((pixels[..., :3] * alpha + 127) // 255).astype(np.uint8)
    return laid


def check_whole(path: Path, container: str, content: Any, stream: Any, seen: Seen) -> None:
    """Raise `CorruptionError` if fewer frames were decoded than the file states."""
    if seen.frames == 0:
        raise CorruptionError(f"{path} holds no frames: it is cut off or damaged.")
    check_ending(path, container)
    if seen.lost:
        raise CorruptionError(f"{path} is damaged: {seen.lost} of its frames cannot be decoded.")
    # FFmpeg finds a GIF's count and a stream's duration by reading on, so they prove nothing.
    if container in ("mp4", "avi") and seen.packets < stream.frames:
        raise CorruptionError(
            f"{path} is cut off or damaged: it states {stream.frames} frames, but holds "
            f"{seen.packets}."
        )
    if container == "yuv4mpegpipe" and seen.stop != path.stat().st_size:
        raise CorruptionError(f"{path} is cut off within a frame.")
    seconds = stated_seconds(content, stream)
    if container == "asf" and seconds is None:  # FFmpeg ignores it if the file is shorter
        raise CorruptionError(f"{path} is cut off: it is smaller than it states.")
    if container not in ("matroska", "flv") or seconds is None:
        return
    slack = SLACK + seen.spacing / 2
    if len(content.streams) > 1 and "DURATION" not in stream.metadata:
        slack += SLACK_WITH_SOUND * seconds
    if seen.end + slack < seconds:
        raise CorruptionError(
            f"{path} is cut off or damaged: it states {seconds:.3g} s, but holds {seen.end:.3g} s."
        )


def check_ending(path: Path, container: str) -> None:
    """Raise `CorruptionError` unless a file ends as its container requires."""
    with path.open("rb") as stream:
        start = stream.read(START)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - ENDING))
        end = stream.read()
    if container == "gif":
        whole = end.rstrip(b"\x00").endswith(b";")
    elif container == "mpegts":
        whole = size % (packet_of(start) or 1) == 0
    elif container == "ogg":
        page = end.rfind(b"OggS")
        whole = page >= 0 and bool(end[page + 5] & LAST_PAGE)
    else:
        return
    if not whole:
        raise CorruptionError(f"{path} is cut off: it does not end as {NAMES[container]} must.")


def stated_seconds(content: Any, stream: Any) -> float | None:
    """Duration of the pictures as a file states it; None if it does not."""
    parts = str(stream.metadata.get("DURATION", "")).split(":")
    if len(parts) == 3:
        try:
            hours, minutes, seconds = map(float, parts)
        except ValueError:
            return None
        return 3600 * hours + 60 * minutes + seconds
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if content.duration:
        found = content.duration / 1e6  # FFmpeg counts microseconds
        return found if math.isfinite(found) and found > 0 else None
    return None
