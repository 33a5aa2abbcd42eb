"""Dates as files hold them: CF units, months and years, digits, or text; decoded to one type.

Dates become `datetime64[us]`, which also reaches beyond 2262, or `cftime` for other calendars.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.axes import NAMES, role_of
from statecast.io.fields.time_steps import Step, continued, missing_times
from statecast.io.fields.unknown import FILLS
from statecast.io.fields.written_dates import (
    CALENDARS,
    DATE_PARTS,
    dates_in_parts,
    digit_dates,
    text_dates,
    with_clock,
)

if TYPE_CHECKING:
    from xarray import Dataset, Variable

Array = np.ndarray[Any, np.dtype[Any]]

SINCE = re.compile(r"\s*(month|year|yr)s?\s+since\s+(.+)", re.IGNORECASE)
FROM_NAMES = "from the names of files"  # comment of such times
EPOCH = (1e8, 4.2e9)  # seconds since 1970 from 1973 to 2103
PARTS = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
DATENUM = 719529  # MATLAB's number of the day 1970-01-01
EPOCH_DAYS = "days since 1970-01-01"
DATENUMS = (693962, 767011)  # from 1900 to 2100
FIRST_NAMES = ("valid_time", "time")  # preferred among several coordinates of dates
SECOND_BEST = ("reference", "init", "bound", "bnds")  # parts of names that come last


def with_dates(dataset: Dataset, time_units: str | None, origin: str) -> Dataset:
    """A data set in which dimensions of time have their dates as coordinates.

    Args:
        dataset: as xarray reads it, with its dates decoded or not.
        time_units: units of times, which override those of the file.
        origin: named in errors.

    Errors:
        InputError: the units or the text of the only times cannot be understood.
    """
    for dim in map(str, dataset.dims):
        if role(dataset, dim) in ("x", "y", "z"):
            continue
        others = {
            str(name)
            for array in dataset.variables.values()
            if dim in array.dims and array.ndim > 1
            for name in array.dims
            if name != dim
        }
        told = role(dataset, dim) == "time"
        if not told and any(role(dataset, name) == "time" for name in others):
            continue  # dates along stations are not their time
        found = dates_along(dataset, dim, time_units if told else None, origin)
        if found is not None:
            name, dates = found
            attributes = {k: v for k, v in dataset[name].attrs.items() if k not in UNITS_KEYS}
            coordinate = type(dataset.variables[name])((dim,), dates, attributes)
            coordinate.encoding = dict(dataset[name].encoding)
            if told and time_units is not None:
                coordinate.encoding["units"] = time_units
            dataset = dataset.drop_vars(dim, errors="ignore").assign_coords({dim: coordinate})
            dataset[dim].attrs.setdefault("standard_name", "time")
    return dataset


UNITS_KEYS = ("units", "calendar", "stagger", "FieldType", "MemoryOrder", "_FillValue")


def role(dataset: Dataset, dim: str) -> str | None:
    """Role of a dimension, by its coordinate or name; see `statecast.io.fields.axes.role_of`."""
    return role_of(dim, dataset.coords.get(dim))


def dates_along(
    dataset: Dataset, dim: str, time_units: str | None, origin: str
) -> tuple[str, Array] | None:
    """Name and values of the dates along a dimension; its own coordinate comes first."""
    along = {str(n): v for n, v in dataset.variables.items() if v.dims == (dim,)}
    unread = ""
    for name in sorted(along, key=lambda name: (name != dim, *preference(dataset, name))):
        variable = along[name]
        named = name == dim or NAMES.get(name.lower()) == "time"
        held = variable.dtype.kind in "fiuMO" or name == dim
        if time_units is not None and named and held:
            numbers = as_numbers(variable, name, origin)
            attributes = {
                "calendar": calendar_of(variable.attrs | variable.encoding),
                "units": time_units,
            }
            changed = type(variable)((dim,), numbers, attributes)
            return name, decoded(changed, name, origin)
        if variable.dtype.kind == "M" or is_cftime(variable):
            return name, as_dates(variable.values)
        if variable.dtype.kind in "SUO":
            dates = text_dates(variable.values, str(variable.attrs.get("calendar", "")))
            if dates is not None:
                return name, dates
            if named and not unread:
                unread = f"{name} holds text such as {first_text(variable)!r}, "
        elif variable.dtype.kind in "fiu" and named:
            kept = str(variable.attrs.get("calendar", ""))
            dates = dates_in_parts(along, kept) if name.lower() in DATE_PARTS else None
            if dates is None and (dates := digit_dates(variable, name)) is not None:
                dates = with_clock(dates, along)
            if dates is not None:
                return name, dates
            units = str(variable.attrs.get("units", ""))
            if "%" in units or re.search(r"since|\d{4}", units, re.IGNORECASE):
                decoded(variable, name, origin)  # raises an error that says what is wrong
    if unread:
        raise InputError(
            f"{origin}: {unread}which is not a date. Write dates like 2001-12-31T06:00:00, or as "
            "numbers with units such as 'hours since 2001-01-01'."
        )
    return None


def as_numbers(variable: Variable, name: str, origin: str) -> Array:
    """The numbers of a variable, or the numbers that stand for its dates.

    Errors:
        InputError: its dates are not stored as numbers.
    """
    if variable.dtype.kind in "fiu":
        return variable.values
    import cftime

    units, calendar = str(variable.encoding.get("units", "")), calendar_of(variable.encoding)
    try:
        dates = as_dates(variable.values).tolist()
        return np.asarray(cftime.date2num(dates, units, calendar or "standard"))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{origin}: {name} holds dates, and time_units are for numbers. Leave time_units out."
        ) from error


def preference(dataset: Dataset, name: str) -> tuple[int, int]:
    """Sort key for coordinates of dates: the likely time of frames comes first."""
    low, attrs = name.lower(), dataset.variables[name].attrs
    standard = str(attrs.get("standard_name", ""))
    second = any(part in low + standard for part in SECOND_BEST)
    first = low in FIRST_NAMES or standard == "time" or attrs.get("axis") == "T"
    return int(second), int(not first)


def scalar_time(dataset: Dataset) -> tuple[str, Any, Mapping[str, Any]] | None:
    """Name, value and attributes of the scalar time of a data set; None if it has another time."""
    if any(role(dataset, str(dim)) == "time" for dim in dataset.dims):
        return None
    found = [
        str(name)
        for name, variable in dataset.variables.items()
        if variable.ndim == 0
        and (
            variable.dtype.kind == "M"
            or is_cftime(variable)
            or variable.attrs.get("comment") == FROM_NAMES
        )
    ]
    if not found:
        return None
    name = min(found, key=lambda name: preference(dataset, name))
    return name, as_dates(dataset[name].values[None])[0], dataset[name].attrs


def decoded(variable: Variable, name: str, origin: str) -> Array:
    """Decode numbers with CF units to dates; months and years are those of the calendar.

    Errors:
        InputError: the units cannot be understood.
    """
    from xarray import Variable
    from xarray.conventions import decode_cf_variable

    units, calendar = str(variable.attrs.get("units", "")), calendar_of(variable.attrs)
    attributes = {"units": units, "calendar": calendar}
    if variable.dtype.kind == "f":  # records that were never written have the default fill value
        written = np.abs(variable.values) < FILLS["f4"] * (1 - 1e-6)
        variable = Variable(variable.dims, np.where(written, variable.values, np.nan), attributes)
    spans = SINCE.fullmatch(units)
    if units.lower() == "datenum":
        changed = Variable(variable.dims, variable.values - DATENUM, {"units": EPOCH_DAYS})
        return decoded(changed, name, origin)
    weeks = re.fullmatch(r"\s*weeks?\s+since\s+(.+)", units, re.IGNORECASE)
    if weeks is not None:
        attributes["units"] = f"days since {weeks[1]}"
        changed = Variable(variable.dims, 7 * variable.values, attributes)
        return decoded(changed, name, origin)
    attributes["units"] = re.sub(r"\s+since\s+", " since ", units, flags=re.IGNORECASE)
    try:
        if spans is None or (calendar == "360_day" and spans[1].lower() == "month"):
            changed = Variable(variable.dims, variable.values, attributes)
            dates = as_dates(decode_cf_variable(name, changed, decode_timedelta=False).values)
            if dates.dtype.kind not in "MO":
                raise ValueError("not such as 'days since 2001-01-01'")
            unknown = int(np.isnan(variable.values).sum()) if dates.dtype.kind == "O" else 0
            if unknown:  # cftime would decode them as the date in the units
                raise missing_times(unknown, origin)
            return dates
        start = Variable((), 0, {**attributes, "units": f"days since {spans[2]}"})
        first = as_dates(decode_cf_variable(name, start, decode_timedelta=False).values[None])[0]
        step = Step(1.0 if spans[1].lower() == "month" else 12.0, "months")
        values = np.round(variable.values.astype(np.float64), 9)
        return continued(first, step, values.tolist())
    except (ValueError, OverflowError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(
            f"{origin}: {name} has the units {units!r} in the calendar {calendar!r}, which cannot "
            f"be read as dates ({reason}). Convert them (`cdo -r copy IN.nc OUT.nc`), or state the "
            "units: --data.time_units 'days since 1900-01-01'."
        ) from error


def calendar_of(attributes: Mapping[Any, Any]) -> str:
    """Calendar as CF calls it."""
    name = str(attributes.get("calendar", "")).lower().strip()
    return CALENDARS.get(name, name)


def as_dates(values: Array) -> Array:
    """Dates as `datetime64[us]`, rounded, or as the `cftime` dates that they are."""
    if values.dtype.kind != "M":
        return values
    if values.dtype == np.dtype("datetime64[ns]"):
        values = values + np.timedelta64(500, "ns")
    return values.astype("datetime64[us]")


def is_cftime(variable: Any) -> bool:
    """Whether a variable holds dates of `cftime`."""
    if variable.dtype.kind != "O" or variable.size == 0:
        return False
    return hasattr(
        np.asarray(variable.isel(dict.fromkeys(variable.dims, 0)).values)[()], "calendar"
    )


def first_text(variable: Variable) -> str:
    """The first value of a variable of text."""
    value = variable.values.flat[0] if variable.size else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def probable_units(values: Array) -> str | None:
    """Likely units of times that are numbers: since 1970, or MATLAB's datenum; None if unlikely."""
    if values.dtype.kind not in "fiu" or len(values) == 0:
        return None
    low, high = float(values.min()), float(values.max())
    for unit, parts in PARTS.items():
        if EPOCH[0] * parts < low and high < EPOCH[1] * parts:
            return f"{unit} since 1970-01-01"
    return "datenum" if DATENUMS[0] < low and high < DATENUMS[1] else None


