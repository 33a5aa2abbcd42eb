"""Steps between frames, in seconds or calendar months, in any calendar."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from statecast.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]
Unit = Literal["seconds", "months", "numbers"]

TOLERANCE = 1e-3  # share of a step by which times may miss an even axis, since files round
LEAP_DAY = 1.01  # largest difference of the days of the month in yearly dates
DRIFT = 3.01  # largest difference of the days of the month in monthly dates
DAY = 86400.0  # seconds
YEAR = 365.2425 * DAY
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
MONTHS = {"m": 1, "y": 12}


class Step(NamedTuple):
    """Time between two frames.

    `months` are those of the calendar; `numbers` is the unit of a time axis without dates.
    """

    size: float
    unit: Unit

    def __str__(self) -> str:
        if self.unit == "numbers":
            return f"{self.size:g}"
        if self.unit == "months":
            count, name = (self.size / 12, "year") if self.size % 12 == 0 else (self.size, "month")
            return f"1 {name}" if count == 1 else f"{count:g} {name}s"
        for name, seconds in (("day", DAY), ("hour", 3600.0), ("minute", 60.0)):
            if self.size >= seconds:
                count = self.size / seconds
                return f"1 {name}" if count == 1 else f"{count:.6g} {name}s"
        return f"{self.size:g} s"

    def matches(self, other: Step) -> bool:
        """Whether two steps are the same, apart from rounding; 365 and 366 days are a year."""
        sizes = [
            YEAR * step.size / 12 if step.unit == "months" and step.size % 12 == 0 else step.size
            for step in (self, other)
        ]
        units = {self.unit, other.unit}
        same = len(units) == 1 or (units == {"months", "seconds"} and min(sizes) > YEAR / 2)
        return same and math.isclose(*sizes, rel_tol=0.01)

    @property
    def option(self) -> str:
        """The step as `parse_step` reads it."""
        if self.unit == "numbers":
            return f"{self.size:g}"
        if self.unit == "months":
            return f"{self.size:g}M"
        for name, seconds in (("D", DAY), ("h", 3600.0), ("min", 60.0)):
            if self.size % seconds == 0:
                return f"{self.size / seconds:g}{name}"
        return f"{self.size:g}s"

    def holds(self, other: Step) -> bool:
        """Whether several steps of the other kind fit into one, so that they can be averaged."""
        if self.unit == "months" and other.unit == "seconds":
            return other.size < 28 * DAY * self.size
        return self.unit == other.unit and self.size > other.size


def parse_step(text: str) -> Step:
    """A step from text such as `1D`, `6h`, `30min`, `1M` (months), `1Y`, or a bare number.

    Errors:
        InputError: the text is none of these.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)?\s*([A-Za-z]*)", text.strip())
    size = float(found[1] or 1) if found else 0.0
    name = found[2] if found else "?"
    if size > 0 and name == "" and text.strip():
        return Step(size, "numbers")
    if size > 0 and name in ("M", "Y", "MS", "ME", "YS", "YE"):
        return Step(size * MONTHS[name[0].lower()], "months")
    if size > 0 and name.lower() in SECONDS:
        return Step(size * SECONDS[name.lower()], "seconds")
    raise InputError(
        "A time step must be a number and one of s, min, h, D, W, M (months), Y, such as 6h, got "
        f"{text!r}."
    )


def numbers(times: Array) -> Array:
    """Times as float64: seconds since the first one, or the numbers that they are."""
    if times.dtype.kind == "M":
        elapsed: Array = (times - times[0]) / np.timedelta64(1, "us") / 1e6
        return elapsed
    if times.dtype.kind == "O":
        return np.array([(t - times[0]).total_seconds() for t in times])
    return times.astype(np.float64)


def months(times: Array) -> Array:
    """Calendar months since year 0 of each date."""
    if times.dtype.kind == "M":
        return times.astype("datetime64[M]").astype(np.int64) + 12 * 1970
    return np.array([12 * t.year + t.month - 1 for t in times], dtype=np.int64)


def month_days(times: Array) -> Array:
    """Days from the start of the month to each date."""
    if times.dtype.kind == "M":
        since: Array = (times - times.astype("datetime64[M]")) / np.timedelta64(1, "us")
        return since / (DAY * 1e6)
    return np.array([t.day - 1 + (t.hour + t.minute / 60 + t.second / 3600) / 24 for t in times])


def step_of(times: Array, resolution: float = 0.0) -> Step | None:
    """The step of an even time axis; None if it is uneven. A single frame has the step 1.

    Args:
        times: dates or numbers, increasing.
        resolution: error of stored times by rounding.
    """
    dated = times.dtype.kind in "MO"
    if len(times) < 2:
        return Step(1.0, "numbers") if not dated else Step(DAY, "seconds")
    calendar, drift = _calendar_step(times) if dated else (None, 0.0)
    # 30 days of a 360-day calendar are its month, and 365 or 366 days are a year.
    yearly = calendar is not None and calendar.size % 12 == 0 and drift <= LEAP_DAY
    if calendar is not None and (drift < 0.01 or yearly):
        return calendar
    elapsed, last = numbers(times) - numbers(times)[0], len(times) - 1
    size = float(elapsed[-1]) / last
    missed = np.abs(elapsed - size * np.arange(len(times))).max()
    if missed <= max(TOLERANCE * size, 2 * resolution):
        unit: Unit = "seconds" if dated else "numbers"
        return Step(whole_size(size, 2 * resolution / last) if dated else size, unit)
    return calendar


