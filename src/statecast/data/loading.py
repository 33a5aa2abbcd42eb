"""Windows to batches: the training batches of a range of steps, and all windows in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from statecast.data.base import Windows
from statecast.distributed import SIGNALS, Part
from statecast.errors import InputError
from statecast.frames import Batch

PATIENCE = 10  # seconds that a worker goes on after its signal, so that the main process can save


class _Steps(Dataset[Batch]):
    """The training batch of each step number, for a `DataLoader` to fetch in its workers."""

    def __init__(self, windows: Windows, batch_size: int, seed: int, part: Part | None) -> None:
        self.windows, self.batch_size, self.seed, self.part = windows, batch_size, seed, part

    def __getitem__(self, step: int) -> Batch:
        if self.part is None:
            return self.windows.training_batch(step, self.batch_size, seed=self.seed)
        return self.windows.training_batch_part(step, self.batch_size, self.part, seed=self.seed)


def training_batches(
    windows: Windows,
    steps: range,
    *,
    batch_size: int,
    seed: int,
    loader_workers: int = 0,
    part: Part | None = None,
) -> Iterator[Batch]:
    """The batch of each step, in order, or one process's share of each.

    A batch is a function of (seed, step) alone: a training resumed at step 1000 sees the same
    batches as one that never stopped, with any number of workers and processes.

    Errors:
        InputError: negative loader_workers, or a batch of no windows.
    """
    if batch_size < 1 or loader_workers < 0:
        raise InputError(
            "batch_size must be at least 1 and loader_workers at least 0, got "
            f"{batch_size} and {loader_workers}."
        )
    batches = _Steps(windows, batch_size, seed, part)
    if loader_workers == 0:
        return (batches[step] for step in steps)
    # The range is the sampler: workers fetch steps ahead, and the loader keeps their order.
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=steps,
            num_workers=loader_workers,
            prefetch_factor=4,
            worker_init_fn=outlive_signals,
        )
    )


def ordered_batches(
    windows: Windows, batch_size: int, *, count: int | None = None, taken: slice = slice(None)
) -> Iterator[tuple[int, Batch]]:
    """Batches of all windows, or of `count` evenly spaced ones, in order.

    Each comes with the place of its first window. `taken` selects batches; by default all.
    """
    chosen = evenly(len(windows), count)
    for start in range(0, len(chosen), batch_size)[taken]:
        yield start, windows.batch(chosen[start : start + batch_size])


def numbered_batches(
    windows: Windows, numbers: torch.Tensor, batch_size: int
) -> Iterator[tuple[torch.Tensor, Batch]]:
    """Batches of the windows of these numbers, in this order; each with its numbers."""
    for chosen in numbers.split(batch_size) if len(numbers) else ():
        yield chosen, windows.batch(chosen)


def evenly(total: int, count: int | None) -> torch.Tensor:
    """Numbers of `count` evenly spaced windows out of `total`; all if `count` is None or more."""
    count = total if count is None else min(count, total)
    return torch.arange(count) * total // count


def outlive_signals(worker: int) -> None:
    """Keep a loader worker running when its whole process group gets a signal to stop.

    A killed worker would end the main process, which saves first and then ends its workers.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):  # SIGTERM still ends a worker that hangs
        signal.signal(signal.SIGALRM, lambda number, frame: os._exit(0))
        signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(PATIENCE) and None)
