"""Files of labelled fields as sequences of frames: one per file, or joined in time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.field import Field, check_calendars
from statecast.io.fields.orientation import GRID_TOLERANCE, turned
from statecast.io.fields.preprocessing import same_unit
from statecast.io.fields.readers import check_chunks
from statecast.io.fields.series import open_series
from statecast.io.fields.source import FieldOptions, Source, check_dimensions
from statecast.io.fields.time_steps import Step, numbers, text_of, typical_step

Array = np.ndarray[Any, np.dtype[Any]]
Joining = Literal["auto", "sequences", "time"]

LOOKED_AT = 4  # sequences that are searched for undeclared missing values
MONTH = 30.4375 * 86400  # seconds
BLOCK = 1 << 21  # values read at once when all frames are gone through


class FieldFiles:
    """Sequences of frames (time, channel, *space) in files, read lazily.

    Args:
        paths: the files, or Zarr stores.
        options: how each of them is read.
        joining: `sequences` makes each file a sequence, such as a zone of the ocean; `time` joins
            files that follow one another in time; `auto` joins them if they do.
        engine: of xarray.

    Errors:
        InputError: files have different grids or variables; the file is named.
        FileError, CorruptionError: a file is missing or damaged.
    """

    def __init__(
        self, paths: Sequence[Path], options: FieldOptions, *, joining: Joining, engine: str | None
    ) -> None:
        self.paths, self.options, self.engine = list(paths), options, engine
        self.process = os.getpid()
        sources = self.open()
        first = sources[0]
        for source in sources[1:]:
            check_same(first, source)
        check_calendars(sources)
        check_dimensions(first.source, (options.sequences, options.channels), first.origin)
        self.one_place = all(same_place(first, source) for source in sources)
        self.sequences = self.join(joining, sources)
        self.opened = self.fields_of(sources)
        self.times = [field.frames.times for field in self.opened]
        self.step: Step = self.opened[0].frames.step
        self.check_steps()
        for field in self.opened[: len(self.opened) : first.members][:LOOKED_AT]:
            field.check_missing()

    def open(self) -> list[Source]:
        """Every file, opened."""
        sources: list[Source] = []
        datasets = open_series(self.paths, self.options, engine=self.engine)
        for path, (name, dataset) in zip(self.paths, datasets.items(), strict=True):
            grid = sources[0].grid if sources else {}
            source = Source(turned(dataset, grid), self.options, name)
            if path.is_dir() and self.options.missing_frames == "refuse" and source.scalar is None:
                names, time = source.variables, source.axes.time
                check_chunks(path, dataset, names, time, self.options.group)
            sources.append(source)
        return sources

    def fields_of(self, sources: Sequence[Source]) -> list[Field]:
        """The sequences: the members of each series of files."""
        series = [
            Field([sources[number] for number in numbers], self.options)
            for numbers in self.sequences
        ]
        return [field.of_member(m) for field in series for m in range(field.first.members)]

    @property
    def fields(self) -> list[Field]:
        """Every sequence, opened by this process: a loader's workers share no handles."""
        if self.process != os.getpid():
            # Keep the parent's fields alive: to close them here would close the parent's files.
            self.inherited = self.opened
            self.process, self.opened = os.getpid(), self.fields_of(self.open())
        return self.opened

    def join(self, joining: Joining, sources: Sequence[Source]) -> list[list[int]]:
        """Numbers of the files that make up each sequence."""
        alone = [[number] for number in range(len(sources))]
        if joining == "sequences" or len(alone) == 1:
            return alone
        whole = [list(range(len(sources)))]
        if joining == "time":
            if not self.one_place:
                raise InputError(
                    "The files cannot be joined in time, because their coordinates differ. Set "
                    "joining: sequences (--data.joining sequences) to make each file a sequence."
                )
            return whole
        return whole if self.one_place and follow(sources) else alone

    def check_steps(self) -> None:
        """Raise `InputError` unless all sequences have the same time between frames."""
        for field in self.opened[1:]:
            if len(field) > 1 and not field.frames.step.matches(self.step):
                raise InputError(
                    f"{field.origin} has frames {field.frames.step} apart, and "
                    f"{self.opened[0].origin} has frames {self.step} apart. Average both over "
                    "longer steps, such as with --data.time_step 1M."
                )

    @property
    def lengths(self) -> list[int]:
        """Frames of each sequence."""
        return [len(times) for times in self.times]

    @property
    def span(self) -> str:
        """First and last time of all sequences, for people."""
        first, last = min(t[0] for t in self.times), max(t[-1] for t in self.times)
        return f"{text_of(first)} to {text_of(last)}"

    def read(self, sequence: int, start: int, stop: int) -> Array:
        """Frames of a sequence from `start` up to `stop`, float32; unknown values are NaN."""
        return self.fields[sequence].read(start, stop)

    def coordinates(self, sequence: int, start: int, stop: int) -> Coordinates:
        """Labels of the frames of a sequence from `start` up to `stop`."""
        labels = self.fields[sequence].coordinates(0, 1)
        return replace(labels, times=self.times[sequence][start:stop], step=self.step)

    def blocks(self, sequence: int, start: int, stop: int) -> Iterator[tuple[Array, Array]]:
        """Times and frames of a sequence in blocks that fit into memory."""
        field = self.opened[0]
        values = len(field.channels) * int(np.prod(field.space)) * field.options.coarsen**2
        size = max(1, BLOCK // values)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            yield self.times[sequence][first:last], self.read(sequence, first, last)


def follow(sources: Sequence[Source]) -> bool:
    """Whether files follow one another in time, and lack at most as many frames as they hold."""
    times = [source.times for source in sorted(sources, key=lambda source: source.times[0])]
    whole = np.concatenate(times)
    gaps = np.diff(numbers(whole))
    between = gaps[np.cumsum([len(part) for part in times])[:-1] - 1]
    if (between < 0).any() or (whole.dtype.kind not in "MO" and (gaps <= 0).any()):
        return False
    step = typical_step(whole)
    size = step.size * (MONTH if step.unit == "months" else 1.0)
    return bool((between / size - 1).sum() <= len(whole))


def check_same(first: Source, other: Source) -> None:
    """Raise `InputError` naming a file whose variables or grid are not those of the first."""
    if set(other.variables) != set(first.variables):
        raise InputError(
            f"{other.origin} holds {', '.join(other.variables)}, {first.origin} holds "
            f"{', '.join(first.variables)}. Name files of the same variables, such as with a "
            "pattern, or merge the files: `cdo merge IN1.nc IN2.nc OUT.nc`."
        )
    if other.space != first.space or other.channels != first.channels:
        raise InputError(
            f"{other.origin} has {other.channels} on {other.space} points, {first.origin} has "
            f"{first.channels} on {first.space}. All files need one grid: crop or regrid them."
        )
    for ours, theirs in zip(first.units, other.units, strict=True):
        if not same_unit(ours, theirs):
            raise InputError(
                f"{other.origin} has the unit {theirs!r}, {first.origin} has {ours!r}. Convert one."
            )


def same_place(first: Source, other: Source) -> bool:
    """Whether two data sets have the same coordinates along space."""
    for name in first.axes.space:
        if (name in first.coordinates) != (name in other.coordinates):
            return False
        if name not in first.coordinates:
            continue
        left, right = first.coordinates[name].values, other.coordinates[name].values
        if left.dtype.kind not in "fiu" or right.dtype.kind not in "fiu":
            if not np.array_equal(left, right):
                return False
            continue
        spacing = float(np.abs(np.diff(left)).min()) if len(left) > 1 else 1.0
        if np.abs(left - right).max() > GRID_TOLERANCE * spacing:
            return False
    return True
