"""Regions and coarser grids: crop a labelled field by coordinates, average blocks of points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.axes import NAMES, UNITS, is_longitude, role_of
from statecast.io.fields.coordinates import Variable

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

Array = np.ndarray[Any, np.dtype[Any]]
TURN = 360.0  # degrees of longitude
Range = tuple[float | str, float | str]  # ends of a coordinate: numbers, dates or names


def crop(dataset: Dataset, ranges: Mapping[str, Range], origin: str) -> Dataset:
    """Points whose coordinates lie in the ranges, ends included; ranges of time are ignored.

    If a dimension has no coordinate, its range counts points from 0. A dimension may be called
    `lat`, `lon` or `level`, whatever the file calls it. Longitudes may count from −180 or from 0,
    whatever the file does: the axis is turned if it then holds more of the range.

    Errors:
        InputError: there is no such dimension, or no point lies in the range.
    """
    for asked, ends in ranges.items():
        name = dimension_of(dataset, asked)
        if name is None:
            raise InputError(
                f"{origin} has the dimensions {dict(dataset.sizes)}, but not {asked!r}, which "
                "should be cropped."
            )
        if name != asked and name not in dataset.coords:
            raise InputError(
                f"{origin} has no {asked} along {name}. {box_of(dataset, asked, ends)}"
            )
        coordinate = dataset[name]
        if coordinate.dtype.kind in "MO" and role_of(name, coordinate) == "time":
            continue
        numbers = coordinate.dtype.kind in "fiu"
        values = coordinate.values if numbers else coordinate.values.astype(str)
        low, high = ends if numbers else map(str, ends)
        if numbers and (isinstance(low, str) or isinstance(high, str) or not low <= high):
            around = f" To cross the seam, add 360 to the upper end: [{low}, {high}+360]."
            raise InputError(
                f"A crop must be a range of numbers, lower end first, got {name}: [{low}, {high}]."
                + (around if is_longitude(name, coordinate) else "")
            )
        kept, turned = points_within(values, low, high, is_longitude(name, coordinate))
        if len(kept) == 0:
            raise InputError(
                f"{origin} has {name} from {shown(values.min())} to {shown(values.max())}: "
                f"nothing lies in [{shown(low)}, {shown(high)}]."
            )
        contiguous = (np.diff(kept) == 1).all()
        chosen = slice(int(kept[0]), int(kept[-1]) + 1) if contiguous else kept
        dataset = dataset.isel({name: chosen})
        if turned is not None:
            dataset = dataset.assign_coords({name: (name, turned, coordinate.attrs)})
    return dataset


def box_of(dataset: Dataset, asked: str, ends: Range) -> str:
    """Advice for a curvilinear grid, whose latitudes and longitudes lie along two dimensions."""
    for name, array in dataset.variables.items():
        place = is_place(array) and NAMES.get(asked.lower()) == role_of(str(name), dataset[name])
        if not place or array.ndim < 2 or isinstance(ends[0], str) or isinstance(ends[1], str):
            continue
        grid = array.isel(dict.fromkeys(array.dims[:-2], 0))
        inside = (grid.values >= ends[0]) & (grid.values <= ends[1])
        if not inside.any():
            break
        spans = (np.flatnonzero(inside.any(axis=axis))[[0, -1]] for axis in (1, 0))
        box = ", ".join(f"{d}: [{a}, {b}]" for d, (a, b) in zip(grid.dims, spans, strict=True))
        return f"{name} lies along {grid.dims}. Crop by numbers of points, here {{{box}}}."
    return "Crop by numbers of points, or by another coordinate."


def dimension_of(dataset: Dataset, asked: str) -> str | None:
    """The dimension of this name, or else the only dimension with the same role."""
    if asked in dataset.dims:
        return asked
    wanted = NAMES.get(asked.lower())
    found = [str(n) for n in dataset.dims if role_of(str(n), dataset.coords.get(n)) == wanted]
    return found[0] if wanted is not None and len(found) == 1 else None


def points_within(
    values: Array, low: Any, high: Any, longitude: bool
) -> tuple[Array, Array | None]:
    """Numbers of the points in a range, in order; and their longitudes, if the axis is turned."""
    if values.dtype.kind not in "fiu":
        return np.flatnonzero((values >= low) & (values <= high)), None
    # Single precision rounds coordinates at the ends.
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    kept = np.flatnonzero((values >= low - slack) & (values <= high + slack))
    if not longitude or high - low > TURN:
        return kept, None
    turned = low - slack + np.mod(values.astype(np.float64) - low + slack, TURN)
    inside = np.flatnonzero(turned <= high + slack)
    inside = inside[np.argsort(turned[inside], kind="stable")]
    # If a globe has its first meridian at both ends, keep one of them.
    fresh = np.diff(turned[inside], prepend=-np.inf) > slack
    inside = inside[fresh]
    return (inside, turned[inside]) if len(inside) > len(kept) else (kept, None)


def shown(value: Any) -> str:
    """A number or text as a message shows it."""
    return f"{value:g}" if isinstance(value, int | float | np.number) else str(value)


def coarse(array: DataArray, factor: int, dims: tuple[str, ...]) -> DataArray:
    """Means of the known values in blocks of `factor` points; points left over are dropped."""
    if factor == 1:
        return array
    windows = dict.fromkeys(dims, factor)
    means: Any = array.astype(np.float64).coarsen(windows, boundary="trim").mean()
    return means


def space_variables(
    field: DataArray, space: tuple[str, ...], time: str, factor: int = 1
) -> dict[str, Variable]:
    """Coordinates of the dimensions of space, and others that lie only along these.

    Latitudes and longitudes that are repeated at each time, as in WRF, are taken once. On a
    coarser grid, dimensions have the mean coordinate of each block, and others are dropped.
    """
    found: dict[str, Variable] = {}
    for name, stored in field.coords.items():
        coordinate = once(stored, time)
        dims = tuple(map(str, coordinate.dims))
        if not dims or not set(dims) <= set(space) or coordinate.dtype.kind not in "fiubUSO":
            continue
        if factor > 1:
            if dims != (name,) or coordinate.dtype.kind not in "fiu":
                continue
            coordinate = coarse(coordinate.drop_vars(coordinate.coords), factor, dims)
        values = np.asarray(coordinate.values)
        values = values.astype(str) if values.dtype.kind in "SO" else values
        found[str(name)] = Variable(dims, values, kept_attributes(stored.attrs))
    return found


def once(coordinate: DataArray, time: str) -> DataArray:
    """A coordinate; latitudes or longitudes that are equal at all times lose their time axis."""
    if time not in coordinate.dims or coordinate.ndim == 1 or not is_place(coordinate):
        return coordinate
    first, last = (coordinate.isel({time: number}) for number in (0, -1))
    return first if np.array_equal(first.values, last.values) else coordinate


def is_place(variable: Any) -> bool:
    """Whether a variable holds latitudes or longitudes."""
    units = str(variable.attrs.get("units", "")).lower()
    return units in UNITS or variable.attrs.get("standard_name") in ("latitude", "longitude")


# Attributes about the packing of a file, or about variables that a forecast does not have.
PACKING = {
    "_FillValue", "missing_value", "scale_factor", "add_offset", "valid_min", "valid_max",
    "valid_range", "actual_range", "coordinates", "grid_mapping", "cell_methods", "bounds",
    "ancillary_variables", "cell_measures", "DIMENSION_LIST", "CLASS", "NAME", "REFERENCE_LIST",
    "_ARRAY_DIMENSIONS", "flag_values", "flag_meanings", "units_metadata",
}  # fmt: skip


def kept_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes that are also true of a forecast, and are text or single numbers."""
    kept: dict[str, Any] = {}
    for name, value in attributes.items():
        if name in PACKING:
            continue
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        if isinstance(plain, str | int | float):
            kept[str(name)] = plain
    return kept