def fits(times: Array, step: Step, resolution: float = 0.0) -> bool:
    """Whether times are an even axis of this step, apart from rounding; arguments as `step_of`."""
    if len(times) < 2 or (step.unit == "numbers") == (times.dtype.kind in "MO"):
        return False
    if step.unit == "months":
        found, _ = _calendar_step(times)
        return found == step
    elapsed = numbers(times) - numbers(times)[0]
    missed = np.abs(elapsed - step.size * np.arange(len(times))).max()
    return bool(missed <= max(TOLERANCE * step.size, 2 * resolution))


def typical_step(times: Array) -> Step:
    """The most frequent step of an uneven axis."""
    gaps = np.diff(numbers(times))
    middle = float(np.median(gaps))
    usual = gaps[np.abs(gaps - middle) < middle / 2]
    size = float(usual.mean()) if len(usual) else middle
    if times.dtype.kind not in "MO":
        return Step(middle, "numbers")
    counts = np.diff(months(times))
    count = float(np.median(counts))
    if count >= 1 and counts.min() > 0 and np.ptp(month_days(times)) <= DRIFT:
        return Step(count, "months")
    return Step(whole_size(size, 0.02 * size / max(len(usual), 1)), "seconds")


def whole_size(size: float, doubt: float) -> float:
    """A step in seconds; one that is whole days, hours, … up to `doubt` becomes exact."""
    for unit in (DAY, 3600.0, 60.0, 1.0):
        whole = round(size / unit) * unit
        if whole > 0 and abs(whole - size) <= doubt + 1e-6 * size:
            return whole
    return size


def _calendar_step(times: Array) -> tuple[Step | None, float]:
    """Step in months, if months are even, and the largest difference of days of the month."""
    counts, drift = np.diff(months(times)), float(np.ptp(month_days(times)))
    if counts[0] > 0 and (counts == counts[0]).all() and drift <= DRIFT:
        return Step(float(counts[0]), "months"), drift
    return None, drift


def after(last: Any, step: Step, frames: float) -> Any:
    """The time a number of frames after `last`, in its calendar.

    Steps of months keep the day of the month, or take the last day if a month is shorter. Between
    two such frames, time is linear.
    """
    if step.unit == "numbers":
        return float(last) + step.size * frames
    if step.unit == "months":
        whole = math.floor(frames * step.size + 1e-9)
        early = _months_after(last, whole)
        share = frames * step.size - whole
        if share < 1e-6:
            return early
        late = _months_after(last, whole + 1)
        return early + (late - early) * share
    seconds = step.size * frames
    if isinstance(last, np.datetime64):
        return last.astype("datetime64[us]") + np.timedelta64(round(seconds * 1e6), "us")
    import datetime

    return last + datetime.timedelta(seconds=seconds)


def frame_number(time: Any, step: Step) -> float:
    """Frame intervals from the start of 1970, or from 0 for bare numbers, to a time."""
    if step.unit == "numbers":
        return float(time) / step.size
    if step.unit == "months":
        return int(months(np.array([time]))[0]) / step.size
    if isinstance(time, np.datetime64):
        return float((time - np.datetime64(0, "us")) / np.timedelta64(1, "us")) / 1e6 / step.size
    start = time.replace(year=1970, month=1, day=1, hour=0, minute=0, second=0, microsecond=0)
    return float((time - start).total_seconds()) / step.size


def continued(last: Any, step: Step, frames: Sequence[float]) -> Array:
    """The times of several lead times, as an array of one type."""
    times = [after(last, step, number) for number in frames]
    if isinstance(last, np.datetime64):
        return np.array(times, dtype="datetime64[us]")
    if step.unit == "numbers":
        return np.array(times, dtype=np.float64)
    result = np.empty(len(times), dtype=object)
    result[:] = times
    return result


def _months_after(date: Any, count: int) -> Any:
    if isinstance(date, np.datetime64):
        month = date.astype("datetime64[M]")
        target = month + np.timedelta64(count, "M")
        passed = date.astype("datetime64[us]") - month
        length = (target + 1).astype("datetime64[D]") - target.astype("datetime64[D]")
        spare = passed.astype("timedelta64[D]") - (length - 1)
        return target.astype("datetime64[us]") + passed - max(spare, np.timedelta64(0, "D"))
    year, month = divmod(12 * date.year + date.month - 1 + count, 12)
    first = date.replace(year=year, month=month + 1, day=1)
    return first.replace(day=min(date.day, first.daysinmonth))


def phase(times: Array) -> Array:
    """Share of the year that has passed at each date, in [0, 1)."""
    if times.dtype.kind == "M":
        year = times.astype("datetime64[Y]")
        start, end = (y.astype("datetime64[us]") for y in (year, year + 1))
        return (times.astype("datetime64[us]") - start) / (end - start)
    starts = [t.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0) for t in times]
    return np.array(
        [
            (t - start).total_seconds() / (start.replace(year=t.year + 1) - start).total_seconds()
            for t, start in zip(times, starts, strict=True)
        ]
    )


def day_phase(times: Array) -> Array:
    """Share of the day that has passed at each date, in [0, 1)."""
    if times.dtype.kind == "M":
        since: Array = (times - times.astype("datetime64[D]")) / np.timedelta64(1, "us")
        return since / (DAY * 1e6)
    return np.array([(t.hour * 3600 + t.minute * 60 + t.second) / DAY for t in times])


def missing_times(count: int, origin: str) -> InputError:
    """The error for frames whose times are missing."""
    return InputError(
        f"{origin}: the times of {count} frame(s) are missing. Leave these frames out, such as "
        "with xarray's dataset.sel(time=dataset.time.notnull())."
    )


def text_of(time: Any) -> str:
    """A time for people: the date, and the time of day unless it is midnight."""
    if isinstance(time, np.datetime64):
        return str(time.astype("datetime64[s]")).removesuffix("T00:00:00")
    if hasattr(time, "isoformat"):
        return str(time.isoformat()).removesuffix("T00:00:00")
    return f"{float(time):g}"
