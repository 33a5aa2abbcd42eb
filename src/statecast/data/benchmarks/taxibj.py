"""TaxiBJ: taxis that enter and leave the cells of a grid over Beijing."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from statecast.data.base import Split
from statecast.data.benchmarks.prepared_source import Count, Origin, PreparedSource
from statecast.data.benchmarks.stored_windows import StoredWindows, every_start
from statecast.data.cache.frame_store import Kind, StoreWriter
from statecast.data.progress import progress
from statecast.errors import FileError, InputError
from statecast.io.hdf5 import opened

Array = np.ndarray[Any, np.dtype[Any]]

YEARS = (13, 14, 15, 16)
SLOTS = 48  # half hours of a day
SHAPE = (2, 32, 32)  # of a frame
VALIDATION_SHARE = 0.05  # of the windows before the tests, the last ones; not published
DATE_FORMAT, DATE_LENGTH = "%Y%m%d", 10  # then two digits of the slot, from 1


class Day(NamedTuple):
    """A day whose slots are complete."""

    date: datetime.date
    first: int  # its first frame in the file


class TaxiBJ(PreparedSource):
    """Inflow and outflow of taxis in 32×32 cells every 30 minutes, in four seasons of four years.

    Days that lack one of their 48 slots are left out, and windows lie within consecutive days.
    Flows are scaled by their smallest and largest value before the tests; later flows may exceed
    them. The last windows are for tests, the twentieth before them for validation.

    Data: Zhang et al. (2017), https://arxiv.org/abs/1610.00081; use as Donà et al. (2021),
    https://arxiv.org/abs/2008.01352.

    Args:
        path: folder of the prepared store; by default in the cache.
        context: frames observed.
        horizon: frames forecast in training.
        validation_horizon: frames forecast in validation; by default as in training.
        test_horizon: frames forecast in tests.
        test_windows: number of test windows, the last ones; 1344 are 4 weeks.
        protocol: `corrected` runs forward in time, and no frame is in two splits; `paper` runs
            backward, so that the past is forecast from the future, and the last training windows
            share frames with the first test windows.
    """

    kind = Kind("taxibj", 1, SHAPE, "<f4")
    channels = ("inflow", "outflow")
    origin = Origin(
        title="TaxiBJ",
        source="https://github.com/lucktroy/DeepST/tree/master/data/TaxiBJ",
        licence="given for research by its makers, who ask to be cited; not ours to pass on",
        files="BJ13_M32x32_T30_InOut.h5 and so on to BJ16",
        reference="Zhang et al. (2017), https://arxiv.org/abs/1610.00081",
    )

    def __init__(
        self,
        *,
        path: str | None = None,
        context: int = 4,
        horizon: int = 4,
        validation_horizon: int | None = None,
        test_horizon: int = 4,
        test_windows: int = 1344,
        protocol: Literal["corrected", "paper"] = "corrected",
    ) -> None:
        super().__init__(
            path=path, context=context, horizon=horizon,
            validation_horizon=validation_horizon, test_horizon=test_horizon,
        )  # fmt: skip
        self.test_windows, self.protocol = test_windows, protocol
        if test_windows < 1:
            raise InputError(f"taxibj needs at least 1 test window, got {test_windows}.")

    def windows(self, split: Split) -> StoredWindows:
        return StoredWindows(
            self.store,
            self.parts[split],
            context=self.context,
            length=self.context + self.horizons[split],
            channels=self.channels,
            scale=self.scale,
            backwards=self.protocol == "paper",
        )

    @cached_property
    def parts(self) -> dict[str, Array]:
        """Sequence and first frame of each window of each split, in order of time."""
        paper = self.protocol == "paper"
        lengths = {split: self.context + horizon for split, horizon in self.horizons.items()}
        everyone = range(len(self.store.sequences))
        # As published, a window needs a frame after it, which is not part of it.
        starts = {
            split: every_start(self.store.sequences, list(everyone), length + paper, of=split)
            for split, length in lengths.items()
        }
        tests = starts["test"][-self.test_windows :]
        before = {
            split: ordered_before(starts[split], tests[0], 0 if paper else lengths[split])
            for split in ("train", "validation")
        }
        held_out = max(1, round(VALIDATION_SHARE * len(before["validation"])))
        validation = before["validation"][-held_out:]
        train = before["train"]
        if len(validation):
            train = ordered_before(train, validation[0], lengths["train"])
        if len(tests) < self.test_windows or len(train) == 0:
            raise InputError(
                f"{len(starts['test'])} windows are too few for {self.test_windows} test windows "
                "and those of training and validation. Lower test_windows."
            )
        return {"train": train, "validation": validation, "test": tests}

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Flows that become 0 and 1: the extremes of the frames before the tests."""
        sequence, first = self.parts["test"][0]
        stop = self.store.sequences[sequence].first + int(first)
        if self.protocol == "paper":
            stop = len(self.store.frames) - self.test_windows
        known = self.store.frames[:stop]
        low, high = float(known.min()), float(known.max())
        if low == high:
            raise InputError(
                "All flows before the tests are equal, so they cannot be scaled. Check the files."
            )
        return low, high

    @property
    def card(self) -> dict[str, Any]:
        return super().card | {"protocol": self.protocol, "test_windows": self.test_windows}

    @classmethod
    def write(cls, source: Path, writer: StoreWriter) -> list[Count]:
        names = [f"BJ{year}_M32x32_T30_InOut.h5" for year in YEARS]
        found = {name: sorted(source.rglob(name)) for name in names}
        missing = [name for name, paths in found.items() if not paths]
        if missing:
            raise FileError(f"{source} lacks {', '.join(missing)}: expected {cls.origin.files}.")
        days = slots = 0
        for name in progress(names, "preparing taxibj"):
            flows, dates = read_flows(found[name][0])
            whole = complete_days(dates)
            if not whole:
                raise InputError(f"{found[name][0]} holds no day with all {SLOTS} slots.")
            for run in runs_of(whole):
                writer.add(f"{name[:4]}/{run[0].date}", frames_of(flows, run))
            days, slots = days + len(whole), slots + len(dates)
        return [Count("slots", slots, None), Count("complete days", days, None)]


