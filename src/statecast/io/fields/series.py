"""The files of a series, opened, and dated by their names if they hold no dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.dates import FROM_NAMES, role, scalar_time, with_dates
from statecast.io.fields.file_dates import dates_in_names, numbers_in_names
from statecast.io.fields.readers import open_fields, reading
from statecast.io.fields.source import EXPVER, FieldOptions, candidates
from statecast.io.fields.time_steps import text_of
from statecast.io.paths import shown_path

if TYPE_CHECKING:
    from xarray import DataArray, Dataset

SPACE = ("y", "x", "z")


def open_series(
    paths: Sequence[Path], options: FieldOptions, *, engine: str | None = None
) -> dict[str, Dataset]:
    """The data sets of files and stores, by the names that messages show.

    If each holds one frame, without a time or all with the same time, dates come from their names.

    Args:
        paths: the files and stores.
        options: how they are read.
        engine: of xarray.

    Errors:
        InputError: neither the files nor their names have dates.
        As `open_fields`.
    """
    group = options.group
    found = {shown_path(path): open_fields(path, engine=engine, group=group) for path in paths}
    return found if options.time_units is not None else dated_by_names(found, options)


def dated_by_names(datasets: Mapping[str, Dataset], options: FieldOptions) -> dict[str, Dataset]:
    """Data sets with dates, or numbers, from their names, unless they have times that differ.

    Errors:
        InputError: there are several data sets, and their names have no dates or numbers.
    """
    times: list[str] = []
    for name, dataset in datasets.items():
        time = only_time(dataset, options, name)
        if time is None or (times and time != times[0]):
            return dict(datasets)
        times.append(time)
    names = [PurePath(name).name for name in datasets]
    told = dates_in_names(names) if len(names) > 1 or not times[0] else None
    if told is None and len(names) > 1:
        told = numbers_in_names(names)
    if told is not None:
        pairs = zip(datasets.items(), told, strict=True)
        return {name: dated(dataset, date) for (name, dataset), date in pairs}
    if len(names) > 1:
        have = f"the same time, {times[0]}" if times[0] else "no time"
        raise InputError(
            f"{len(names)} files hold one frame each and {have}, and their names, such as "
            f"{names[0]} and {names[-1]}, do not give each one a date or number. Name them by "
            "dates, such as sst_20150103.nc, or by numbers, such as run_007.nc, or give each a "
            "time with units."
        )
    return dict(datasets)


def only_time(dataset: Dataset, options: FieldOptions, origin: str) -> str | None:
    """The time of a data set as text, empty if it has none; None if it has several frames."""
    names = options.variables or candidates(dataset)
    arrays = [dataset[name] for name in names if name in dataset.variables]
    if not any(is_one_frame(dataset, array, options) for array in arrays):
        return None
    with reading(origin):
        try:
            dataset = with_dates(dataset, None, origin)
        except InputError:  # reported when frames are read
            return None
        times = [dataset[dim].values for dim in map(str, dataset.dims) if is_time(dataset, dim)]
        alone = scalar_time(dataset)
    if any(values.size > 1 for values in times):
        return None
    known = [v[0] for v in times if v.size and v.dtype.kind in "MOfiu"]
    if not times and alone is not None:
        known = [alone[1]]
    return text_of(known[0]) if known else ""


def is_one_frame(dataset: Dataset, array: DataArray, options: FieldOptions) -> bool:
    """Whether a variable has only the dimensions of one frame: space, levels, members."""
    taken = (options.sequences, options.channels, EXPVER)
    wide = [str(dim) for dim in array.dims if array.sizes[dim] > 1 and dim not in taken]
    roles = [role(dataset, dim) for dim in wide]
    if options.time in wide or "time" in roles:
        return False
    told = all(found in SPACE for found in roles)
    return told and 1 <= sum(found != "z" for found in roles) <= 2


def is_time(dataset: Dataset, dim: str) -> bool:
    """Whether a dimension is one of time, and has a coordinate."""
    return dim in dataset.coords and role(dataset, dim) == "time"


def dated(dataset: Dataset, date: Any) -> Dataset:
    """A data set of one frame, with the date or number from its file's name as time."""
    from xarray import Variable

    dims = [str(dim) for dim in dataset.dims if role(dataset, str(dim)) == "time"]
    attributes = {"standard_name": "time", "comment": FROM_NAMES}
    values = np.array([date])
    made = {dim: Variable((dim,), values, attributes) for dim in dims}
    made = made or {"time": Variable((), values[0], attributes)}
    return dataset.drop_vars(list(made), errors="ignore").assign_coords(made)
