"""Memory of the process, kept for the next step instead of returned to the system."""

from __future__ import annotations

import ctypes
import platform

from statecast.nn.fast.switches import enabled

# Options of mallopt, from malloc.h of the GNU C library
TRIM_THRESHOLD, MMAP_MAX = -1, -4
NEVER = -1  # taken as the largest size


def keep_memory() -> bool:
    """Keep freed memory from here on; whether this system can.

    A training step on a processor frees and asks again for the same large tensors. The C library
    returns each of them to the system, which then clears every page again: up to a fifth of
    a step. The process holds its highest use until it ends.
    """
    if not enabled("malloc_reuse") or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    return bool(library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, NEVER))
