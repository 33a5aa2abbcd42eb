"""Time axes: steps between frames, in seconds or calendar months, of any calendar."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from statecast.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]
Unit = Literal["seconds", "months", "numbers"]

TOLERANCE = 1e-3  # of a step, by which times may miss an even axis: files round
DRIFT = 3.01  # days of the month over which the dates of monthly frames may lie
DAY = 86400.0  # seconds
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
MONTHS = {"m": 1, "y": 12}


class Step(NamedTuple):
    """Time between two frames.

    Months are those of the calendar; numbers are the unit of a time axis without dates.
    """

    size: float
    unit: Unit

    def __str__(self) -> str:
        if self.unit == "numbers":
            return f"{self.size:g}"
        if self.unit == "months":
            return "1 month" if self.size == 1 else f"{self.size:g} months"
        for name, seconds in (("day", DAY), ("hour", 3600.0), ("minute", 60.0)):
            if self.size >= seconds:
                count = self.size / seconds
                return f"1 {name}" if count == 1 else f"{count:.6g} {name}s"
        return f"{self.size:g} s"

    def matches(self, other: Step) -> bool:
        """Whether two steps are the same, but for rounding."""
        return self.unit == other.unit and math.isclose(self.size, other.size, rel_tol=0.01)


def parse_step(text: str) -> Step:
    """A step from text such as `1D`, `6h`, `30min`, `1M` (months), `1Y`, or a bare number.

    Errors:
        InputError: it is no such text.
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
        f"A time step is a number and one of s, min, h, D, W, M (months), Y, such as 6h; got "
        f"{text!r}."
    )


def numbers(times: Array) -> Array:
    """Times as float64: seconds since the first one, or the numbers that they are."""
    if times.dtype.kind == "M":
        elapsed: Array = (times - times[0]).astype("timedelta64[ns]").astype(np.float64) / 1e9
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
    """Days since the start of its month of each date."""
    if times.dtype.kind == "M":
        since: Array = times - times.astype("datetime64[M]").astype(times.dtype)
        return since.astype("timedelta64[ns]").astype(np.float64) / (DAY * 1e9)
    return np.array([t.day - 1 + (t.hour + t.minute / 60 + t.second / 3600) / 24 for t in times])


def step_of(times: Array) -> Step | None:
    """The step of an even time axis; None where it is uneven. A single frame counts as 1."""
    dated = times.dtype.kind in "MO"
    if len(times) < 2:
        return Step(1.0, "numbers") if not dated else Step(DAY, "seconds")
    gaps = np.diff(numbers(times))
    size = float(np.median(gaps))
    if np.abs(gaps - size).max() <= TOLERANCE * size:
        size = float(np.mean(gaps)) if not dated else size
        return Step(size, "seconds" if dated else "numbers")
    if dated:
        counts, days = np.diff(months(times)), month_days(times)
        if counts[0] > 0 and (counts == counts[0]).all() and np.ptp(days) <= DRIFT:
            return Step(float(counts[0]), "months")
    return None


def after(last: Any, step: Step, frames: float) -> Any:
    """The time so many frames after `last`, in its calendar.

    A frame of months keeps the day of the month, or the last one that there is; between two
    such frames time is linear.
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
        return last + np.timedelta64(round(seconds * 1e9), "ns")
    import datetime

    return last + datetime.timedelta(seconds=seconds)


def continued(last: Any, step: Step, frames: Sequence[float]) -> Array:
    """The times of several lead times, as an array of one type."""
    times = [after(last, step, number) for number in frames]
    if isinstance(last, np.datetime64):
        return np.array(times, dtype="datetime64[ns]")
    if step.unit == "numbers":
        return np.array(times, dtype=np.float64)
    result = np.empty(len(times), dtype=object)
    result[:] = times
    return result


def _months_after(date: Any, count: int) -> Any:
    if isinstance(date, np.datetime64):
        month = date.astype("datetime64[M]")
        target = month + np.timedelta64(count, "M")
        kept = date - month.astype("datetime64[ns]")
        length = (target + np.timedelta64(1, "M")).astype("datetime64[D]") - target.astype(
            "datetime64[D]"
        )
        days = min(int(kept / np.timedelta64(1, "D")), int(length / np.timedelta64(1, "D")) - 1)
        rest = kept - np.timedelta64(int(kept / np.timedelta64(1, "D")), "D")
        return target.astype("datetime64[ns]") + np.timedelta64(days, "D") + rest
    year, month = divmod(12 * date.year + date.month - 1 + count, 12)
    first = date.replace(year=year, month=month + 1, day=1)
    return first.replace(day=min(date.day, first.daysinmonth))


def phase(times: Array) -> Array:
    """Share of its year that has passed at each date, in [0, 1)."""
    if times.dtype.kind == "M":
        year = times.astype("datetime64[Y]")
        start, end = (y.astype("datetime64[ns]") for y in (year, year + np.timedelta64(1, "Y")))
        return (times.astype("datetime64[ns]") - start) / (end - start)
    starts = [t.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0) for t in times]
    return np.array(
        [
            (t - start).total_seconds() / (start.replace(year=t.year + 1) - start).total_seconds()
            for t, start in zip(times, starts, strict=True)
        ]
    )


def text_of(time: Any) -> str:
    """A time for people: the date, and the hour where there is one."""
    if isinstance(time, np.datetime64):
        return str(time.astype("datetime64[s]")).removesuffix("T00:00:00")
    if hasattr(time, "isoformat"):
        return str(time.isoformat()).removesuffix("T00:00:00")
    return f"{float(time):g}"
