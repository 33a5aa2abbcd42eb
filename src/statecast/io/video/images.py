"""Frames from a folder of images: in the order of their numbers, nothing left out."""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import CorruptionError, FileError, StatecastError
from statecast.io.json_yaml import check_regular
from statecast.io.video.decoding import LARGEST_FRAME, RawFrame, on_black

Array = np.ndarray[Any, np.dtype[Any]]

IMAGE_ENDINGS = (
    ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm",
)  # fmt: skip
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")  # of Pillow; no other is tried
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, OverflowError)
WIDE = 257  # 65535 / 255: sixteen bits to eight


def natural(path: Path) -> list[Any]:
    """Key that puts frame9 before frame10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


def decode_images(paths: Sequence[Path]) -> Iterator[RawFrame]:
    """Images as frames, in this order.

    Errors:
        CorruptionError: an image is damaged, or a number is missing between others.
        FileError: an image is of an unknown kind or too large, or another size than the first.
    """
    check_numbers(paths)
    size: tuple[int, ...] | None = None
    for path in paths:
        pixels = read_image(path)
        if size is not None and pixels.shape[:2] != size:
            raise FileError(
                f"{path} has {pixels.shape[1]}×{pixels.shape[0]} pixels, {paths[0].name} has "
                f"{size[1]}×{size[0]}. Frames of a clip have one size."
            )
        size = pixels.shape[:2]
        yield RawFrame(None, pixels)


def check_numbers(paths: Sequence[Path]) -> None:
    """Raise `CorruptionError` where the last numbers in names are evenly spaced but for a gap."""
    found = [re.findall(r"\d+", path.stem) for path in paths]
    if not all(found):
        return
    numbers = np.array([int(digits[-1][-18:]) for digits in found])
    steps = np.diff(numbers)
    if len(steps) < 2 or (steps <= 0).any():
        return  # not numbered one after another: by name, then
    usual = int(np.median(steps))
    odd = np.flatnonzero(steps != usual)
    if len(odd):
        first = int(odd[0])
        raise CorruptionError(
            f"{paths[first + 1]} follows {paths[first].name}, while others are {usual} apart: "
            "frames are missing. Cut the clip in two folders, or renumber it."
        )


def read_image(path: Path) -> Array:
    """An image as bytes (y, x, 3): transparent parts black, 16 bits brought to 8.

    Errors:
        CorruptionError: it is damaged.
        FileError: it is of an unknown kind, too large, or holds several pictures.
    """
    from PIL import Image, ImageOps

    check_regular(path)
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images, which are refused below
            image = Image.open(stream, formats=FORMATS)
            width, height = image.size
            if width * height > LARGEST_FRAME:
                raise FileError(
                    f"{path} has {width}×{height} pixels; at most {LARGEST_FRAME} are read."
                )
            if getattr(image, "n_frames", 1) > 1:
                raise FileError(f"{path} holds several pictures; a frame is one per file.")
            return image_bytes(ImageOps.exif_transpose(image), path)
    except StatecastError:
        raise
    except Image.DecompressionBombError as error:
        raise FileError(f"{path} is too large: at most {LARGEST_FRAME} pixels are read.") from error
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:120]
        raise CorruptionError(f"{path} cannot be read as an image ({reason}).") from error


def image_bytes(image: Any, path: Path) -> Array:
    """An opened image as bytes (y, x, 3)."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > WIDE * 255:
            raise FileError(
                f"{path} holds numbers that are no brightness of 8 or 16 bits. Store such frames "
                "as .npy and train on `arrays`."
            )
        grey = ((values.astype(np.uint32) + WIDE // 2) // WIDE).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1)
    if "A" in image.mode or "transparency" in image.info:
        return on_black(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))
