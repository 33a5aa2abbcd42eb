"""Distances on labelled grids: metres per grid point, for motion from point to point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.axes import NAMES, STANDARD_NAMES, UNITS
from statecast.io.fields.coordinates import Coordinates, Variable

Array = np.ndarray[Any, np.dtype[Any]]

EARTH_RADIUS = 6_371_008.8  # m, mean radius of WGS 84, IUGG
MONTH = 2_629_746.0  # s, mean month of the Gregorian calendar
LENGTHS = {
    **dict.fromkeys(["m", "metre", "metres", "meter", "meters"], 1.0),
    **dict.fromkeys(["km", "kilometre", "kilometres", "kilometer", "kilometers"], 1000.0),
}  # in metres
DEGREES = ("latitude", "longitude", "lat", "lon", "lats", "lons")  # names that need no unit


def metres_per_point(coordinates: Coordinates) -> Array:
    """Displacement of one step along each dimension of a grid, (2, 2, height, width), in metres.

    The first axis is the direction: east and north, or the axes of a projection. The second axis
    is the dimension: x, then y. Distances are those on a sphere, by differences of neighbours.

    Errors:
        InputError: a coordinate of space is missing, is neither a length nor in degrees, or has
            1 point.
    """
    y, x = (axis_metres(coordinates, role) for role in ("y", "x"))
    if x[1] != y[1]:
        raise InputError(
            "One coordinate of space is in degrees, and the other one is a length. Convert one."
        )
    values = np.broadcast_arrays(x[0], y[0])
    if min(values[0].shape) < 2:
        raise InputError(f"Distances need 2 points along each side, got {values[0].shape}.")
    steps = np.stack([np.stack(np.gradient(value)[::-1]) for value in values])
    if x[1]:
        steps = EARTH_RADIUS * steps
        steps[0] *= np.cos(values[1])
    return steps


def axis_metres(coordinates: Coordinates, role: str) -> tuple[Array, bool]:
    """Values of a coordinate on the grid, in radians or metres, and whether it is an angle."""
    dimension = ("y", "x").index(role)
    for name, variable in coordinates.variables.items():
        scale = unit_of(name, variable, role, name == coordinates.space[dimension])
        if scale is None or not set(variable.dims) <= set(coordinates.space):
            continue
        values = variable.values.astype(np.float64)
        if len(variable.dims) == 1:
            along = coordinates.space.index(variable.dims[0])
            values = values[:, None] if along == 0 else values[None, :]
        elif variable.dims == coordinates.space[::-1]:
            values = values.T
        if scale:
            return scale * values, False
        radians = np.deg2rad(values)
        return (np.unwrap(radians, axis=1) if role == "x" else radians), True
    raise InputError(
        f"Distances along {coordinates.space[dimension]} need its coordinate in degrees or metres, "
        f"got {', '.join(coordinates.variables) or 'none'}."
    )


def unit_of(name: str, variable: Variable, role: str, is_dimension: bool) -> float | None:
    """Metres per unit of a coordinate, 0 for degrees; None if it belongs to another axis."""
    attributes: Mapping[str, Any] = variable.attributes
    unit = str(attributes.get("units", "")).lower()
    standard = str(attributes.get("standard_name", "")).lower()
    if variable.values.dtype.kind not in "fiu":
        return None
    if unit in UNITS:
        return 0.0 if UNITS[unit] == role else None
    known = STANDARD_NAMES.get(standard) or NAMES.get(name.lower())
    if not unit and (standard in DEGREES or name.lower() in DEGREES):
        return 0.0 if known == role else None
    if unit in LENGTHS and (known == role or (known is None and is_dimension)):
        return LENGTHS[unit]
    return None


def seconds_per_frame(coordinates: Coordinates) -> float:
    """Seconds between two frames; months are mean ones.

    Errors:
        InputError: the time axis has numbers without a unit.
    """
    size, unit = coordinates.step
    if unit == "numbers":
        raise InputError("A speed needs a time axis of dates, got numbers without a unit.")
    return size * (MONTH if unit == "months" else 1.0)