def resolution(coordinate: Any) -> float:
    """Rounding error of stored times at the largest of them, in seconds, or as numbers.

    Single precision rounds times: hours, stored as days since 1900, become inexact by minutes.
    """
    encoding = coordinate.encoding
    stored = np.dtype(encoding.get("dtype", coordinate.dtype))
    if stored.kind != "f" or stored.itemsize > 4 or coordinate.size == 0:
        return 0.0
    values = np.asarray(coordinate.values)
    if values.dtype.kind == "f":
        return float(np.spacing(np.abs(values).max().astype(stored))) / 2
    import cftime

    units = str(encoding.get("units", "")).lower()
    found = re.match(r"\s*([a-z]+?)s?\s+since", units)
    seconds = {"day": 86400.0, "d": 86400.0, "hour": 3600.0, "hr": 3600.0, "h": 3600.0,
               "minute": 60.0, "min": 60.0, "second": 1.0, "sec": 1.0, "s": 1.0}  # fmt: skip
    if found is None or found[1] not in seconds:
        return 0.0
    ends = as_dates(values[[0, -1]]).tolist()
    calendar = getattr(ends[0], "calendar", "standard")
    largest = np.abs(cftime.date2num(ends, units, calendar)).max()
    return float(np.spacing(np.asarray(largest, dtype=stored))) / 2 * seconds[found[1]]
