"""Even time axes: uneven times are refused, filled, averaged, or accepted as even."""

from __future__ import annotations

import datetime
from typing import Any, Literal, NamedTuple

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.time_steps import (
    DAY,
    TOLERANCE,
    Step,
    continued,
    fits,
    missing_times,
    months,
    numbers,
    parse_step,
    step_of,
    text_of,
    typical_step,
)

Array = np.ndarray[Any, np.dtype[Any]]
Uneven = Literal["refuse", "fill", "accept"]
Duplicates = Literal["refuse", "first", "last", "mean"]

FILL_TOLERANCE = 0.1  # share of a step by which a frame may miss the even axis of `fill`
LARGEST_FILL = 20  # most frames for each stored one; with more, the step was probably wrong


class EvenAxis(NamedTuple):
    """An even time axis, and the stored frames that each of its frames is the mean of.

    Frame i is made of the stored frames from `starts[i]` up to `stops[i]`; there may be none.
    """

    times: Array
    starts: Array
    stops: Array
    step: Step


def check_order(times: Array, origin: str) -> None:
    """Raise `InputError` unless times are finite and increase.

    The error names the first that does not.
    """
    broken = np.isnat(times) if times.dtype.kind == "M" else np.zeros(len(times), dtype=bool)
    if times.dtype.kind == "f":
        broken = np.isnan(times)
    if broken.any():
        raise missing_times(int(broken.sum()), origin)
    gaps = np.diff(numbers(times))
    if (gaps > 0).all():
        return
    place = int(np.argmax(gaps <= 0))
    before, now = text_of(times[place]), text_of(times[place + 1])
    if gaps[place] == 0:
        raise InputError(
            f"{origin}: the time {now} occurs twice. Set --data.duplicates first, last or mean "
            "to take one frame of each time.",
            options={"duplicates": "first"},
        )
    raise InputError(
        f"{origin}: time must increase, but frame {place + 1}, {now}, comes after {before}. "
        "Set sort: true (--data.sort true) to put frames in order.",
        options={"sort": "true"},
    )


def even_frames(
    times: Array,
    *,
    uneven_times: Uneven,
    time_step: str | None,
    origin: str,
    resolution: float = 0.0,
    known_step: Step | None = None,
) -> EvenAxis:
    """An even time axis for increasing times.

    Args:
        times: times of the stored frames.
        uneven_times: `refuse` uneven times; `fill` gaps with unknown frames; or `accept` the
            times as if they were even.
        time_step: average frames over steps of this length instead, such as `1D` or `1M`.
        origin: named in errors.
        resolution: see `step_of`; times are moved to whole steps if it is coarse.
        known_step: step of the axis; None to find it from the times.

    Errors:
        InputError: the times are uneven, and cannot be made even as asked.
    """
    known = known_step is not None and fits(times, known_step, resolution)
    step = known_step if known else step_of(times, resolution)
    typical = step or known_step or typical_step(times)
    times = snapped(times, typical, resolution)
    if time_step is not None:
        return averaged(times, parse_step(time_step), origin)
    index = np.arange(len(times))
    if step is not None:
        return EvenAxis(times, index, index + 1, step)
    if uneven_times == "accept":
        return EvenAxis(times, index, index + 1, typical)
    if uneven_times == "fill":
        return filled(times, typical, origin)
    gaps = np.diff(numbers(times))
    place = int(np.argmax(np.abs(gaps - np.median(gaps))))
    raise InputError(
        f"{origin}: frames are uneven in time: mostly {typical} apart, but not from "
        f"{text_of(times[place])} to {text_of(times[place + 1])}{missing_between(times, typical)}. "
        "Set uneven_times: fill (--data.uneven_times fill) to take missing frames as unknown, "
        "--data.time_step (such as 1D) to average, or --data.uneven_times accept to count frames "
        "as if they were even.",
        options={"uneven_times": "fill"},
    )


def missing_between(times: Array, step: Step) -> str:
    """How many times of an axis of this step are missing, and the first of them, in words."""
    gaps = np.diff(months(times)) if step.unit == "months" else np.diff(numbers(times))
    wide = np.flatnonzero(gaps > 1.5 * step.size)
    if len(wide) == 0:
        return ""
    missing = int(np.rint(gaps[wide] / step.size - 1).sum())
    first = text_of(continued(times[wide[0]], step, [1.0])[0])
    return f" ({missing} missing, first {first})"


