"""Keeps freed memory in the process for the next step."""

from __future__ import annotations

import ctypes
import platform

from statecast.nn.fast.switches import enabled

# Options of mallopt, from malloc.h of the GNU C library
TRIM_THRESHOLD, MMAP_MAX = -1, -4
NEVER = -1  # taken as the largest size


def keep_memory() -> bool:
    """Keep freed memory from now on; return whether the system supports it.

    A training step on a CPU frees large tensors and allocates the same sizes again. By default the
    C library returns their memory to the system, which clears every page before it gives it back:
    up to a fifth of a step. With this setting, the process holds its peak memory until it ends.
    """
    if not enabled("malloc_reuse") or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, NEVER))
