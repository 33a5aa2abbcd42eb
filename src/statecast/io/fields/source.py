"""Source: one labelled data set as frames (time, channel, *space), read slice by slice."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from statecast.checks import typed
from statecast.errors import InputError
from statecast.io.fields.axes import Axes, axes_of, values_of
from statecast.io.fields.coordinates import Variable
from statecast.io.fields.dates import (
    FROM_NAMES,
    as_dates,
    probable_units,
    resolution,
    scalar_time,
    with_dates,
)
from statecast.io.fields.readers import reading
from statecast.io.fields.regions import (
    Range,
    coarse,
    crop,
    is_place,
    kept_attributes,
    space_variables,
)
from statecast.io.fields.time_axis import Duplicates, Uneven
from statecast.io.fields.unknown import Unknown, unknown_of

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

Array = np.ndarray[Any, np.dtype[Any]]
Gaps = Literal["refuse", "keep"]

EXPVER = "expver"  # dimension of ERA5's final and preliminary data; one is known at each time
NUMBERS = "fiub"  # kinds of dtypes
BOUNDS = ("_bnds", "_bounds", "_bnd", "_vertices")  # ends of names of cells' edges


@dataclass(frozen=True, kw_only=True)
class FieldOptions:
    """How a labelled data set is read.

    Attributes:
        variables: names, one per channel; empty for the only variable that has frames.
        group: name of the group to read, if there are several.
        time: name of the dimension of time, if it is not recognised.
        y: name of the first dimension of space.
        x: name of the second; for points, `y` or `x` alone.
        sequences: name of a dimension whose values are separate sequences, such as members.
        channels: name of a dimension whose values are separate channels, such as levels.
        crop: range of each named coordinate to keep.
        coarsen: average blocks of N points along each dimension of space.
        time_units: units of times, if the file does not state them, such as
            `seconds since 1970-01-01`, or `datenum`, as MATLAB counts days.
        uneven_times: see `even_frames`.
        time_step: see `even_frames`.
        sort: put frames in order of time.
        duplicates: which of several frames of one time to take, or their mean.
        missing_frames: `refuse` frames without a known value, or `keep` them.
        missing: values that mark missing data; None to search for them, empty if there are none.
    """

    variables: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    y: str | None = None
    x: str | None = None
    sequences: str | None = None
    channels: str | None = None
    crop: Mapping[str, Range] = field(default_factory=dict)
    coarsen: int = 1
    time_units: str | None = None
    uneven_times: Uneven = "refuse"
    time_step: str | None = None
    sort: bool = False
    duplicates: Duplicates = "refuse"
    missing_frames: Gaps = "refuse"
    missing: tuple[float, ...] | None = None


FieldOptions.__init__ = typed(FieldOptions.__init__)  # type: ignore[method-assign]


class Source:
    """Frames of one labelled data set.

    Args:
        dataset: as xarray opens it.
        options: how to read it.
        origin: named in errors.

    Attributes:
        variables: names of the variables that are read.
        channels: names of the channels: names of variables, followed by a value of the dimension
            of channels if there is one.
        axes: names of the dimensions.
        times: times of the frames as stored: dates, or numbers.
        resolution: see `statecast.io.fields.dates.resolution`.
        space: points along each dimension of space.
        members: number of sequences.

    Errors:
        InputError: a variable or dimension is missing, or variables lie on different grids.
    """

    def __init__(self, dataset: Dataset, options: FieldOptions, origin: str) -> None:
        self.options, self.origin = options, origin
        self.source = dataset  # kept, so that it stays in use and is not opened twice
        places = [name for name, array in dataset.data_vars.items() if is_place(array)]
        with reading(origin):
            dataset = (
                dataset.set_coords(places) if len(places) < len(dataset.data_vars) else dataset
            )
            dataset = with_dates(dataset, options.time_units, origin)
            alone = scalar_time(dataset)
        self.scalar = None if alone is None else alone[0]
        self.variables = chosen_variables(dataset, options, origin, self.scalar)
        dataset = crop(dataset, options.crop, origin)
        arrays = [dataset[name] for name in self.variables]
        self.axes = common_axes(arrays, options, origin, self.scalar)
        first = arrays[0]
        self.members = first.sizes.get(options.sequences, 1)
        self.times, self.time_attributes, self.resolution = self.read_times(first, alone)
        if len(self.times) == 0:
            raise InputError(f"{origin} holds no frames: {self.axes.time} is empty.")
        kept = (options.sequences, options.channels, EXPVER, self.axes.time, *self.axes.space)
        self.arrays = [
            array.isel(dict.fromkeys(self.axes.single, 0)).transpose(
                *(name for name in kept if name in array.dims)
            )
            for array in arrays
        ]
        self.channels = channel_names(self.arrays, options.channels)
        self.unknown = [
            unknown_of(self.source[name], options.missing or ()) for name in self.variables
        ]
        full = tuple(first.sizes[name] for name in self.axes.space)
        if options.coarsen < 1 or min(full) < options.coarsen:
            raise InputError(f"{origin} of {full} points cannot be coarsened {options.coarsen}×.")
        self.space = tuple(size // options.coarsen for size in full)

    def read_times(self, array: DataArray, alone: Any) -> tuple[Array, dict[str, Any], float]:
        """Times of the frames, attributes and resolution; times without coordinate count from 0."""
        name = self.axes.time
        if alone is not None:
            times = np.empty(1, dtype=getattr(alone[1], "dtype", object))
            times[0] = alone[1]
            return times, kept_attributes(alone[2]), 0.0
        coordinate = array.coords.get(name)
        if coordinate is None or coordinate.dtype.kind not in "MOfiu":
            return np.arange(array.sizes[name], dtype=np.float64), {}, 0.0
        values = np.asarray(coordinate.values)
        dates = as_dates(values) if values.dtype.kind in "MO" else values.astype(np.float64)
        return dates, kept_attributes(coordinate.attrs), resolution(coordinate)

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.times)

    @property
    def calendar(self) -> str:
        """Calendar of the dates; `none` for bare numbers."""
        if self.times.dtype.kind == "O":
            return str(self.times[0].calendar)
        return "standard" if self.times.dtype.kind == "M" else "none"

    @property
    def notes(self) -> list[str]:
        """Remarks for the user on how the data set is read."""
        found = []
        if self.time_attributes.get("comment") == FROM_NAMES:
            kind = "dates" if self.times.dtype.kind in "MO" else "times, which are numbers,"
            found.append(f"{kind} are taken {FROM_NAMES}")
        units = probable_units(self.times)
        if units is not None:
            found.append(
                f"{self.axes.time} holds numbers from {self.times[0]:.0f}, which look like "
                f"{units}: --data.time_units '{units}' takes them as dates"
            )
        if any(EXPVER in array.dims for array in self.arrays):
            found.append(f"{EXPVER}: the first known value at each point is taken")
        for name, unknown in zip(self.variables, self.unknown, strict=True):
            found += [f"{name}: {text}" for text in unknown.declared]
        return found

    @property
    def attributes(self) -> dict[str, dict[str, Any]]:
        """Attributes of each channel."""
        each = len(self.channels) // len(self.arrays)
        arrays = [array for array in self.arrays for _ in range(each)]
        pairs = zip(self.channels, arrays, strict=True)
        return {name: kept_attributes(array.attrs) for name, array in pairs}

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each channel, empty if the file states none."""
        return tuple(str(found.get("units", "")) for found in self.attributes.values())

    @cached_property
    def coordinates(self) -> dict[str, Variable]:
        """Coordinates along space."""
        with reading(self.origin):
            return space_variables(
                self.arrays[0], self.axes.space, self.axes.time, self.options.coarsen
            )

    @property
    def grid(self) -> dict[str, Array]:
        """Values of the coordinates of the dimensions of space."""
        known = self.coordinates
        return {name: known[name].values for name in self.axes.space if name in known}

    def read(self, frames: slice | Array, member: int) -> Array:
        """Some frames as float32 (time, channel, *space); unknown is NaN.

        Errors:
            CorruptionError: the file is damaged.
            InputError: it holds no numbers.
        """
        pairs = zip(self.arrays, self.unknown, strict=True)
        with reading(self.origin):
            parts = [self.read_one(array, unknown, frames, member) for array, unknown in pairs]
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def read_one(
        self, stored: DataArray, unknown: Unknown, frames: slice | Array, member: int
    ) -> Array:
        """Some frames of one variable, as `read` gives them."""
        if stored.dtype.kind not in NUMBERS:
            raise InputError(
                f"{self.origin} should hold numbers, got values of type {stored.dtype}."
            )
        where: dict[Any, Any] = {} if self.scalar is not None else {self.axes.time: frames}
        if self.options.sequences in stored.dims:
            where[self.options.sequences] = member
        chosen = stored.isel(where)
        known = chosen.copy(data=unknown.masked(np.asarray(chosen.values)))
        if EXPVER in known.dims:
            versions = [known.isel({EXPVER: number}) for number in range(known.sizes[EXPVER])]
            known = functools.reduce(lambda first, other: first.fillna(other), versions)
        means = coarse(known, self.options.coarsen, self.axes.space)
        channels = self.options.channels if self.options.channels in means.dims else "channel"
        order = (self.axes.time, channels, *self.axes.space)
        missing = [name for name in order if name not in means.dims]
        whole = means.expand_dims(missing).transpose(*order)
        return np.asarray(whole.values.astype(np.float32, copy=False))


