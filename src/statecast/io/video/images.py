"""Frames from image files: one file per frame, or a stack of pages."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import CorruptionError, FileError, StatecastError, require
from statecast.io.json_yaml import check_regular
from statecast.io.paths import natural
from statecast.io.video.decoding import CLOSED, LARGEST_FRAME, RawFrame, on_black

Array = np.ndarray[Any, np.dtype[Any]]

IMAGE_ENDINGS = (
    ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm",
)  # fmt: skip
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")  # Pillow tries no others
BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, TypeError, struct.error, OverflowError)
DEEPEST = 65535  # value of 16 bits
DEPTHS = (8, 10, 12, 14, 16)  # usual numbers of bits of cameras
DESCRIPTION = 270  # TIFF tag, where ImageJ and OME write the axes of a stack
AXES = re.compile(r'(channels|slices|frames|SizeC|SizeZ|SizeT)="?(\d+)')
DATE = re.compile(r"(?<!\d)(?:19|20)\d\d[-_.]?(?:0\d|1[0-2])[-_.]?[0-3]\d[-_.:\sTZ\d]*$")


def groups_of(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Images of a folder as frames of one video or several, by the names before their numbers.

    The number of a frame is the last one that varies among names of the same form; a date at the
    end is a number too. If most videos would have one frame only, all images are one video.
    """
    groups: dict[str, list[Path]] = {}
    for _, alike in groupby(sorted(paths, key=form_of), key=form_of):
        members = list(alike)
        place = frame_place(members)
        for path in members:
            dated = DATE.search(path.stem)
            start = dated.start() if dated else place_of(path, place)
            groups.setdefault(path.stem[:start].rstrip("-_. "), []).append(path)
    if 2 * sum(len(group) == 1 for group in groups.values()) > len(paths):
        return {"": list(paths)}
    return {name: sorted(group, key=natural) for name, group in groups.items()}


def form_of(path: Path) -> tuple[str, ...]:
    """A name without its numbers."""
    return tuple(re.split(r"\d+", path.stem))


def frame_place(paths: Sequence[Path]) -> int | None:
    """Which number in names of the same form distinguishes frames: the last one that varies."""
    numbers = [re.findall(r"\d+", path.stem) for path in paths]
    varying = [i for i, values in enumerate(zip(*numbers, strict=True)) if len(set(values)) > 1]
    return varying[-1] if varying else None


def place_of(path: Path, place: int | None) -> int:
    """Place in a name where its frame number begins; 0 if it has none."""
    found = list(re.finditer(r"\d+", path.stem))
    return 0 if place is None or place >= len(found) else found[place].start()


def decode_images(paths: Sequence[Path]) -> Iterator[RawFrame]:
    """Images as frames, in this order; the pages of a single file are frames as well.

    Errors:
        CorruptionError: an image is damaged, or a number between others is missing.
        FileError: an image is of an unknown kind or too large, or differs in size from the first.
    """
    check_numbers(paths)
    size: tuple[int, ...] | None = None
    for path in paths:
        for page, pixels in enumerate(read_pages(path)):
            if page and len(paths) > 1:
                raise FileError(
                    f"{path} holds several pictures, but {paths[0].name} holds one. Put it in a "
                    "folder of its own."
                )
            if size is not None and pixels.shape[:2] != size:
                raise FileError(
                    f"{path} has {pixels.shape[1]}×{pixels.shape[0]} pixels, but {paths[0].name} "
                    f"has {size[1]}×{size[0]}. All frames of a clip must have the same size."
                )
            size = pixels.shape[:2]
            yield RawFrame(None, pixels)


def check_numbers(paths: Sequence[Path]) -> None:
    """Raise `CorruptionError` if the numbers in names are evenly spaced except for a gap."""
    place = frame_place(paths) if len({form_of(path) for path in paths}) == 1 else None
    if place is None or DATE.search(paths[0].stem):
        return
    numbers = np.array([int(re.findall(r"\d+", path.stem)[place][-18:]) for path in paths])
    steps = np.diff(numbers)
    if len(steps) < 2 or (steps <= 0).any():
        return  # numbers do not count frames, so they are not checked
    usual = int(np.median(steps))
    odd = np.flatnonzero(steps != usual)
    if len(odd):
        first = int(odd[0])
        raise CorruptionError(
            f"{paths[first + 1]} follows {paths[first].name}, but other numbers are {usual} apart: "
            "frames are missing. Split the clip into two folders, or renumber it."
        )


