"""Coordinates: the labels of observed frames, which forecasts keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from statecast.io.fields.time_steps import Step

Array = np.ndarray[Any, np.dtype[Any]]


class Variable(NamedTuple):
    """A coordinate: values along some of the dimensions of space, and their attributes."""

    dims: tuple[str, ...]
    values: Array
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Coordinates:
    """Labels of the frames of one sequence.

    Attributes:
        space: names of the dimensions of space, such as `("lat", "lon")` or `("station",)`.
        variables: coordinates along space by name, those of the dimensions and any others.
        channels: attributes of each channel, such as units and standard name.
        times: of the observed frames: `datetime64`, `cftime` dates, or numbers.
        step: time between frames.
        time_attributes: attributes of the time coordinate.
        known: (channel, *space), True where any observed frame has a value; None if all points
            have. Elsewhere, as on land, a labelled forecast is NaN.
    """

    space: tuple[str, ...]
    variables: Mapping[str, Variable]
    channels: Mapping[str, Mapping[str, Any]]
    times: Array
    step: Step
    time_attributes: Mapping[str, Any] = field(default_factory=dict)
    known: Array | None = None

    @property
    def dated(self) -> bool:
        """Whether times are dates, and not bare numbers."""
        return self.times.dtype.kind in "MO"
