"""Slices of windows whose forecasts and scores fit in memory."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from statecast.data.base import Windows
from statecast.data.loading import numbered_batches
from statecast.data.progress import progress_bar
from statecast.errors import InputError
from statecast.frames import Batch

MEMORY_GIB = 2.0  # memory that forecasts and their scores may take at once, by default
COPIES = 2  # of all samples: as decoded, and in the units of the data
SCORING = 16  # copies of its frames that scoring one sample takes, measured


def slices_within(
    max_memory_gib: float,
    windows: Windows,
    numbers: Tensor,
    *,
    samples: int,
    batch_size: int,
    title: str | None = None,
) -> Iterator[tuple[Tensor, Batch]]:
    """Numbers and batches of windows in order, as many at once as memory allows.

    Args:
        max_memory_gib: memory that forecasts and their scores may take, in GiB.
        windows: windows of a split.
        numbers: numbers of the windows to yield, (window,).
        samples: futures per window.
        batch_size: largest number of windows at once.
        title: title of a progress bar; no bar by default.

    Errors:
        InputError: the memory is not positive.
    """
    if not max_memory_gib > 0:
        raise InputError(f"max_memory_gib must be positive, got {max_memory_gib}.")
    with progress_bar(title, len(numbers), unit="window") as bar:
        for chosen, batch in numbered_batches(windows, numbers, batch_size):
            at_once = windows_within(max_memory_gib, batch, samples)
            for start in range(0, len(chosen), at_once):
                part = slice(start, start + at_once)
                yield chosen[part], batch.select(part)
                bar.update(len(chosen[part]))


def windows_within(max_memory_gib: float, batch: Batch, samples: int) -> int:
    """Number of windows, at least 1, that can be forecast and scored at once."""
    target = batch.target.values[0]
    each = target.numel() * target.element_size() * (COPIES * samples + SCORING)
    return max(1, int(max_memory_gib * 2**30 // each))
