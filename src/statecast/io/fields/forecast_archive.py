"""ForecastArchive: forecasts from many starts in a NetCDF file or Zarr store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.dates import as_dates
from statecast.io.fields.orientation import direction, same_grid
from statecast.io.fields.preprocessing import same_unit
from statecast.io.fields.readers import open_fields, reading
from statecast.io.fields.time_steps import SECONDS, TOLERANCE, Step, numbers

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

Array = np.ndarray[Any, np.dtype[Any]]

# Standard name of each dimension, and usual names for files without standard names.
START = ("forecast_reference_time", ("init_time", "init", "initialization_time", "time"))
LEAD = ("forecast_period", ("lead_time", "lead", "prediction_timedelta", "step"))
MEMBER = ("realization", ("realization", "member", "number", "ensemble", "sample"))
LEAD_UNITS = {
    **{f"{name}second": size for name, size in (("nano", 1e-9), ("micro", 1e-6), ("milli", 1e-3))},
    "second": 1.0, "minute": 60.0, "hour": 3600.0, "day": SECONDS["d"], "week": SECONDS["w"],
    "pentad": 5 * SECONDS["d"],
    **SECONDS,
}  # fmt: skip
CONTEXT = "context_frames"  # attribute that says how many frames a model observed
LEAD_MONTHS = {"month": 1, "season": 3, "year": 12}


class ForecastArchive:
    """Forecasts of fields on a grid, along starts, lead times and, possibly, samples.

    Dimensions are recognised by their standard names in the CF conventions
    (`forecast_reference_time`, `forecast_period`, `realization`), or by the names that hindcasts,
    climpred and WeatherBench use: `init_time`, `init`; `lead_time`, `lead`,
    `prediction_timedelta`; `realization`, `member`, `number`.

    Args:
        path: NetCDF file or Zarr store.

    Attributes:
        variables: names of the variables that hold forecasts.
        starts: date of each start, as stored.

    Errors:
        FileError, CorruptionError: it cannot be read.
        InputError: it holds no forecasts in this layout.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.dataset = open_fields(path)
        self.start, self.lead = self.found(START), self.found(LEAD)
        self.member = dimension_named(self.dataset, MEMBER)
        self.variables = tuple(
            str(name)
            for name, array in self.dataset.data_vars.items()
            if {self.start, self.lead} < set(array.dims) and array.dtype.kind in "fiu"
        )
        if not self.variables:
            raise InputError(
                f"{path} has no variable of numbers along {self.start}, {self.lead} and space; it "
                f"has {', '.join(map(str, self.dataset.data_vars)) or 'none'}."
            )
        if self.start not in self.dataset.coords:
            raise InputError(
                f"{path} has no dates for its starts. Give {self.start} a coordinate of dates."
            )
        starts = np.asarray(self.dataset[self.start].values)
        self.starts = as_dates(starts) if starts.dtype.kind in "MO" else starts.astype(np.float64)

    def found(self, dimension: tuple[str, tuple[str, ...]]) -> str:
        """Name of a dimension.

        Errors:
            InputError: the archive lacks it.
        """
        name = dimension_named(self.dataset, dimension)
        if name is None:
            raise InputError(
                f"{self.path} is not an archive of forecasts: none of its dimensions "
                f"({', '.join(map(str, self.dataset.dims))}) has the standard name {dimension[0]} "
                f"or one of the names {', '.join(dimension[1])}."
            )
        return name

    @property
    def samples(self) -> int:
        """Number of forecasts from each start."""
        return 1 if self.member is None else int(self.dataset.sizes[self.member])

    @property
    def context(self) -> int | None:
        """Number of frames that a hindcast's model observed; None for other archives."""
        found = self.dataset.attrs.get(CONTEXT)
        return None if found is None else int(found)

    def leads(self, step: Step) -> Array:
        """Lead times in frames that are `step` apart; numbers without a unit are frames.

        Errors:
            InputError: one is not a whole number of frames.
        """
        frames = self.lead_frames(step)
        whole = np.rint(frames)
        if (np.abs(frames - whole) > TOLERANCE * np.maximum(1, np.abs(frames))).any():
            first = frames[np.argmax(np.abs(frames - whole))]
            raise InputError(
                f"{self.path} has a lead time of {first:g} frames, because observations are {step} "
                "apart. Average observations over steps that divide the lead times, with "
                "--data.time_step, or keep only whole lead times."
            )
        return whole.astype(np.int64)

    def lead_frames(self, step: Step) -> Array:
        """Lead times in frames that are `step` apart, not necessarily whole."""
        if self.lead not in self.dataset.coords:
            return np.arange(1.0, self.dataset.sizes[self.lead] + 1)
        coordinate = self.dataset[self.lead]
        if coordinate.dtype.kind == "m":
            return in_frames(coordinate.values / np.timedelta64(1, "s"), "seconds", step, self.path)
        values = np.asarray(coordinate.values, dtype=np.float64)
        unit = str(coordinate.attrs.get("units", "")).strip()
        name = unit if unit in LEAD_UNITS else unit.lower().removesuffix("s")
        if name in LEAD_UNITS:
            return in_frames(values * LEAD_UNITS[name], "seconds", step, self.path)
        if name in LEAD_MONTHS:
            return in_frames(values * LEAD_MONTHS[name], "months", step, self.path)
        if unit not in ("", "1"):
            raise InputError(
                f"{self.path} has lead times in {unit!r}, which is not a unit of time."
            )
        return values

    def fitted(
        self, channels: tuple[str, ...], space: tuple[int, ...], labels: Coordinates
    ) -> list[DataArray]:
        """The variables of some channels on a grid, (start, sample, lead, *space), not read yet.

        Their dimensions of space may have other names, another order, and the opposite direction.

        Args:
            channels: names of the variables.
            space: points along each dimension of space.
            labels: coordinates of the grid, and attributes of the channels.

        Errors:
            InputError: a variable is missing, or has another unit or grid.
        """
        missing = [name for name in channels if name not in self.variables]
        if missing:
            raise InputError(
                f"{self.path} holds forecasts of {', '.join(self.variables)}, but not of "
                f"{', '.join(missing)}."
            )
        return [self.on_grid(name, space, labels) for name in channels]

    def on_grid(self, name: str, space: tuple[int, ...], labels: Coordinates) -> DataArray:
        """One variable on a grid; see `fitted`."""
        array = self.dataset[name]
        ours = str(labels.channels.get(name, {}).get("units", ""))
        theirs = str(array.attrs.get("units", ""))
        if ours and theirs and not same_unit(ours, theirs):
            raise InputError(
                f"{self.path} has {name} in {theirs!r}, and the observations are in {ours!r}. "
                "Convert one."
            )
        own = (self.start, self.lead, self.member)
        others = tuple(str(dim) for dim in array.dims if dim not in own)
        if set(labels.space) <= set(others):
            others = (*(dim for dim in others if dim not in labels.space), *labels.space)
        single = len(others) - len(space)
        sizes = tuple(array.sizes[dim] for dim in others[single:]) if single >= 0 else ()
        if sizes != space or any(array.sizes[dim] > 1 for dim in others[:single]):
            found = ", ".join(f"{dim} {array.sizes[dim]}" for dim in others)
            raise InputError(
                f"{self.path} has {name} on {found}, and the observations lie on "
                f"{', '.join(f'{d} {n}' for d, n in zip(labels.space, space, strict=True))}. Read "
                "the observations with --data.crop or --data.coarsen, or regrid one."
            )
        array = array.isel(dict.fromkeys(others[:single], 0))
        for dim, known in zip(others[single:], labels.space, strict=True):
            if known in labels.variables and dim in array.coords:
                array = self.turned(array, dim, labels.variables[known].values)
        member = () if self.member is None or self.member not in array.dims else (self.member,)
        return array.transpose(self.start, *member, self.lead, *others[single:])

    def turned(self, array: DataArray, dim: str, expected: Array) -> DataArray:
        """An array in the direction of the expected coordinate, which it must have."""
        values = np.asarray(array[dim].values)
        if direction(values) * direction(expected) < 0:
            array, values = array.isel({dim: slice(None, None, -1)}), values[::-1]
        if not same_grid(expected, values):
            raise InputError(
                f"{self.path} has {dim} from {values[0]} to {values[-1]}, and the observations "
                f"have it from {expected[0]} to {expected[-1]}. Crop or regrid one."
            )
        return array

    def read(self, arrays: list[DataArray], place: int) -> Array:
        """Forecasts from one start, (sample, lead, channel, *space), float32; NaN is unknown."""
        with reading(str(self.path)):
            found = [np.asarray(array[place].values, dtype=np.float32) for array in arrays]
        several = [
            values if self.member in array.dims else np.broadcast_to(values, (1, *values.shape))
            for array, values in zip(arrays, found, strict=True)
        ]
        return np.stack(np.broadcast_arrays(*several), axis=2)


