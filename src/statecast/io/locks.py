"""Locks on files, by `filelock`, that name their holder; and marks of processes in file names."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from statecast.errors import FileError, OwnedError

LOGGER = logging.getLogger(__name__)
LONGEST = 400  # characters of the line that names the holder of a lock
STATE, STARTED = 0, 19  # in /proc/PID/stat, counted after the name of the program
ENDED = "ZX"  # states of a process that has ended, but that its parent has not collected yet
UNKNOWN = "0"  # start of a process, if the system does not report it


@contextlib.contextmanager
def exclusive_lock(path: str | Path, doing: str, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes out of the block.

    The lock is one of the system (`flock`): it ends with its process, even if that is killed. The
    file names the holder for messages only; a file that is left over locks nothing.

    Args:
        path: lock file; removed at the end.
        doing: what the block does, such as "RUN is being trained".
        wait: whether to wait for another process instead of raising an error.

    Errors:
        OwnedError: another process holds the lock.
        FileError: the lock file cannot be written.
    """
    path = Path(path)
    lock: BaseFileLock = FileLock(path)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            time.sleep(0.05)  # lets a process that has just taken the lock sign its file
            said = f"{doing} by {read_holder(path)}."
            if not wait:
                raise OwnedError(f"{said} Wait for it, or stop it.") from None
            LOGGER.warning("%s Waiting for it.", said)
            lock.acquire()
        ours = path.stat()
    except OwnedError:
        raise
    except OSError as error:
        raise FileError(f"Cannot lock {path.parent}: {error.strerror}.") from error
    signed = not isinstance(lock, SoftFileLock)  # the fallback on disks without `flock`
    try:
        if signed:
            with contextlib.suppress(OSError):  # on a full disk the lock holds without a name
                path.write_text(f"{describe_process()}\n")
        yield
    finally:
        if lock.is_locked:  # not in a fork, which inherits the block but not the lock
            with contextlib.suppress(OSError):
                # Before the release, while no other process can take the lock on this file.
                if signed and os.path.samestat(ours, path.stat()):
                    path.unlink()
            lock.release()


def describe_process() -> str:
    """One line about this process: number, host, command and time."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]] if sys.argv else []
    command = " ".join(shlex.join(words).split()).replace("`", "'")[: LONGEST // 2]
    since = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
    return f"process {os.getpid()} on {platform.node()} (`{command}`, since {since} UTC)"


def read_holder(path: Path) -> str:
    """The process that a lock file names, in words."""
    with contextlib.suppress(OSError, ValueError), path.open() as stream:
        line = stream.read(LONGEST).rstrip("\n")
        if line.startswith("process ") and line.isprintable():
            return line
    return "another process"


def process_mark() -> str:
    """Mark of this process for file names: host, number and start, joined by dashes."""
    return f"{host_digest()}-{os.getpid()}-{start_of(os.getpid()) or UNKNOWN}"


def has_ended(mark: str) -> bool:
    """Whether the process of a mark has certainly ended; its number may have been reused."""
    host, number, started = mark.split("-")
    if host != host_digest():
        return False
    found = start_of(int(number))
    return found is None or (UNKNOWN not in (found, started) and found != started)


def host_digest() -> str:
    """Name of this host in eight letters and digits."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def start_of(number: int) -> str | None:
    """Start of a process on this host in clock ticks, or `UNKNOWN`; None if it does not run."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return None if fields[STATE] in ENDED else fields[STARTED]
    except (OSError, IndexError):  # no such process, or no such folder
        return UNKNOWN if is_running(number) else None


def is_running(number: int) -> bool:
    """Whether a process of this number runs on this host; true if that is unknown."""
    if os.name == "nt":  # on Windows, signal 0 is Ctrl-C
        return True
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
