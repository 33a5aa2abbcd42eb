"""NetCDF files and Zarr stores: variables, dimensions, time step, units, missing values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.field import Field, FieldOptions
from statecast.io.fields.readers import open_fields
from statecast.io.fields.time_steps import text_of
from statecast.reports.inspection.contact_sheet import COLUMNS, ROWS, evenly, rows_of
from statecast.reports.inspection.findings import SAMPLE, Finding, one_line

Array = np.ndarray[Any, np.dtype[Any]]

SHOWN = 20  # variables that are described


def inspect_fields(path: Path) -> Finding:
    """A NetCDF file or Zarr store.

    Errors:
        FileError, CorruptionError: it cannot be read.
        MissingExtraError: xarray is not installed.
    """
    dataset = open_fields(path)
    finding = Finding("A Zarr store" if path.is_dir() else "A NetCDF file")
    finding.say("dimensions", ", ".join(f"{n} {size}" for n, size in dataset.sizes.items()))
    fields: dict[str, Field] = {}
    names = [str(name) for name in dataset.data_vars]
    for name in names[:SHOWN]:
        array = dataset[name]
        unit = array.attrs.get("units", "no unit")
        finding.say(name, f"{array.dtype} ({', '.join(map(str, array.dims))}), {unit}")
        if array.ndim < 2:
            continue
        try:
            fields[name] = Field(dataset, FieldOptions(variables=(name,)), str(path))
        except InputError as error:
            finding.warn(f"{name}: {error}")
    if len(names) > SHOWN:
        finding.say("and", f"{len(names) - SHOWN} more")
    if fields:
        read(finding, path, fields)
    elif not finding.problems:
        finding.warn("no variable has frames: a dimension of time, and one or two of space")
    return finding


def read(finding: Finding, path: Path, fields: dict[str, Field]) -> None:
    """Say how the variables with frames would be read."""
    first = next(iter(fields.values()))
    axes = first.axes
    order = ", by their order alone" if axes.by_order else ""
    finding.say("time is", f"{axes.time}, space is {', '.join(axes.space)}{order}")
    times = first.frames.times
    span = f"from {text_of(times[0])} to {text_of(times[-1])}" if len(times) else ""
    finding.say("frames", f"{len(first)}, {first.frames.step} apart, {span}")
    for name, field in fields.items():
        finding.say(f"{one_line(name)} values", values_of(field))
    finding.say("would be read", "by the data set fields")
    words = ["train", "fields", "--data.path", str(path)]
    finding.suggest("Train", [*words, "--data.variables", next(iter(fields))])
    finding.preview = lambda: rows_of(
        [some(field, COLUMNS) for field in list(fields.values())[:ROWS]]
    )


def some(field: Field, count: int) -> Array:
    """Evenly spaced frames of a field, (time, 1, *space); unknown values are NaN."""
    chosen = evenly(len(field), count)
    axis = field.axes.time
    numbers = [int(field.frames.starts[number]) for number in chosen]
    numbers = [min(number, field.arrays[0].sizes[axis] - 1) for number in numbers]
    values = np.asarray(field.arrays[0].isel({axis: numbers}).values, dtype=np.float64)
    return values[:, None]


def values_of(field: Field) -> str:
    """Range and share of missing values of a field, of as many frames as fit a sample."""
    points = max(1, int(np.prod(field.space)))
    count = max(1, min(len(field), SAMPLE // points))
    values = some(field, count)
    known = values[np.isfinite(values)]
    span = f"from {known.min():.6g} to {known.max():.6g}" if known.size else "no known value"
    share = 1 - known.size / values.size
    missing = f", {share:.2%} missing" if share else ", none missing"
    return span + missing + ("" if count == len(field) else f", of {count} frames evenly spread")
