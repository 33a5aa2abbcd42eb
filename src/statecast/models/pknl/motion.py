"""MotionField: the motion between the frames of a forecast, in pixels or metres per second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.distances import metres_per_point, seconds_per_frame


@dataclass(frozen=True, kw_only=True)
class MotionField:
    """Motion of each sequence between the frames of its forecast.

    Attributes:
        pixels: motion in pixels per frame interval: first to the right, along the second dimension
            of space, then down, along the first; NaN at points that were never observed, such as
            land.
        times: lead times of the frames at the end of each motion, in frame intervals.
        coordinates: labels of the observed frames; None for bare arrays.
    """

    pixels: Float[Tensor, "batch time 2 height width"]
    times: Float[Tensor, " time"]
    coordinates: Coordinates | None = None

    def velocity(self, metres: float | None = None, seconds: float | None = None) -> Tensor:
        """Velocity in metres per second: eastward, then northward, (batch, time, 2, height, width).

        Args:
            metres: side of a pixel, for fields without labels; the velocity then is to the right
                and down.
            seconds: time between two frames, for fields without labels.

        Errors:
            InputError: neither labels nor `metres` and `seconds` are given, or the labels lack
                distances or dates.
        """
        if metres is not None and seconds is not None:
            return self.pixels * (metres / seconds)
        if self.coordinates is None:
            raise InputError(
                "A velocity needs labelled frames, or the side of a pixel in `metres` and the time "
                "between frames in `seconds`."
            )
        steps = metres_per_point(self.coordinates) / seconds_per_frame(self.coordinates)
        jacobian = torch.from_numpy(np.ascontiguousarray(steps)).to(self.pixels)
        return torch.einsum("dpyx,btpyx->btdyx", jacobian, self.pixels)


def grid_shape(coordinates: Coordinates, space: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of a labelled grid, without points added at its end; `space` without coordinates."""
    sizes = dict(zip(coordinates.space, space, strict=True))
    for variable in coordinates.variables.values():
        sizes |= dict(zip(variable.dims, variable.values.shape, strict=True))
    return tuple(sizes[name] for name in coordinates.space)
