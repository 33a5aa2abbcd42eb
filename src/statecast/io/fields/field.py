"""Field: a labelled data set as frames (time, channel, *space), read slice by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.axes import Axes, axes_of
from statecast.io.fields.coordinates import Coordinates, Variable
from statecast.io.fields.readers import reading
from statecast.io.fields.regions import coarsened, crop, kept_attributes, space_variables
from statecast.io.fields.time_axis import EvenAxis, Uneven, check_order, even_frames
from statecast.io.fields.time_steps import numbers, text_of

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

Array = np.ndarray[Any, np.dtype[Any]]
Gaps = Literal["refuse", "keep"]


@dataclass(frozen=True, kw_only=True)
class FieldOptions:
    """How a labelled data set is read.

    Attributes:
        variables: names, one per channel; none for the only one that has frames.
        time: name of the dimension of time, where it cannot be told.
        y: of the first dimension of space.
        x: of the second; of points, `y` or `x` alone.
        crop: range of each named coordinate to keep.
        coarsen: average blocks of so many points along each dimension of space.
        uneven_times: see `even_frames`.
        time_step: see `even_frames`.
        sort: put frames in order of time.
        missing_frames: `refuse` frames without a known value, or `keep` them.
    """

    variables: tuple[str, ...] = ()
    time: str | None = None
    y: str | None = None
    x: str | None = None
    crop: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    coarsen: int = 1
    uneven_times: Uneven = "refuse"
    time_step: str | None = None
    sort: bool = False
    missing_frames: Gaps = "refuse"


class Field:
    """Frames of one labelled data set, read when they are asked for.

    Args:
        dataset: as xarray opens it, decoded.
        options: how to read it.
        origin: named in errors.

    Attributes:
        channels: names of the variables.
        axes: names of the dimensions.
        space: points along each dimension of space.
        frames: the even time axis.

    Errors:
        InputError: a variable or dimension is missing, variables lie on different grids, or
            times do not fit.
    """

    def __init__(self, dataset: Dataset, options: FieldOptions, origin: str) -> None:
        self.options, self.origin = options, origin
        self.source = dataset  # kept, because a data set in use is not opened twice
        self.channels = chosen_variables(dataset, options, origin)
        dataset = crop(dataset, options.crop, origin)
        arrays = [dataset[name] for name in self.channels]
        self.axes = common_axes(arrays, options, origin)
        times = time_values(arrays[0], self.axes.time)
        if options.sort:
            order = np.argsort(numbers(times), kind="stable")
            times = times[order]
            arrays = [array.isel({self.axes.time: order}) for array in arrays]
        check_order(times, origin)
        self.frames: EvenAxis = even_frames(
            times, uneven_times=options.uneven_times, time_step=options.time_step, origin=origin
        )
        self.arrays = [
            array.isel(dict.fromkeys(self.axes.single, 0)).transpose(
                self.axes.time, *self.axes.space
            )
            for array in arrays
        ]
        full = tuple(self.arrays[0].sizes[name] for name in self.axes.space)
        if options.coarsen < 1 or min(full) < options.coarsen:
            raise InputError(f"{origin} of {full} points cannot be coarsened {options.coarsen}×.")
        self.space = tuple(size // options.coarsen for size in full)

    def __len__(self) -> int:
        """Number of frames of the even time axis."""
        return len(self.frames.times)

    @property
    def attributes(self) -> dict[str, dict[str, Any]]:
        """Attributes of each channel."""
        pairs = zip(self.channels, self.arrays, strict=True)
        return {name: kept_attributes(array.attrs) for name, array in pairs}

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each channel, empty where the file does not say."""
        return tuple(str(array.attrs.get("units", "")) for array in self.arrays)

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """Coordinates along space."""
        return space_variables(self.arrays[0], self.axes.space, self.options.coarsen)

    def read(self, start: int, stop: int) -> Array:
        """Frames from `start` up to `stop` as float32 (time, channel, *space); unknown is NaN.

        Errors:
            CorruptionError: the file is damaged.
            InputError: infinite values, or frames without a known value that are not asked for.
        """
        first, last = self.frames.starts[start:stop], self.frames.stops[start:stop]
        low, high = int(first.min()), int(last.max())
        with reading(self.origin):
            pieces = [
                np.asarray(array.isel({self.axes.time: slice(low, high)}).values)
                for array in self.arrays
            ]
        values = np.stack([as_float(piece, self.origin) for piece in pieces], axis=1)
        self.check(values, low)
        values = coarsened(values, self.options.coarsen, len(self.space))
        if self.frames.identical:
            return values
        return mean_of_each(values, first - low, last - low)

    def check(self, values: Array, start: int) -> None:
        """Raise `InputError` for infinite values, and for frames that are wholly unknown."""
        if len(values) == 0:  # all of them are missing between two frames of the file
            return
        if np.isinf(values).any():
            place = int(np.argmax(np.isinf(values).reshape(len(values), -1).any(axis=1)))
            raise InputError(
                f"{self.origin} holds infinite values, first in frame {start + place}. Mark what "
                "is missing with NaN or a _FillValue."
            )
        if self.options.missing_frames == "keep":
            return
        empty = np.asarray(np.isnan(values).reshape(*values.shape[:2], -1).all(axis=2))
        if empty.any():
            frame, channel = (int(i[0]) for i in empty.nonzero())
            raise InputError(
                f"{self.origin} has no known value of {self.channels[channel]} in "
                f"{int(empty.any(axis=1).sum())} frame(s), first in frame {start + frame}. Set "
                "missing_frames: keep to take such frames as unknown."
            )

    def coordinates(self, start: int, stop: int, known: Array | None = None) -> Coordinates:
        """Labels of the frames from `start` up to `stop`."""
        times = self.frames.times[start:stop]
        time = self.arrays[0].coords.get(self.axes.time)
        return Coordinates(
            space=self.axes.space,
            variables=self.variables,
            channels=self.attributes,
            times=times,
            step=self.frames.step,
            time_attributes={} if time is None else kept_attributes(time.attrs),
            known=known,
        )

    def last(self, count: int) -> tuple[Array, Coordinates]:
        """The last frames, fewer where there are not so many, and their labels."""
        start = max(len(self) - count, 0)
        values = self.read(start, len(self))
        known = np.asarray(~np.isnan(values).all(axis=0))
        return values, self.coordinates(start, len(self), None if known.all() else known)

    def span(self) -> str:
        """First and last time, for people."""
        return f"{text_of(self.frames.times[0])} to {text_of(self.frames.times[-1])}"