def snapped(times: Array, step: Step, resolution: float) -> Array:
    """Times moved to whole steps, if the type in which they are stored rounds them."""
    if step.unit != "seconds" or resolution <= TOLERANCE * step.size or len(times) < 2:
        return times
    elapsed = numbers(times)
    places = np.rint((elapsed - elapsed[0]) / step.size)
    shift = float(np.mean(elapsed - places * step.size))
    first = continued(times[0], Step(1.0, "seconds"), [shift])[0]
    for unit in (3600.0, 60.0, 1.0):
        midnight = floor(first, Step(DAY, "seconds"))
        passed = numbers(np.array([midnight, first], dtype=times.dtype))[1]
        whole = round(passed / unit) * unit
        if abs(whole - passed) <= 2 * resolution:
            first = continued(midnight, Step(1.0, "seconds"), [whole])[0]
            break
    return continued(first, step, places.tolist())


def filled(times: Array, step: Step, origin: str) -> EvenAxis:
    """The even axis through uneven times; missing frames are made of no stored frame."""
    if step.unit == "months":
        position = (months(times) - months(times[:1])[0]) / step.size
    else:
        position = (numbers(times) - numbers(times)[0]) / step.size
    place = np.rint(position).astype(np.int64)
    missed = np.abs(position - place)
    if missed.max() > FILL_TOLERANCE or (np.diff(place) < 1).any():
        worst = int(np.argmax(missed))
        raise InputError(
            f"{origin}: frames do not lie on an even axis of {step}: {text_of(times[worst])} is "
            f"{missed[worst]:.2g} of a step off. Average frames with --data.time_step."
        )
    count = int(place[-1]) + 1
    if count > LARGEST_FILL * len(times):
        raise InputError(
            f"{origin}: {count - len(times)} frames of {count} would be unknown. Average frames "
            "with --data.time_step instead."
        )
    starts = np.searchsorted(place, np.arange(count))
    stops = np.searchsorted(place, np.arange(count), side="right")
    even = continued(times[0], step, [float(i) for i in range(count)])
    return EvenAxis(even.astype(times.dtype), starts, stops, step)


def averaged(times: Array, step: Step, origin: str) -> EvenAxis:
    """Means over steps that begin at whole days, months, or multiples of a number."""
    dated = times.dtype.kind in "MO"
    if dated == (step.unit == "numbers"):
        kind = "dates: give a step such as 1D" if dated else "numbers: give a number"
        raise InputError(f"{origin}: the time axis is made of {kind}, got time_step {step}.")
    first = floor(times[0], step)
    if step.unit == "months":
        if step.size != round(step.size):
            raise InputError(f"{origin}: a time_step of months must be a whole number, got {step}.")
        bins = (months(times) - months(times[:1])[0]) // int(step.size)
    else:
        joined = np.concatenate([np.array([first], dtype=times.dtype), times])
        bins = np.floor(numbers(joined)[1:] / step.size + 1e-9).astype(np.int64)
        if not dated:
            bins = np.floor((times - first) / step.size + 1e-9).astype(np.int64)
    count = int(bins[-1]) + 1
    if count > LARGEST_FILL * len(times):
        raise InputError(
            f"{origin}: a time_step of {step} makes {count} frames of {len(times)}. Set a longer "
            "time_step."
        )
    starts = np.searchsorted(bins, np.arange(count))
    stops = np.searchsorted(bins, np.arange(count), side="right")
    even = continued(first, step, [float(i) for i in range(count)])
    return EvenAxis(even, starts, stops, step)


def floor(date: Any, step: Step) -> Any:
    """The start of the hour, day or month of a date, as the step needs."""
    if step.unit == "numbers":
        return step.size * np.floor(float(date) / step.size)
    if isinstance(date, np.datetime64):
        unit = "M" if step.unit == "months" else "D" if step.size >= DAY else "h"
        return date.astype(f"datetime64[{unit}]").astype("datetime64[us]")
    start = date.replace(minute=0, second=0, microsecond=0)
    if step.unit == "months":
        return start.replace(day=1, hour=0)
    return start - datetime.timedelta(hours=start.hour if step.size >= DAY else 0)
