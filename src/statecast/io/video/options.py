"""ClipOptions: how the frames of a video become frames of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from statecast.errors import InputError

Colour = Literal["grey", "rgb"]
Resampling = Literal["area", "lanczos"]
Box = tuple[int, int, int, int]
Crop = Literal["centre", "none"] | Box

CHANNELS: dict[Colour, tuple[str, ...]] = {
    "grey": ("intensity",),
    "rgb": ("red", "green", "blue"),
}
MOST_BITS = 16
LARGEST_SIDE = 4096  # pixels of a prepared frame; more is taken for a mistake


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """How the frames of a video become frames of a model.

    Attributes:
        size: height and width of a prepared frame, in pixels.
        crop: `centre` takes the largest part from the middle that has the shape of `size`;
            `none` squeezes the whole frame; or a box (left, top, right, bottom) in pixels of the
            video as it is shown.
        resampling: `area` averages the pixels that a new pixel covers; `lanczos` is sharper.
        colour: `grey` (luma, ITU-R BT.601) or `rgb`.
        frames_per_second: frames to take per second of video, by its time stamps: at each tick,
            the frame shown then. None takes every frame, whatever its time.
        frame_step: take every N-th of these frames.
        bits: bits that images of more than 8 bits use, such as 12 for the counts of a camera; the
            largest number is white. None finds them.
    """

    size: tuple[int, int] = (64, 64)
    crop: Crop = "centre"
    resampling: Resampling = "area"
    colour: Colour = "grey"
    frames_per_second: float | None = None
    frame_step: int = 1
    bits: int | None = None

    def __post_init__(self) -> None:
        if not all(1 <= side <= LARGEST_SIDE for side in self.size):
            raise InputError(
                f"size must be a height and a width of 1 to {LARGEST_SIDE} pixels, got {self.size}."
            )
        if self.frame_step < 1 or (
            self.frames_per_second is not None and self.frames_per_second <= 0
        ):
            raise InputError(
                "frame_step must be at least 1, and frames_per_second more than 0, got "
                f"{self.frame_step} and {self.frames_per_second}."
            )
        if self.bits is not None and not 1 <= self.bits <= MOST_BITS:
            raise InputError(f"bits must be from 1 to {MOST_BITS}, got {self.bits}.")
        if not isinstance(self.crop, str):
            left, top, right, bottom = self.crop
            if not (0 <= left < right and 0 <= top < bottom):
                raise InputError(
                    "crop must be centre, none, or a box [left, top, right, bottom] in pixels, "
                    f"got {list(self.crop)}."
                )

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> ClipOptions:
        """From the options of the data set `videos`, as a recipe has them."""
        return cls(
            size=pair(options["size"]),
            crop=as_crop(options["crop"]),
            resampling=options["resampling"],
            colour=options["colour"],
            frames_per_second=options["frames_per_second"],
            frame_step=options["frame_step"],
            bits=options["bits"],
        )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels."""
        return CHANNELS[self.colour]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of a prepared frame, (channel, y, x)."""
        return (len(self.channels), *self.size)


def pair(size: int | Sequence[int]) -> tuple[int, int]:
    """Height and width; one number sets both."""
    if isinstance(size, int):
        return size, size
    height, width = size
    return int(height), int(width)


def as_crop(crop: Any) -> Crop:
    """The crop of a recipe: a word, or a box as a list."""
    if crop in ("centre", "none"):
        word: Crop = crop
        return word
    left, top, right, bottom = crop
    return int(left), int(top), int(right), int(bottom)