def chosen_variables(dataset: Dataset, options: FieldOptions, origin: str) -> tuple[str, ...]:
    """Names of the variables to read: those asked for, or the only one that has frames.

    Errors:
        InputError: one is missing, or there is a choice.
    """
    there = [str(name) for name in dataset.data_vars]
    for name in options.variables:
        if name not in dataset.data_vars:
            raise InputError(f"{origin} has the variables {there}, and no {name!r}.")
    if options.variables:
        return tuple(options.variables)
    found = []
    for name in there:
        if dataset[name].dtype.kind not in "fiu":
            continue
        try:
            axes_of(dataset[name], time=options.time, y=options.y, x=options.x, origin=origin)
        except InputError:
            continue
        found.append(name)
    if len(found) == 1:
        return tuple(found)
    if not found and len(there) == 1:  # then its own error says what is wrong with it
        return (there[0],)
    raise InputError(
        f"{origin} has the variables {there}, of which {found or 'none'} could be fields in time. "
        "Name what to forecast: --data.variables NAME."
    )


def common_axes(arrays: Sequence[DataArray], options: FieldOptions, origin: str) -> Axes:
    """The dimensions that all variables share.

    Errors:
        InputError: they do not share them.
    """
    found = [axes_of(a, time=options.time, y=options.y, x=options.x, origin=origin) for a in arrays]
    sizes = [{name: a.sizes[name] for name in (x.time, *x.space)} for a, x in zip(arrays, found)]  # noqa: B905
    for array, axes, size in zip(arrays, found, sizes, strict=True):
        if (axes.time, axes.space) != (found[0].time, found[0].space) or size != sizes[0]:
            raise InputError(
                f"{origin}: all variables must lie on one grid, but {arrays[0].name} has "
                f"{sizes[0]} and {array.name} {size}. Name one with --data.variables."
            )
    return found[0]


def time_values(array: DataArray, name: str) -> Array:
    """Times of the frames: dates or numbers; where there is no coordinate, counted from 0."""
    coordinate = array.coords.get(name)
    if coordinate is None or coordinate.dtype.kind not in "MOfiu":
        return np.arange(array.sizes[name], dtype=np.float64)
    values = np.asarray(coordinate.values)
    if values.dtype.kind == "M":
        return values.astype("datetime64[ns]")
    return values if values.dtype.kind == "O" else values.astype(np.float64)


def as_float(values: Array, origin: str) -> Array:
    """Numbers as float32."""
    if values.dtype.kind not in "fiu":
        raise InputError(f"{origin} should hold numbers, got values of type {values.dtype}.")
    return values.astype(np.float32)


def mean_of_each(values: Array, starts: Array, stops: Array) -> Array:
    """Means of the known values of several runs of frames; NaN where there is none."""
    result = np.full((len(starts), *values.shape[1:]), np.nan, dtype=np.float32)
    for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        if stop - start == 1:
            result[index] = values[start]
        elif stop > start:
            part = values[start:stop]
            count = (~np.isnan(part)).sum(axis=0)
            total = np.nansum(part, axis=0, dtype=np.float64)
            result[index] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return result
