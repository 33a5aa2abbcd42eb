"""Turntable: seats seen from all around, rendered once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

import numpy as np

from statecast.data.base import DataSource, Split, Windows, horizons_of, seeded_generator
from statecast.data.cache.entries import open_or_make
from statecast.data.progress import progress
from statecast.data.synthetic.chair_shapes import random_seat
from statecast.data.synthetic.ray_casting import Parts, camera_at, picture
from statecast.data.view_windows import ViewWindows, split_objects
from statecast.errors import InputError
from statecast.frames import FrameSpec

AZIMUTHS = 31  # views around an object
ELEVATIONS = (20.0, 30.0)  # degrees above it
CHANNELS = ("red", "green", "blue")
SMALLEST_FRAME = 8  # pixels
STREAM = 8  # random stream, not shared with windows
VERSION = 1  # changes when the same options give other frames

Array = np.ndarray[Any, np.dtype[Any]]


class Turntable(DataSource):
    """Chairs and stools of random shapes and colours, which turn around on white.

    Views, windows and splits are those of the rendered chairs of Aubry et al. (2014) as used by
    Donà et al. (2021), https://arxiv.org/abs/2008.01352; the objects are made of boxes, cylinders
    and ellipsoids. Each window carries its latents: the `object`'s number, the `width` and `depth`
    of its seat and its whole `height`, the `azimuth` and `elevation` of each view in degrees, and
    its `direction`, cosine and sine of the azimuth.

    Args:
        context: views observed.
        horizon: views forecast in training.
        test_horizon: views forecast in tests.
        validation_horizon: views forecast in validation; by default as in training.
        objects: number of objects: 15 % for tests, a tenth of the others for validation.
        frame_size: side of a frame in pixels.
        protocol: `rings` keeps the elevation within a window; `paper` goes round all 62 views, so
            that a window may jump from one elevation to the other.
        seed: seed of the objects.
    """

    def __init__(
        self,
        *,
        context: int = 5,
        horizon: int = 10,
        test_horizon: int = 10,
        validation_horizon: int | None = None,
        objects: int = 300,
        frame_size: int = 64,
        protocol: Literal["rings", "paper"] = "rings",
        seed: int = 42,
    ) -> None:
        self.context, self.objects, self.frame_size = context, objects, frame_size
        self.protocol, self.seed = protocol, seed
        self.horizons = horizons_of(context, horizon, test_horizon, validation_horizon)
        if frame_size < SMALLEST_FRAME:
            raise InputError(
                f"frame_size must be at least {SMALLEST_FRAME} pixels, got {frame_size}."
            )
        self.parts = split_objects(objects)

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(
            channels=CHANNELS,
            space=(self.frame_size, self.frame_size),
            context=self.context,
            horizon=self.horizons["train"],
            value_range=(0.0, 1.0),
        )

    def windows(self, split: Split) -> Windows:
        return ViewWindows(
            self.views,
            self.parts[split],
            context=self.context,
            length=self.context + self.horizons[split],
            ring=AZIMUTHS if self.protocol == "rings" else AZIMUTHS * len(ELEVATIONS),
            channels=CHANNELS,
            angles=angles(),
            measures=self.measures,
        )

    @cached_property
    def measures(self) -> dict[str, Array]:
        """Width and depth of each seat, and height of the whole object, in units of the scene."""
        seats = [self.seat(number) for number in range(self.objects)]
        ends = [(seat.centres[:, 1], seat.halves[:, 1]) for seat in seats]
        return {
            "width": np.array([2 * seat.halves[0, 0] for seat in seats]),
            "depth": np.array([2 * seat.halves[0, 2] for seat in seats]),
            "height": np.array([max(y + half) - min(y - half) for y, half in ends]),
        }

    def seat(self, number: int) -> Parts:
        """The parts of an object, the seat itself first."""
        return random_seat(seeded_generator(self.seed, STREAM, number))

    @property
    def card(self) -> dict[str, Any]:
        return {
            "name": "turntable",
            "objects": self.objects,
            "splits": {name: len(part) for name, part in self.parts.items()},
            "frame_size": self.frame_size,
            "context": self.context,
            "horizons": self.horizons,
            "protocol": self.protocol,
            "seed": self.seed,
            "version": VERSION,
            "source": "rendered by statecast",
            "licence": "Apache-2.0",
        }

    @cached_property
    def views(self) -> Array:
        """All views (object, view, channel, y, x), bytes, from the cache or rendered."""
        shape = (len(angles()), len(CHANNELS), self.frame_size, self.frame_size)
        return open_or_make(
            "turntable",
            {"objects": self.objects, "size": self.frame_size, "seed": self.seed, "v": VERSION},
            (self.objects, *shape),
            self._rendered(),
            dtype=np.uint8,
        )

    def _rendered(self) -> Iterator[Array]:
        cameras = [camera_at(*np.radians(view)) for view in angles()]
        for number in progress(range(self.objects), "rendering objects"):
            seat = self.seat(number)
            yield np.stack([picture(seat, camera, self.frame_size) for camera in cameras])[None]


def angles() -> Array:
    """Azimuth and elevation of each view in degrees, one elevation after the other, (view, 2)."""
    azimuths = 360.0 * np.arange(AZIMUTHS) / AZIMUTHS
    return np.array([(azimuth, level) for level in ELEVATIONS for azimuth in azimuths])
