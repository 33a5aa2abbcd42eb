"""Field: labelled data sets as one even series of frames, read slice by slice."""

from __future__ import annotations

import copy
import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.coordinates import Coordinates, Variable
from statecast.io.fields.source import FieldOptions, Source
from statecast.io.fields.time_axis import check_order, even_frames
from statecast.io.fields.time_steps import Step, numbers, text_of
from statecast.io.fields.unknown import USUAL, smallest_of, suspects
from statecast.io.fields.written_dates import spelled

if TYPE_CHECKING:
    import pandas

Array = np.ndarray[Any, np.dtype[Any]]

LOOKED_AT = 1 << 21  # values; in a larger series, only some frames are searched for missing values
FRAMES = 12  # number of these frames


class Field:
    """Frames (time, channel, *space) of data sets that follow one another in time.

    Args:
        sources: data sets of one grid and the same variables, in any order.
        options: how to make one even series of them.
        known_step: time between frames, if it is known.
        last: read at most this number of the last stored frames, so that earlier gaps do not
            matter; None for all.

    Attributes:
        frames: the even time axis.
        member: number of the sequence to read, if the data set has several.

    Errors:
        InputError: times do not fit.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        options: FieldOptions,
        *,
        known_step: Step | None = None,
        last: int | None = None,
    ) -> None:
        check_calendars(sources)
        self.sources = sorted(sources, key=lambda source: source.times[0])
        self.options, self.first, self.member = options, self.sources[0], 0
        self.origin = (
            self.first.origin if len(sources) == 1 else f"The series of {len(sources)} files"
        )
        times = np.concatenate([source.times for source in self.sources])
        self.source_of = np.repeat(np.arange(len(sources)), [len(s) for s in self.sources])
        self.frame_of = np.concatenate([np.arange(len(source)) for source in self.sources])
        times = self.take(times, within(times, self.time_range(), self.origin))
        if options.sort:
            times = self.take(times, np.argsort(numbers(times), kind="stable"))
        if last is not None and options.time_step is None:
            times = self.take(times, np.arange(max(len(times) - last, 0), len(times)))
        runs = equal_runs(times)
        if options.duplicates != "refuse" and len(runs) < len(times):
            if options.duplicates == "mean":
                times = times[runs]
            else:
                ends = np.append(runs[1:], len(times)) - 1
                times = self.take(times, runs if options.duplicates == "first" else ends)
                runs = np.arange(len(times))
        check_order(times, self.origin)
        self.frames = even_frames(
            times, uneven_times=options.uneven_times, time_step=options.time_step,
            origin=self.origin,
            resolution=max(source.resolution for source in self.sources), known_step=known_step,
        )  # fmt: skip
        stored = np.append(runs, len(self.source_of))
        self.starts, self.stops = stored[self.frames.starts], stored[self.frames.stops]
        self.check_averages()

    def take(self, times: Array, chosen: Array) -> Array:
        """Keep some of the stored frames, in this order, and return their times."""
        self.source_of, self.frame_of = self.source_of[chosen], self.frame_of[chosen]
        return times[chosen]

    def time_range(self) -> tuple[Any, Any] | None:
        """Range of dates to keep; None for all."""
        for name in (self.axes.time, "time"):
            if name in self.options.crop and self.first.times.dtype.kind in "MO":
                return self.options.crop[name]
        return None

    def check_averages(self) -> None:
        """Raise `InputError` if averages over time steps leave frames without any stored frame."""
        empty = np.flatnonzero(self.starts == self.stops)
        if (
            self.options.time_step is None
            or self.options.missing_frames == "keep"
            or len(empty) == 0
        ):
            return
        raise InputError(
            f"{self.origin}: with time_step {self.options.time_step}, {len(empty)} of {len(self)} "
            f"frames would average no stored frame, first {text_of(self.frames.times[empty[0]])}. "
            "Set a longer time_step, or missing_frames: keep (--data.missing_frames keep) to take "
            "them as unknown.",
            options={"missing_frames": "keep"},
        )

    def __len__(self) -> int:
        """Number of frames of the even time axis."""
        return len(self.frames.times)

    axes = property(lambda self: self.first.axes)
    channels = property(lambda self: self.first.channels)
    space = property(lambda self: self.first.space)
    units = property(lambda self: self.first.units)

    @property
    def variables(self) -> dict[str, Variable]:
        """Coordinates along space."""
        return self.first.coordinates

    @property
    def notes(self) -> list[str]:
        """Remarks for the user on how the series is read."""
        found = list(self.first.notes)
        unknown = int((self.starts == self.stops).sum())
        if unknown:
            found.append(f"{unknown} frame(s) between others are missing, and taken as unknown")
        doubt = max(source.resolution for source in self.sources)
        if self.frames.step.unit == "seconds" and doubt > 1e-3 * self.frames.step.size:
            found.append(f"stored times are rounded by up to {doubt:.3g} s; moved to whole steps")
        return found

    def of_member(self, member: int) -> Field:
        """The same series for another sequence of the data set."""
        other = copy.copy(self)
        other.member = member
        return other

    def stored(self, low: int, high: int) -> Array:
        """Stored frames in order of time, (time, channel, *space)."""
        cuts = np.flatnonzero(np.diff(self.source_of[low:high])) + low + 1
        pieces = []
        for start, stop in zip([low, *cuts], [*cuts, high], strict=True):
            frames: Any = self.frame_of[start:stop]
            if (np.diff(frames) == 1).all():
                frames = slice(int(frames[0]), int(frames[-1]) + 1)
            pieces.append(self.sources[self.source_of[start]].read(frames, self.member))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def read(self, start: int, stop: int) -> Array:
        """Frames from `start` up to `stop` as float32 (time, channel, *space); unknown is NaN.

        Errors:
            CorruptionError: the file is damaged.
            InputError: there are infinite values, or frames without a known value, unless
                `missing_frames` is `keep`.
        """
        first, last = self.starts[start:stop], self.stops[start:stop]
        low, high = int(first.min()), int(last.max())
        if low == high:  # all of these frames are missing between two stored ones
            shape = (stop - start, len(self.channels), *self.space)
            return np.full(shape, np.nan, dtype=np.float32)
        values = self.stored(low, high)
        self.check(values, low)
        if (last - first == 1).all() and (first == np.arange(low, high)).all():
            return values
        return mean_of_each(values, first - low, last - low)

    def check(self, values: Array, start: int) -> None:
        """Raise `InputError` for infinite values, and for frames that are wholly unknown."""
        self.check_infinite(values, start)
        if self.options.missing_frames == "keep":
            return
        empty = np.asarray(np.isnan(values).reshape(*values.shape[:2], -1).all(axis=2))
        if empty.any():
            frame, channel = (int(i[0]) for i in empty.nonzero())
            raise InputError(
                f"{self.origin} has no known value of {self.channels[channel]} in "
                f"{int(empty.any(axis=1).sum())} frame(s), first in frame {start + frame}. Set "
                "missing_frames: keep (--data.missing_frames keep) to take such frames as unknown.",
                options={"missing_frames": "keep"},
            )

    def check_infinite(self, values: Array, start: int) -> None:
        """Raise `InputError` for infinite values, such as radar decibels without an echo."""
        infinite = np.isinf(values)
        if not infinite.any():
            return
        place = int(np.argmax(infinite.reshape(len(values), -1).any(axis=1)))
        signs = np.unique(values[infinite])
        option = missing_option((*(self.options.missing or ()), *signs.tolist()))
        raise InputError(
            f"{self.origin} holds infinite values, first in frame {start + place}. Set missing: "
            f"{option} (--data.missing {shlex.quote(option)}) to take them as unknown.",
            options={"missing": option},
        )

    def check_missing(self) -> None:
        """Raise `InputError` if a value probably marks missing data and `missing` is not set.

        All frames of a small series are searched, or some of a large one, evenly spread.
        """
        if self.options.missing is not None or len(self.source_of) == 0:
            return
        values = self.looked_at()
        self.check_infinite(values, 0)
        for number, name in enumerate(self.channels):
            array = self.first.arrays[number * len(self.first.arrays) // len(self.channels)]
            found = suspects(values[:, number], (*USUAL, *smallest_of(array)))
            if found:
                marked = np.isin(values[:, number], np.array(found, dtype=np.float32))
                share = float(marked.reshape(len(marked), -1).mean(axis=1).max())
                shown = ", ".join(f"{value:g}" for value in found)
                option = missing_option(found)
                raise InputError(
                    f"{self.origin} has {name} of {shown} at {share:.0%} of the points of a frame, "
                    "far from all other values, as if it marked missing data. Set missing: "
                    f"{option} (--data.missing {shlex.quote(option)}) to take it as unknown, or "
                    "--data.missing [] if it is a value.",
                    options={"missing": option},
                )

    def looked_at(self) -> Array:
        """Stored frames (time, channel, *space): all, or `FRAMES` evenly spread ones."""
        count = len(self.source_of)
        size = len(self.channels) * int(np.prod(self.space)) * self.options.coarsen**2
        if count * size <= LOOKED_AT:
            return self.stored(0, count)
        places = np.unique(np.linspace(0, count - 1, FRAMES).astype(int)).tolist()
        return np.concatenate([self.stored(place, place + 1) for place in places])

    def coordinates(self, start: int, stop: int, known: Array | None = None) -> Coordinates:
        """Labels of the frames from `start` up to `stop`."""
        return Coordinates(
            space=self.axes.space,
            variables=self.variables,
            channels=self.first.attributes,
            times=self.frames.times[start:stop],
            step=self.frames.step,
            time_attributes=self.first.time_attributes,
            known=known,
        )

    def span(self) -> str:
        """First and last time as text."""
        return f"{text_of(self.frames.times[0])} to {text_of(self.frames.times[-1])}"


def missing_option(values: Sequence[float]) -> str:
    """Values as the option `missing` takes them on a command line."""
    texts = [f"{value:g}".replace("inf", ".inf") for value in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def check_calendars(sources: Sequence[Source]) -> None:
    """Raise `InputError` unless all data sets have dates of one calendar, or no dates."""
    for source in sources[1:]:
        ours, theirs = sources[0].calendar, source.calendar
        if ours != theirs:
            raise InputError(
                f"{source.origin} has dates of the calendar {theirs}, but {sources[0].origin} of "
                f"the calendar {ours}. Convert one, such as with xarray's convert_calendar."
            )


def within(times: Array, limits: tuple[Any, Any] | None, origin: str) -> Array:
    """Numbers of the dates in a range, both ends included; the end 2001 means all of that year.

    Errors:
        InputError: an end is not a date, or no date lies in the range.
    """
    if limits is None:
        return np.arange(len(times))
    index = index_of(times)
    order = np.argsort(index, kind="stable")
    low, high = map(date_text, limits)
    try:
        kept = order[index[order].slice_indexer(low, high)]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            "A crop of time must be a range of dates such as [2001-01-01, 2001-12-31], got "
            f"[{low}, {high}]."
        ) from error
    if len(kept) == 0:
        raise InputError(
            f"{origin} has times from {text_of(index[order][0])} to {text_of(index[order][-1])}: "
            f"nothing lies in [{low}, {high}]."
        )
    return np.sort(kept)


def date_text(end: float | str) -> str:
    """One end of a range of dates, such as 2001, 200102, 20010203 or 2001-2-3, as ISO text."""
    text = f"{end:.0f}" if isinstance(end, int | float) else str(end).strip()
    text = spelled(text) if text.isdigit() else text
    found = re.fullmatch(r"(\d{4})-(\d{1,2})(?:-(\d{1,2}))?(\D.*)?", text)
    if found is None:
        return text
    return "-".join([found[1], *(part.zfill(2) for part in found.group(2, 3) if part)]) + (
        found[4] or ""
    )


def index_of(times: Array) -> pandas.Index:
    """Dates as an index that accepts parts of dates, such as a year."""
    import pandas
    from xarray import CFTimeIndex

    make: Any = CFTimeIndex if times.dtype.kind == "O" else pandas.DatetimeIndex
    return make(times)


def equal_runs(times: Array) -> Array:
    """Indices of the frames whose time differs from that of the frame before."""
    return np.flatnonzero(np.diff(numbers(times), prepend=-np.inf) != 0)


def mean_of_each(values: Array, starts: Array, stops: Array) -> Array:
    """Means of the known values of several runs of frames; NaN where all are unknown."""
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
