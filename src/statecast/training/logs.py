"""Logs of a training: rows of metrics.csv, a progress bar, TensorBoard."""

from __future__ import annotations

import csv
import io
import logging
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import IO, Any

from statecast.errors import FileError, require
from statecast.io.atomic_files import write_errors, write_text
from statecast.io.json_yaml import check_link

LOGGER = logging.getLogger(__name__)
LOG_NAME, BOARD_NAME = "metrics.csv", "tensorboard"
SKIPPED = "skipped"  # share of steps that were skipped because their loss was not finite
LINE_TERMS = 4  # loss terms in a line; a progress bar shows only the first


class TrainingLog:
    """Log of one training, in a run folder.

    A row holds averages over the steps since the last row. Skipped steps enter only `skipped`.
    Rows of steps that a resumed training repeats are removed first.

    Args:
        folder: the run folder.
        steps: number of steps of the whole training.
        start: step to continue from.
        every: steps between rows.
        tensorboard: whether to write TensorBoard logs too.
        pending: sum and count of each value since the last row, from a checkpoint. With them, the
            next row of a resumed training is that of one that never stopped.
        budget: seconds after which the training stops; infinite for none.
    """

    def __init__(
        self,
        folder: Path,
        *,
        steps: int,
        start: int,
        every: int,
        tensorboard: bool,
        pending: Mapping[str, Sequence[float]] | None = None,
        budget: float = math.inf,
    ) -> None:
        self.path, self.every, self.start, self.steps = folder / LOG_NAME, every, start, steps
        self.budget = budget
        self.pending = {name: list(values) for name, values in (pending or {}).items()}
        self.columns: list[str] = []
        self.stream: IO[bytes] | None = None
        self.advice = (
            f"Continue from the last checkpoint: statecast train --resume {quote(str(folder))}."
        )
        self.board: Any = None
        if tensorboard:
            require("tensorboard", "logging", "write TensorBoard logs")
            from torch.utils.tensorboard import SummaryWriter

            check_link(folder / BOARD_NAME)
            with write_errors(folder / BOARD_NAME):
                self.board = SummaryWriter(str(folder / BOARD_NAME), purge_step=start)

    def __enter__(self) -> TrainingLog:
        from tqdm import tqdm

        self.columns = drop_rows_after(self.path, self.start)
        self.begun = time.monotonic()
        self.bar = tqdm(
            total=self.steps,
            initial=self.start,
            unit="step",
            dynamic_ncols=True,
            smoothing=0,  # so that the estimated time includes validations
            disable=not (sys.stderr.isatty() and LOGGER.isEnabledFor(logging.INFO)),
        )
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.bar.close()
        if self.stream is not None:
            self.stream.close()
        if self.board is not None:
            place = self.path.with_name(BOARD_NAME)
            with write_errors(place) if kind is None else suppress(OSError):
                self.board.close()

    def record(self, step: int, values: dict[str, float]) -> None:
        """Add the values of a step; write a row when one is due."""
        for name, value in values.items():
            found = self.pending.setdefault(name, [0.0, 0])
            if name == SKIPPED or not values.get(SKIPPED):
                found[0] += value
                found[1] += 1
        self.bar.update()
        if step % self.every == 0 or step == self.steps:
            means = {name: s / n if n else math.nan for name, (s, n) in self.pending.items()}
            self.write_row(step, means)
            self.pending = {}

    def flush(self) -> None:
        """Flush the rows to disk, for a resumed training to continue from."""
        if self.stream is not None:
            self.stream.flush()
            os.fsync(self.stream.fileno())

    def write_row(self, step: int, values: dict[str, float]) -> None:
        """Write one row; the first row sets the columns."""
        if not self.columns:
            self.columns = ["step", *values]
            write_text(self.path, ",".join(self.columns) + "\n")
        row = {"step": step, **{name: f"{value:.6g}" for name, value in values.items()}}
        text = io.StringIO(newline="")
        csv.DictWriter(
            text, self.columns, restval="", extrasaction="ignore", lineterminator="\n"
        ).writerow(row)
        self.append(text.getvalue().encode())
        if self.board is not None:
            with write_errors(self.path.with_name(BOARD_NAME), advice=self.advice):
                for name, value in values.items():
                    self.board.add_scalar(name, value, step)
        terms = [name for name in values if name not in ("learning_rate", "gradient_norm", SKIPPED)]
        shown = [f"{name} {values[name]:.4g}" for name in terms[:LINE_TERMS]]
        self.bar.set_postfix_str("".join(shown[:1]), refresh=False)
        if self.bar.disable:
            self.say("  ".join([f"step {step}/{self.steps}", *shown, self.pace(step)]))

    def pace(self, step: int) -> str:
        """Steps for each second, and the time left until the last step or the end of the budget."""
        spent = time.monotonic() - self.begun
        rate = (step - self.start) / max(spent, 1e-9)
        left = max(0.0, min((self.steps - step) / rate, self.budget - spent))
        return f"({rate:.2g} steps/s, {left / 60:.0f} min left)"

    def append(self, row: bytes) -> None:
        """Append a row to the table; remove it again if the disk is full."""
        with write_errors(self.path, advice=self.advice, kept=True):
            if self.stream is None:
                self.stream = self.path.open("ab", buffering=0)
            size = os.fstat(self.stream.fileno()).st_size
            try:
                while row:
                    row = row[self.stream.write(row) :]
            except OSError:
                self.stream.truncate(size)
                raise

    def say(self, text: str, level: int = logging.INFO) -> None:
        """Log a line, above the bar if there is one."""
        with self.bar.external_write_mode(file=sys.stderr):
            LOGGER.log(level, text)


class SilentLog(TrainingLog):
    """The log of a process that does not log."""

    def __init__(self) -> None:
        pass

    def __enter__(self) -> TrainingLog:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        pass

    def record(self, step: int, values: dict[str, float]) -> None:
        pass

    def say(self, text: str, level: int = logging.INFO) -> None:
        pass

    def flush(self) -> None:
        pass


def read_log(folder: str | Path, name: str = LOG_NAME) -> dict[str, list[float]]:
    """Columns of a run's `metrics.csv`, or of another table in its folder; empty if missing.

    Errors:
        FileError: the file cannot be read as numbers.
    """
    path = Path(folder) / name
    check_link(path)
    if not path.is_file():
        return {}
    try:
        with path.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        columns = [column for column in rows[0] if column is not None] if rows else []
        return {column: [float(row[column] or "nan") for row in rows] for column in columns}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise FileError(f"{path} cannot be read as a table of numbers: {error}.") from error


def drop_rows_after(path: Path, step: int) -> list[str]:
    """Remove rows after `step` and a row cut off by a crash; return the columns."""
    check_link(path)
    if not path.is_file():
        return []
    lines = path.read_text().splitlines(keepends=True)
    if not lines or not lines[0].endswith("\n"):
        return []
    columns = lines[0].strip().split(",")
    kept = [
        line
        for line in lines[1:]
        if line.endswith("\n") and line.count(",") == len(columns) - 1 and _step_of(line) <= step
    ]
    write_text(path, "".join([lines[0], *kept]))
    return columns


def _step_of(line: str) -> float:
    try:
        return float(line.split(",", 1)[0])
    except ValueError:
        return float("inf")
