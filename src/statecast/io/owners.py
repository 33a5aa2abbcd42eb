"""Who works on a file: a process, named so that it can be told later whether it has ended."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import sys
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

COMMAND = 200  # characters kept of a command line
STATE, STARTED = 0, 19  # in /proc/PID/stat, counted after the name of the program
ENDED = "ZX"  # states of a process that has ended, and whose parent has not asked yet


class Process(NamedTuple):
    """A process of some host."""

    host: str
    number: int
    started: str  # boot of the system, and clock ticks since; empty where that is not known

    @property
    def mark(self) -> str:
        """As a part of a file's name."""
        return f"{digest_of(self.host)}-{self.number}-{self.started or 0}"

    def has_ended(self) -> bool | None:
        """Whether it has ended, also where its number is in use again; None on another host."""
        if self.host != this_host():
            return None
        started = start_of(self.number)
        return started is None or bool(started and self.started and started != self.started)


class Owner(NamedTuple):
    """A process at work, as a lock names it."""

    process: Process
    since: str  # UTC
    command: str

    def __str__(self) -> str:
        host, number, _ = self.process
        if not number:
            return "another process"
        return f"process {number} on {host} (`{self.command}`, since {self.since} UTC)"


UNKNOWN = Owner(Process("", 0, ""), "", "")


def this_process() -> Process:
    """The process that asks."""
    return _process(os.getpid())  # a fork is another one


@lru_cache(maxsize=1)
def _process(number: int) -> Process:
    return Process(this_host(), number, start_of(number) or "")


def this_owner() -> Owner:
    """The process that asks, and what it does."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv else []
    command = " ".join(shlex.join(words).split()).replace("`", "'")[:COMMAND]
    return Owner(this_process(), f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}", command)


def mark_has_ended(mark: str) -> bool:
    """Whether the process of a `Process.mark` has ended; False where that cannot be known."""
    host, number, started = mark.split("-", 2)
    if host != digest_of(this_host()):
        return False
    known = "" if started == "0" else started
    return bool(Process(this_host(), int(number), known).has_ended())


def digest_of(host: str) -> str:
    """Name of a host in eight letters and digits."""
    return hashlib.sha256(host.encode()).hexdigest()[:8]


@lru_cache(maxsize=1)
def this_host() -> str:
    """Name of this host."""
    return platform.node() or "unnamed"


@lru_cache(maxsize=1)
def this_boot() -> str:
    """What tells one start of this system from the next; empty where that is not known."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")[:8]
    except OSError:
        return ""


def start_of(number: int) -> str | None:
    """When a process of this host started: empty where that is not known, None where none runs."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return None if fields[STATE] in ENDED else f"{this_boot()}.{fields[STARTED]}"
    except (OSError, IndexError):  # no such process, no such folder, or another user's
        return "" if is_alive(number) else None


def is_alive(number: int) -> bool:
    """Whether a process of this number runs on this host."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
