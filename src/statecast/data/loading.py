"""Windows to batches: the training batches of a range of steps, and all windows in order."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader, Dataset

from statecast.data.base import Windows
from statecast.errors import InputError
from statecast.frames import Batch
from statecast.sharing import Part
from statecast.signals import outlive_signals


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
    workers: int = 0,
    part: Part | None = None,
) -> Iterator[Batch]:
    """The batch of each step, in order, or the part of it that falls to one of several processes.

    A batch is a function of (seed, step) alone: training that goes on from step 1000 sees what it
    would have seen, whatever the number of workers and processes.

    Errors:
        InputError: negative workers, or a batch of no windows.
    """
    if batch_size < 1 or workers < 0:
        raise InputError(
            f"batch_size must be at least 1 and workers at least 0, got {batch_size} and {workers}."
        )
    batches = _Steps(windows, batch_size, seed, part)
    if workers == 0:
        return (batches[step] for step in steps)
    # The range is the sampler: workers fetch steps ahead, and the loader keeps their order.
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            sampler=steps,
            num_workers=workers,
            prefetch_factor=4,
            worker_init_fn=outlive_signals,
        )
    )


def ordered_batches(
    windows: Windows, batch_size: int, *, count: int | None = None, taken: slice = slice(None)
) -> Iterator[tuple[int, Batch]]:
    """All windows, or `count` evenly spaced ones, in order: number of the first, and the batch.

    `taken` says which of the batches; by default all.
    """
    chosen = evenly(len(windows), len(windows) if count is None else count)
    for start in range(0, len(chosen), batch_size)[taken]:
        yield start, windows.batch(chosen[start : start + batch_size])


def numbered_batches(
    windows: Windows, numbers: torch.Tensor, batch_size: int
) -> Iterator[tuple[torch.Tensor, Batch]]:
    """Windows of these numbers, in this order: the numbers of a batch, and the batch."""
    for chosen in numbers.split(batch_size) if len(numbers) else ():
        yield chosen, windows.batch(chosen)


def evenly(total: int, count: int) -> torch.Tensor:
    """Numbers of `count` evenly spaced windows out of `total`, or of all where there are fewer."""
    count = min(count, total)
    return torch.arange(count) * total // count
