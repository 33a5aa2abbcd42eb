"""Files of labelled fields as sequences of frames: each by itself, or joined in time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.field import Field, FieldOptions
from statecast.io.fields.preprocessing import GRID_TOLERANCE, same_unit
from statecast.io.fields.readers import check_chunks, open_fields
from statecast.io.fields.time_steps import Step, numbers, step_of

Array = np.ndarray[Any, np.dtype[Any]]
Joining = Literal["auto", "sequences", "time"]

BLOCK = 1 << 22  # values read at once when all frames are gone through


class FieldFiles:
    """Sequences of frames (time, channel, *space) in files, read lazily.

    Args:
        paths: the files, or Zarr stores.
        options: how each of them is read.
        joining: `sequences` takes each file for itself, such as a zone of the ocean; `time` joins
            files that go on from one another; `auto` joins them where they do.
        engine: of xarray.

    Errors:
        InputError: files of different grids or variables; the file is named.
        FileError, CorruptionError: a file is missing or damaged.
    """

    def __init__(
        self, paths: Sequence[Path], options: FieldOptions, *, joining: Joining, engine: str | None
    ) -> None:
        self.paths, self.options, self.engine = list(paths), options, engine
        self.process = os.getpid()
        self.opened = self.open()
        for path, field in zip(self.paths[1:], self.opened[1:], strict=True):
            check_same(self.opened[0], field, path)
        self.one_place = all(same_place(self.opened[0], field) for field in self.opened)
        self.sequences = self.join(joining)
        self.times = [self.times_of(numbers) for numbers in self.sequences]
        first = self.opened[0].frames.step
        if len(self.sequences) < len(self.paths):  # joined
            self.step: Step = step_of(self.times[0]) or first
        else:
            self.step = first
            self.check_steps()

    def open(self) -> list[Field]:
        """Every file, opened."""
        fields = []
        for path in self.paths:
            dataset = open_fields(path, engine=self.engine)
            field = Field(dataset, self.options, str(path))
            if path.is_dir() and self.options.missing_frames == "refuse":
                check_chunks(path, dataset, field.channels, field.axes.time)
            fields.append(field)
        return fields

    @property
    def fields(self) -> list[Field]:
        """Every file, opened by this process: handles are not shared with a loader's workers."""
        if self.process != os.getpid():
            # The parent's stay referred to: closing them here would close them under its feet.
            self.inherited = self.opened
            self.process, self.opened = os.getpid(), self.open()
        return self.opened

    def join(self, joining: Joining) -> list[list[int]]:
        """Numbers of the files that make up each sequence, in order of time."""
        alone = [[number] for number in range(len(self.paths))]
        if joining == "sequences" or len(alone) == 1:
            return alone
        starts = [field.frames.times[0] for field in self.opened]
        order = sorted(range(len(starts)), key=lambda number: starts[number])
        times = np.concatenate([self.opened[number].frames.times for number in order])
        increasing = bool((np.diff(numbers(times)) > 0).all())
        if self.one_place and increasing and step_of(times) is not None:
            return [order]
        if joining == "time":
            raise InputError(
                "The files cannot be joined in time: "
                + ("their times overlap or leave gaps." if self.one_place else "places differ.")
                + " Set joining: sequences to take each for itself."
            )
        return alone

    def check_steps(self) -> None:
        """Raise `InputError` unless all files have the same time between frames."""
        for number, (path, field) in enumerate(zip(self.paths, self.opened, strict=True)):
            if number and len(field) > 1 and not field.frames.step.matches(self.step):
                raise InputError(
                    f"{path} has frames {field.frames.step} apart, {self.paths[0]} {self.step}. "
                    "Set time_step to average both."
                )

    def times_of(self, numbers: list[int]) -> Array:
        """Times of the frames of some files, one after another."""
        return np.concatenate([self.opened[number].frames.times for number in numbers])

    @property
    def lengths(self) -> list[int]:
        """Frames of each sequence."""
        return [len(times) for times in self.times]

    def read(self, sequence: int, start: int, stop: int) -> Array:
        """Frames of a sequence from `start` up to `stop`, float32; unknown values are NaN."""
        pieces, first = [], 0
        for number in self.sequences[sequence]:
            field = self.fields[number]
            low, high = max(start - first, 0), min(stop - first, len(field))
            if low < high:
                pieces.append(field.read(low, high))
            first += len(field)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def coordinates(self, sequence: int, start: int, stop: int) -> Coordinates:
        """Labels of the frames of a sequence from `start` up to `stop`."""
        labels = self.fields[self.sequences[sequence][0]].coordinates(0, 1)
        return replace(labels, times=self.times[sequence][start:stop], step=self.step)

    def blocks(self, sequence: int, start: int, stop: int) -> Iterator[tuple[Array, Array]]:
        """Times and frames of a sequence in blocks that fit into memory."""
        field = self.opened[0]
        values = len(field.channels) * int(np.prod(field.space)) * field.options.coarsen**2
        size = max(1, BLOCK // values)
        for first in range(start, stop, size):
            last = min(first + size, stop)
            yield self.times[sequence][first:last], self.read(sequence, first, last)


def check_same(first: Field, other: Field, path: Path) -> None:
    """Raise `InputError` naming a file whose variables or grid are not those of the first."""
    if other.space != first.space or other.channels != first.channels:
        raise InputError(
            f"{path} has {other.channels} on {other.space} points, {first.origin} has "
            f"{first.channels} on {first.space}. All files need one grid: crop or regrid them."
        )
    for ours, theirs in zip(first.units, other.units, strict=True):
        if not same_unit(ours, theirs):
            raise InputError(f"{path} has the unit {theirs!r}, {first.origin} has {ours!r}.")


def same_place(first: Field, other: Field) -> bool:
    """Whether two fields have the same coordinates along space."""
    for name in first.axes.space:
        if (name in first.variables) != (name in other.variables):
            return False
        if name not in first.variables:
            continue
        left, right = first.variables[name].values, other.variables[name].values
        if left.dtype.kind not in "fiu" or right.dtype.kind not in "fiu":
            if not np.array_equal(left, right):
                return False
            continue
        spacing = float(np.abs(np.diff(left)).min()) if len(left) > 1 else 1.0
        if np.abs(left - right).max() > GRID_TOLERANCE * spacing:
            return False
    return True