def ordered_before(starts: Array, limit: Array, length: int) -> Array:
    """Windows that come before the window that begins at `limit`.

    Args:
        starts: (window, 2), sequence and first frame.
        limit: sequence and first frame of that window.
        length: frames of a window, all of which must come before it; 0 compares starts only.
    """
    same = starts[:, 0] == limit[0]
    early = starts[:, 1] + length <= limit[1] if length else starts[:, 1] < limit[1]
    kept: Array = starts[(starts[:, 0] < limit[0]) | (same & early)]
    return kept


def read_flows(path: Path) -> tuple[Array, list[str]]:
    """Flows (slot, channel, y, x) of a file, and date and number of each slot.

    Errors:
        CorruptionError: it cannot be read as HDF5.
        FileError: it refers to other files.
        InputError: it lacks the arrays of TaxiBJ.
    """
    with opened(path) as file:
        missing = [name for name in ("data", "date") if name not in file]
        if missing:
            raise InputError(f"{path} lacks {', '.join(missing)}; it should hold data and date.")
        flows = np.asarray(file["data"])
        dates = np.asarray(file["date"]).reshape(-1)
    if flows.shape[1:] != SHAPE or len(flows) != len(dates) or flows.dtype.kind not in "fiu":
        raise InputError(
            f"{path} should hold data (slot, {', '.join(map(str, SHAPE))}) and a date for each "
            f"slot, got {flows.dtype} {flows.shape} and {len(dates)} dates."
        )
    if not np.isfinite(flows).all():
        raise InputError(f"{path} holds NaN or infinite flows.")
    return flows, [bytes(d).decode() if isinstance(d, bytes) else str(d) for d in dates]


def complete_days(dates: list[str]) -> list[Day]:
    """Days whose 48 slots are all there, in order.

    Errors:
        InputError: a date cannot be read.
    """
    found, place = [], 0
    for name, slots in itertools.groupby(dates, key=lambda date: date[: DATE_LENGTH - 2]):
        numbers = [date[DATE_LENGTH - 2 :] for date in slots]
        try:
            day = datetime.datetime.strptime(name, DATE_FORMAT).date()
            complete = [int(number) for number in numbers] == list(range(1, SLOTS + 1))
        except ValueError as error:
            raise InputError(
                f"Dates should be written as YYYYMMDD and two digits for the slot, got "
                f"{name + numbers[0]!r}."
            ) from error
        if complete:
            found.append(Day(day, place))
        place += len(numbers)
    return found


def runs_of(days: list[Day]) -> list[list[Day]]:
    """Runs of consecutive days."""
    runs: list[list[Day]] = []
    for day in days:
        if runs and day.date - runs[-1][-1].date == datetime.timedelta(days=1):
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def frames_of(flows: Array, run: list[Day]) -> Iterator[Array]:
    """Frames of some days; counts below zero become zero, as published."""
    for day in run:
        for slot in range(SLOTS):
            yield np.maximum(flows[day.first + slot], 0).astype("<f4")