def dimension_named(dataset: Dataset, dimension: tuple[str, tuple[str, ...]]) -> str | None:
    """Name of the dimension with a standard name, or else with the first of some usual names."""
    standard, names = dimension
    dims = [str(dim) for dim in dataset.dims]
    for dim in dims:
        if dim in dataset.coords and dataset[dim].attrs.get("standard_name") == standard:
            return dim
    return next((name for name in names if name in dims), None)


def in_frames(values: Array, unit: str, step: Step, path: Path) -> Array:
    """Spans of seconds or months in frames.

    Errors:
        InputError: the step between frames has another unit.
    """
    if step.unit != unit:
        raise InputError(
            f"{path} has lead times in {unit}, and the observations have frames {step} apart. "
            "Number leads by frames: 1, 2, …, without units."
        )
    return values / step.size


def places_of(wanted: Array, times: Array, origin: str) -> Array:
    """Places of dates among increasing times; −1 where a date is not among them.

    Errors:
        InputError: dates and times are of different calendars.
    """
    if wanted.dtype.kind != times.dtype.kind or calendar(wanted) != calendar(times):
        raise InputError(
            f"{origin}: starts are {kind(wanted)}, and the observations have {kind(times)}. "
            "Convert one."
        )
    if not len(wanted):
        return np.zeros(0, dtype=np.int64)
    along = numbers(times)
    spacing = float(np.diff(along).min()) if len(along) > 1 else 1.0
    found = numbers(np.concatenate([times[:1], wanted]))[1:]
    places = np.searchsorted(along, found - TOLERANCE * spacing)
    near = np.minimum(places, len(along) - 1)
    return np.where(np.abs(along[near] - found) <= TOLERANCE * spacing, near, -1)


def calendar(times: Array) -> str:
    """Calendar of dates of `cftime`; empty for other times."""
    return str(times[0].calendar) if times.dtype.kind == "O" and len(times) else ""


def kind(times: Array) -> str:
    """Kind of times, for people."""
    names = {"M": "dates", "O": f"dates of the calendar {calendar(times)}"}
    return names.get(times.dtype.kind, "numbers without dates")