def has_pages(path: Path) -> bool:
    """Whether an image file holds several pictures; False if it cannot be read."""
    try:
        with opened_image(path) as image:
            image.seek(1)
    except (FileError, EOFError):
        return False
    return True


def read_pages(path: Path) -> Iterator[Array]:
    """The pictures of an image file: bytes (y, x, 3), drawn on black, or uint16 (y, x[, 3]).

    Errors:
        CorruptionError: it is damaged.
        FileError: it is of an unknown kind or too large, or its pages are not frames.
    """
    from PIL import ImageOps

    with opened_image(path) as image:
        check_stack(image, path)
        if image.mode == "RGB" and ";16" in str(image.tile):  # Pillow would drop the lower bits
            yield deep_colours(image, path)
            return
        for number in range(getattr(image, "n_frames", 1)):
            with warnings.catch_warnings(action="ignore"):
                image.seek(number)
                check_size(image.size, path)
                pixels = pixels_of(ImageOps.exif_transpose(image), path)
            yield pixels


@contextmanager
def opened_image(path: Path) -> Iterator[Any]:
    """An image file opened by Pillow, whose errors become ours."""
    from PIL import Image

    check_regular(path)
    try:
        with path.open("rb") as stream:
            with warnings.catch_warnings(action="ignore"):  # of large images, which are refused
                image = Image.open(stream, formats=FORMATS)
                check_size(image.size, path)
                getattr(image, "n_frames", 1)  # Pillow counts them by reading on
            yield image
    except StatecastError:
        raise
    except Image.DecompressionBombError as error:
        raise FileError(f"{path} is too large: at most {LARGEST_FRAME} pixels are read.") from error
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:120]
        raise CorruptionError(f"{path} cannot be read as an image ({reason}).") from error


def check_size(size: tuple[int, int], path: Path) -> None:
    """Raise `FileError` if a picture has more than `LARGEST_FRAME` pixels."""
    if size[0] * size[1] > LARGEST_FRAME:
        raise FileError(f"{path} has {size[0]}×{size[1]} pixels; at most {LARGEST_FRAME} are read.")


def check_stack(image: Any, path: Path) -> None:
    """Raise `FileError` if the pages of a stack are not frames of one video."""
    description = str(getattr(image, "tag_v2", {}).get(DESCRIPTION, ""))
    sizes = {name: int(size) for name, size in AXES.findall(description) if int(size) > 1}
    pages = getattr(image, "n_frames", 1)
    if len(sizes) > 1:
        raise FileError(
            f"{path} holds pages of {', '.join(f'{n} {name}' for name, n in sizes.items())}, one "
            "after another. Split it into a stack per channel and slice."
        )
    if sizes and pages == 1:
        raise FileError(
            f"{path} states {next(iter(sizes.values()))} pages, but lists one. Save it as a "
            "multi-page TIFF, or as .npy for the data set `arrays`."
        )


def pixels_of(image: Any, path: Path) -> Array:
    """A picture of Pillow as bytes (y, x, 3), or of more than 8 bits as uint16 (y, x)."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > DEEPEST:
            raise FileError(
                f"{path} holds numbers that are not a brightness of 8 or 16 bits. Store such "
                "frames as .npy and train on `arrays`."
            )
        return values.astype(np.uint16)
    if "A" in image.mode or "transparency" in image.info:
        return on_black(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def deep_colours(image: Any, path: Path) -> Array:
    """A picture of 16 bits per colour, uint16 (y, x, 3), read by PyAV."""
    require("av", "video", "read images in colours of 16 bits")
    import av

    if getattr(image, "n_frames", 1) > 1:
        raise FileError(f"{path} is a stack in colours of 16 bits. Save it as .npy for `arrays`.")
    image.fp.seek(0)
    with av.open(image.fp, format=f"{image.format.lower()}_pipe", options=dict(CLOSED)) as content:
        return next(content.decode(video=0)).to_ndarray(format="rgb48le")


def depth_of(largest: int) -> int:
    """Bits of a camera with this largest value: the fewest of `DEPTHS` that hold it."""
    return next(bits for bits in DEPTHS if largest < 1 << bits)


def as_bytes(pixels: Array, bits: int | None) -> Array:
    """Pixels of a frame as bytes (y, x, 3); pixels of more than 8 bits are scaled by `bits`."""
    if pixels.dtype != np.uint8:
        most = (1 << (bits or 16)) - 1
        scaled = (np.minimum(pixels, most).astype(np.uint32) * 255 + most // 2) // most
        pixels = scaled.astype(np.uint8)
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
