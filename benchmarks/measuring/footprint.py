"""The most memory that calls take, beside what was held before them."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

KIBIBYTE = 1024
EVERY = 0.002  # seconds between two looks


def resident() -> int:
    """Bytes that this process holds.

    Errors:
        OSError: this system does not tell.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * KIBIBYTE
    raise OSError("This system does not tell how much memory a process holds.")


def give_back() -> None:
    """Let the C library return what was freed, which would hide what is taken next."""
    with suppress(OSError, AttributeError):  # another C library has no such call
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextmanager
def watched() -> Iterator[list[int]]:
    """Bytes held before the block, and, once it is left, the most inside it."""
    gc.collect()
    give_back()
    found, done = [resident(), resident()], threading.Event()

    def watch() -> None:
        while not done.wait(EVERY):
            found[1] = max(found[1], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def added_by(call: Callable[[], Any], device: torch.device, *, calls: int = 2) -> int:
    """Bytes that calls take at most, beside what is there before: on a GPU, of its memory."""
    if device.type != "cuda":
        with watched() as found:
            for _ in range(calls):
                call()
        return found[1] - found[0]
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    for _ in range(calls):
        call()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before
