"""Grids turned to the order of another: the same direction, and the same first meridian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from statecast.io.fields.axes import is_longitude
from statecast.io.fields.regions import TURN, dimension_of

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

Array = np.ndarray[Any, np.dtype[Any]]
GRID_TOLERANCE = 1e-3  # share of the spacing by which coordinates of one grid may differ


def turned(dataset: Dataset, grid: Mapping[str, Array]) -> Dataset:
    """A data set whose coordinates along space have the order of those of a grid.

    If all longitudes are those of the grid, counted from −180 or from 0, they take its order.
    """
    for name, expected in grid.items():
        dim = dimension_of(dataset, name)
        if dim is None or dim not in dataset.coords or dataset[dim].dims != (dim,):
            continue
        coordinate = dataset[dim]
        order = same_meridians(coordinate, expected)
        if order is not None:
            dataset = dataset.isel({dim: order})
            dataset = dataset.assign_coords({dim: (dim, expected, coordinate.attrs)})
        elif direction(expected) * direction(coordinate.values) < 0:
            dataset = dataset.isel({dim: slice(None, None, -1)})
    return dataset


def same_meridians(coordinate: DataArray, expected: Array) -> Array | None:
    """Numbers of the points at the expected longitudes; None if these are others or in order."""
    found = coordinate.values
    if found.dtype.kind not in "fiu" or expected.dtype.kind not in "fiu":
        return None
    if not is_longitude(str(coordinate.name), coordinate) or found.shape != expected.shape:
        return None
    if len(found) < 2 or same_grid(expected, found):
        return None
    # Both count from a meridian between two points, so that rounding moves no point across it.
    apart = np.diff(np.sort(np.mod(expected, TURN)), append=np.nan)
    seam = expected[0] - np.nanmin(apart) / 2
    ours, theirs = (np.mod(lon.astype(np.float64) - seam, TURN) for lon in (expected, found))
    here, there = np.argsort(ours), np.argsort(theirs)
    if not np.diff(ours[here]).all() or not same_grid(ours[here], theirs[there]):
        return None
    order = np.empty(len(ours), dtype=np.int64)
    order[here] = there
    return order


def same_grid(expected: Array, found: Array) -> bool:
    """Whether coordinates of a dimension are the expected ones, apart from rounding."""
    if found.dtype.kind not in "fiu":
        return list(map(str, found)) == list(map(str, expected))
    if len(found) != len(expected):
        return False
    apart = np.abs(found.astype(np.float64) - expected)
    spacing = np.abs(np.diff(expected)).min() if len(expected) > 1 else 1.0
    return bool(apart.max() <= max(GRID_TOLERANCE * spacing, 1e-5 * np.abs(expected).max()))


def direction(values: Array) -> float:
    """1 where most steps of numbers go up, -1 where most go down, 0 where neither."""
    if values.ndim != 1 or len(values) < 2 or values.dtype.kind not in "fiu":
        return 0.0
    return float(np.sign(np.median(np.sign(np.diff(values.astype(np.float64))))))
