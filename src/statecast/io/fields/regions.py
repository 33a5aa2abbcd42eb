"""Regions and coarser grids: cut a labelled field by its coordinates, average blocks of points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.axes import role_of
from statecast.io.fields.coordinates import Variable

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

Array = np.ndarray[Any, np.dtype[Any]]
TURN = 360.0  # degrees of longitude


def crop(dataset: Dataset, ranges: Mapping[str, tuple[float, float]], origin: str) -> Dataset:
    """Points whose coordinates lie in the ranges, ends included.

    Of a dimension without coordinate, ranges are numbers of points from 0. Longitudes may be
    given from −180 or from 0, whatever the file has.

    Errors:
        InputError: there is no such dimension, or nothing in the range.
    """
    for name, (low, high) in ranges.items():
        if name not in dataset.dims:
            raise InputError(
                f"{origin} has the dimensions {dict(dataset.sizes)}, and no {name!r} to crop."
            )
        coordinate = dataset.coords.get(name)
        values = np.arange(dataset.sizes[name]) if coordinate is None else coordinate.values
        if values.dtype.kind not in "fiu" or not low <= high:
            raise InputError(
                f"A crop is a range of numbers, lower end first, got {name}: [{low:g}, {high:g}]."
            )
        kept = np.flatnonzero((values >= low) & (values <= high))
        turned = None
        if len(kept) == 0 and role_of(str(name), coordinate) == "x" and high - low <= TURN:
            turned = low + np.mod(values - low, TURN)
            kept = np.flatnonzero(turned <= high)
            kept = kept[np.argsort(turned[kept])]
        if len(kept) == 0:
            raise InputError(
                f"{origin} has {name} from {values.min():g} to {values.max():g}: nothing lies in "
                f"[{low:g}, {high:g}]."
            )
        contiguous = (np.diff(kept) == 1).all()
        chosen = slice(int(kept[0]), int(kept[-1]) + 1) if contiguous else kept
        dataset = dataset.isel({name: chosen})
        if turned is not None:
            attributes = dataset[name].attrs
            dataset = dataset.assign_coords({name: turned[kept]})
            dataset[name].attrs.update(attributes)
    return dataset


def coarsened(values: Array, factor: int, axes: int) -> Array:
    """Means of the known values of blocks of `factor` points along each of the last `axes`.

    Points beyond the last whole block are left out; a block without a known value is NaN.
    """
    if factor == 1:
        return values
    shape = [size // factor for size in values.shape[-axes:]]
    region: tuple[Any, ...] = tuple(slice(0, size * factor) for size in shape)
    values = values[(..., *region)]
    split = values.shape[:-axes] + tuple(n for size in shape for n in (size, factor))
    blocks = values.reshape(split)
    inner = tuple(range(blocks.ndim - 2 * axes + 1, blocks.ndim, 2))
    known = ~np.isnan(blocks)
    count = known.sum(axis=inner)
    total = np.where(known, blocks, 0).sum(axis=inner, dtype=np.float64)
    means: Array = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(values.dtype)
    return means


def space_variables(
    field: DataArray, space: tuple[str, ...], factor: int = 1
) -> dict[str, Variable]:
    """Coordinates along space: those of its dimensions, and others that lie along them alone.

    On a coarser grid, dimensions take the mean coordinate of each block, and others are left out.
    """
    found: dict[str, Variable] = {}
    for name, coordinate in field.coords.items():
        dims = tuple(map(str, coordinate.dims))
        if not dims or not set(dims) <= set(space) or coordinate.dtype.kind not in "fiubUSO":
            continue
        values = np.asarray(coordinate.values)
        if values.dtype.kind in "SO":
            values = values.astype(str)
        if factor > 1:
            if dims != (name,) or values.dtype.kind not in "fiu":
                continue
            values = coarsened(values.astype(np.float64), factor, 1)
        found[str(name)] = Variable(dims, values, kept_attributes(coordinate.attrs))
    return found


# Attributes that speak of how a file was packed, or of variables that do not come along.
PACKING = {
    "_FillValue", "missing_value", "scale_factor", "add_offset", "valid_min", "valid_max",
    "valid_range", "actual_range", "coordinates", "grid_mapping", "cell_methods", "bounds",
    "ancillary_variables", "cell_measures", "DIMENSION_LIST", "CLASS", "NAME", "REFERENCE_LIST",
    "_ARRAY_DIMENSIONS", "flag_values", "flag_meanings", "units_metadata",
}  # fmt: skip


def kept_attributes(attributes: Mapping[Any, Any]) -> dict[str, Any]:
    """Attributes that stay true of a forecast, as text, numbers or lists of numbers."""
    kept: dict[str, Any] = {}
    for name, value in attributes.items():
        if name in PACKING:
            continue
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        if isinstance(plain, str | int | float):
            kept[str(name)] = plain
    return kept