def check_dimensions(dataset: Dataset, asked: Sequence[str | None], origin: str) -> None:
    """Raise `InputError` if a dimension that should become sequences or channels is missing."""
    for name in filter(None, asked):
        if name not in dataset.dims:
            raise InputError(
                f"{origin} has the dimensions {dict(dataset.sizes)}, but not {name!r}, which "
                "should become sequences or channels."
            )


def chosen_variables(
    dataset: Dataset, options: FieldOptions, origin: str, scalar: str | None
) -> tuple[str, ...]:
    """Names of the variables to read: the given ones, or the only one that has frames.

    Errors:
        InputError: a variable is missing, or several could be meant.
    """
    there = [str(name) for name in dataset.data_vars]
    for name in options.variables:
        if name not in dataset.variables:
            raise InputError(f"{origin} has the variables {there}, but not {name!r}.")
    if options.variables:
        return tuple(options.variables)
    possible = candidates(dataset)
    found = []
    for name in possible:
        try:
            axes_within(dataset[name], options, origin, scalar)
        except InputError:
            continue
        found.append(name)
    if len(found) == 1:
        return tuple(found)
    if not found and len(possible) == 1:  # reading it will raise an error that says why
        return (possible[0],)
    raise InputError(
        f"{origin} has the variables {there}; fields in time are {found or 'none of them'}. "
        "Name what to forecast: --data.variables NAME."
    )


