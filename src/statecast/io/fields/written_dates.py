"""Dates written as text, such as 2001-12-31_06:00, or as digits, such as 20011231."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from xarray import Variable

Array = np.ndarray[Any, np.dtype[Any]]

# Names of calendars in files that are not in the CF conventions 1.11, section 4.4.1.
CALENDARS = {
    "360": "360_day", "365": "noleap", "366": "all_leap", "no_leap": "noleap",
    "thirty_day_months": "360_day", "gregorian_proleptic": "proleptic_gregorian",
    "gregorian_noleap": "noleap", "none": "standard", "": "standard",
}  # fmt: skip
ISO = re.compile(r"\d{4}[-/]\d{2}([-/]\d{2}([T _]\d{2}(:?\d{2}(:?\d{2}(\.\d*)?)?)?)?)?")
ZONE = re.compile(r"\s*(Z|UTC|GMT|\+00:?00)$")
DIGITS = (4, 6, 7, 8, 10, 12, 14)  # of dates written as one number, 7 with the day of the year
DIGIT_UNITS = re.compile(r"(day|month|year|hour)?s?\s*(as)?\s*%?y+%?m*%?d*(%?h*)(\.%f)?", re.I)
DATE_PARTS = {
    **dict.fromkeys(["year", "years", "yr", "yyyy"], "year"),
    **dict.fromkeys(["month", "months", "mon", "mm"], "month"),
    **dict.fromkeys(["day", "days", "dd", "day_of_month"], "day"),
    **dict.fromkeys(["hour", "hours", "hr", "hh"], "hour"),
    **dict.fromkeys(["minute", "minutes", "min", "mn"], "minute"),
    **dict.fromkeys(["second", "seconds", "sec", "ss"], "second"),
}  # names of variables that hold a part of dates
CLOCKS = {
    **dict.fromkeys(["hour", "hours", "hr", "hh"], 3600.0),
    **dict.fromkeys(["datesec", "sec", "secs", "seconds", "second"], 1.0),
}  # seconds of the unit of variables that hold the time of day, by their names
DAYS = {4: 365.25, 6: 30.4375, 10: 1 / 24, 12: 1 / 1440, 14: 1 / 86400}  # by number of digits


def text_dates(values: Array, calendar: str) -> Array | None:
    """Dates written in text, such as 2001-12-31_06:00:00; None for any other text."""
    texts = []
    for value in values.tolist():
        text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
        text = ZONE.sub("", text.strip(" \0"))
        if not ISO.fullmatch(text):
            if not (text.isdigit() and len(text) in (8, 10, 12, 14)):
                return None
            text = spelled(text)
        texts.append(text.replace("/", "-").replace("_", "T").replace(" ", "T"))
    return parsed(texts, CALENDARS.get(calendar, calendar))


def parsed(texts: list[str], calendar: str = "") -> Array | None:
    """ISO texts as dates; None where one is not a date of the calendar."""
    try:
        if calendar in ("", "standard", "gregorian", "proleptic_gregorian"):
            return np.array(texts, dtype="datetime64[us]")
        import cftime

        dates = np.empty(len(texts), dtype=object)
        for index, text in enumerate(texts):
            numbers = [int(part) for part in re.split(r"[-T:]", text.split(".")[0])]
            dates[index] = cftime.datetime(*numbers, calendar=calendar)
        return dates
    except ValueError:
        return None


def spelled(digits: str) -> str:
    """`2001123106` as 2001-12-31T06; `2001365`, with the day of the year, as 2001-12-31."""
    if len(digits) == 7:
        day = np.datetime64(digits[:4], "D") + np.timedelta64(int(digits[4:]) - 1, "D")
        return str(day) if str(day)[:4] == digits[:4] else digits
    date = "-".join(part for part in (digits[:4], digits[4:6], digits[6:8]) if part)
    clock = ":".join(digits[place : place + 2] for place in range(8, len(digits), 2))
    return f"{date}T{clock}" if clock else date


def dates_in_parts(variables: Mapping[str, Variable], calendar: str) -> Array | None:
    """Dates whose year, month, day and so on are separate variables.

    Args:
        variables: variables along time, by name.
        calendar: of the dates.

    Returns:
        Dates; None if there is no year or no month, or if a part is out of its range.
    """
    known: dict[str, Array] = {}
    for name, variable in variables.items():
        part = DATE_PARTS.get(name.lower())
        if part is not None and variable.dtype.kind in "fiu":
            known.setdefault(part, variable.values.astype(np.float64))
    if not {"year", "month"} <= known.keys():
        return None
    numbers = np.stack([known.get(part, np.full_like(known["year"], least)) for part, least in
                        (("year", 1), ("month", 1), ("day", 1), ("hour", 0), ("minute", 0),
                         ("second", 0))], axis=1)  # fmt: skip
    if not np.isfinite(numbers).all() or (numbers != np.rint(numbers)).any():
        return None
    texts = ["{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*row) for row in numbers.astype(int)]
    return parsed(texts, CALENDARS.get(calendar, calendar))


def with_clock(dates: Array, variables: Mapping[str, Variable]) -> Array:
    """Days with the time of day added that another variable holds, in hours or seconds."""
    for name, variable in variables.items():
        seconds = CLOCKS.get(name.lower())
        if seconds is None or variable.dtype.kind not in "fiu" or dates.dtype.kind != "M":
            continue
        passed = variable.values.astype(np.float64) * seconds
        within_a_day = (passed >= 0).all() and (passed <= 86400).all()
        if within_a_day and (dates == dates.astype("datetime64[D]")).all():
            return dates + np.rint(passed).astype("timedelta64[s]")
    return dates


def digit_dates(variable: Variable, name: str) -> Array | None:
    """Dates written as numbers: 2001, 200112, 20011231, 2001365, also with a time or a fraction.

    None if the units are of another kind, or if some number is not a date.
    """
    units = str(variable.attrs.get("units", "")).strip()
    stated = bool(units) and DIGIT_UNITS.fullmatch(units) is not None
    if units not in ("", "1") and not stated:
        return None
    values = variable.values.astype(np.float64)
    if values.size == 0 or not np.isfinite(values).all() or values.min() < 1000:
        return None
    whole = np.floor(values)
    widths = {len(str(int(number))) for number in (whole.min(), whole.max())}
    width = widths.pop()
    yearly = "year" in (name.lower().removesuffix("s"), units.lower().removesuffix("s"))
    if widths or width not in DIGITS or (width == 4 and not (yearly or stated)):
        return None
    if not stated and width != 8 and (values != whole).any():
        return None
    dates = parsed([spelled(str(int(number))) for number in whole])
    if dates is None or not (values != whole).any():
        return dates
    rest = np.rint((values - whole) * DAYS.get(width, 1.0) * 86400).astype("timedelta64[s]")
    return dates + rest
