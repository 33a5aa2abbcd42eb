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
    if np.allclose(found, expected):
        return None
    ours, theirs = (np.round(np.mod(lon.astype(np.float64), TURN), 6) for lon in (expected, found))
    if len(set(ours % TURN)) < len(ours) or set(ours % TURN) != set(theirs % TURN):
        return None
    order = np.empty(len(ours), dtype=np.int64)
    order[np.argsort(ours % TURN)] = np.argsort(theirs % TURN)
    return order


def direction(values: Array) -> float:
    """1 where most steps of numbers go up, -1 where most go down, 0 where neither."""
    if values.ndim != 1 or len(values) < 2 or values.dtype.kind not in "fiu":
        return 0.0
    return float(np.sign(np.median(np.sign(np.diff(values.astype(np.float64))))))