def candidates(dataset: Dataset) -> list[str]:
    """Variables that may be fields: arrays of numbers, but no bounds, places, dates or meshes."""
    keys = ("bounds", "climatology")
    arrays = dataset.variables.values()
    edges = {str(array.attrs.get(key, "")) for array in arrays for key in keys}
    return [
        str(name)
        for name, array in dataset.data_vars.items()
        if array.dtype.kind in NUMBERS
        and array.ndim > 0
        and " since " not in str(array.attrs.get("units", "")).lower()
        and name not in edges
        and not is_place(array)
        and "connectivity" not in str(array.attrs.get("cf_role", ""))
        and not str(name).endswith(BOUNDS)
    ]


def axes_within(array: DataArray, options: FieldOptions, origin: str, scalar: str | None) -> Axes:
    """Dimensions of a variable, except those that become sequences or channels."""
    taken = (options.sequences, options.channels, EXPVER)
    inner = array.isel({name: 0 for name in taken if name in array.dims})
    return axes_of(
        inner, time=options.time, y=options.y, x=options.x, origin=origin, scalar_time=scalar
    )


def common_axes(
    arrays: Sequence[DataArray], options: FieldOptions, origin: str, scalar: str | None
) -> Axes:
    """The dimensions that all variables share.

    Errors:
        InputError: the variables lie on different grids.
    """
    found = [axes_within(array, options, origin, scalar) for array in arrays]
    sizes = [
        {name: array.sizes.get(name, 1) for name in (axes.time, *axes.space)}
        for array, axes in zip(arrays, found, strict=True)
    ]
    for array, axes, size in zip(arrays, found, sizes, strict=True):
        if (axes.time, axes.space) != (found[0].time, found[0].space) or size != sizes[0]:
            raise InputError(
                f"{origin}: all variables must lie on one grid, but {arrays[0].name} has "
                f"{sizes[0]}, and {array.name} has {size}. Name one with --data.variables."
            )
    return found[0]


def channel_names(arrays: Sequence[DataArray], dimension: str | None) -> tuple[str, ...]:
    """Names of the channels: the variable, and the value of the dimension of channels if any."""
    names = []
    for array in arrays:
        if dimension is None or dimension not in array.dims:
            names.append(str(array.name))
            continue
        for number in range(array.sizes[dimension]):
            one = array.isel({dimension: [number]})
            value = values_of(one, dimension) if dimension in array.coords else number
            names.append(f"{array.name}_{value}")
    return tuple(names)
