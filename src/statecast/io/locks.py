"""Locks: one process at work on a folder; a lock names its owner, and ends with it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from statecast.errors import FileError, OwnedError
from statecast.io.owners import UNKNOWN, Owner, Process, this_boot, this_host, this_owner

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PAUSE = 0.2  # seconds between two looks at a lock that is waited for
TEXT = 4096  # bytes of a lock file that are read
UNSIGNED = 10.0  # seconds after which a lock file that names nobody is left over
HELD_BY_OTHERS = (errno.EAGAIN, errno.EACCES)  # any other error: this disk has no locks
BY_NAME = ".owner"  # added to the name of a lock file that is itself the lock
HELD: set[int] = set()  # descriptors of the locks of this process


@contextlib.contextmanager
def owned(path: str | Path, doing: str, *, wait: bool = False) -> Iterator[None]:
    """Be the only process at work inside the block.

    The lock is the system's (`flock`): it ends with its process, even a killed one. On a disk
    without such locks, a file is the lock; one that a killed process has left over is removed by
    the next, where it can see that the owner has ended.

    Args:
        path: of the lock file, in a folder that exists; it is removed at the end.
        doing: what is done, such as "RUN is being trained".
        wait: until another process is done, instead of an error.

    Errors:
        OwnedError: another process is at work; or one of another host was, which cannot be seen
            from here.
        FileError: the lock file cannot be written.
    """
    path, told = Path(path), False
    while isinstance(found := attempt(path), Taken):
        if not wait or not found.certain:
            raise refusal(doing, found)
        if not told:
            print(f"{doing} by {found.owner}. Waiting for it.", file=sys.stderr, flush=True)
        told = True
        time.sleep(PAUSE)
    try:
        yield
    finally:
        found.release()


class Taken(NamedTuple):
    """A lock that another process has."""

    file: Path
    owner: Owner
    certain: bool  # or its name may be all that is left, of a process that cannot be seen from here


def refusal(doing: str, taken: Taken) -> OwnedError:
    """The error that names the owner of a lock."""
    if taken.certain:
        return OwnedError(f"{doing} by {taken.owner}. Wait for it, or stop it.")
    return OwnedError(
        f"{doing} by {taken.owner}, or was: that host cannot be seen from {this_host()}. If it no "
        f"longer is, delete {taken.file}."
    )


def path_by_name(path: Path) -> Path:
    """The file that is the lock where the disk has none."""
    return path.with_name(path.name + BY_NAME)


class Lock:
    """A lock of the system on an open file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor
        HELD.add(descriptor)

    def release(self) -> None:
        """End it; the file is removed first, while nobody else can have it."""
        if self.descriptor not in HELD:  # in a fork of its process
            return
        HELD.discard(self.descriptor)
        if is_file_at(self.descriptor, self.path):
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class LockByName:
    """A file that is a lock because it is there."""

    def __init__(self, path: Path, content: bytes) -> None:
        self.path, self.content, self.process = path, content, os.getpid()

    def release(self) -> None:
        """End it."""
        with contextlib.suppress(OSError):
            if os.getpid() == self.process and self.path.read_bytes() == self.content:
                self.path.unlink()


def attempt(path: Path) -> Lock | LockByName | Taken:
    """Take a lock, or find out who has it."""
    while fcntl is not None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise FileError(f"Cannot lock {path.parent}: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held = error.errno in HELD_BY_OTHERS
            taken = Taken(path, owner_of(descriptor) if held else UNKNOWN, certain=True)
            os.close(descriptor)
            if held:
                return taken
            path.unlink(missing_ok=True)
            break  # this disk has no locks
        # Its last owner may have removed the file between opening and locking.
        if is_file_at(descriptor, path):
            return signed(path, descriptor)
        os.close(descriptor)
    return attempt_by_name(path_by_name(path))


def owner_of(descriptor: int) -> Owner:
    """Who has the lock of a file; it may be about to write its name."""
    for _ in range(20):
        owner = owner_in(os.pread(descriptor, TEXT, 0))
        if owner is not None and not owner.process.has_ended():
            return owner
        time.sleep(0.02)
    return UNKNOWN


def signed(path: Path, descriptor: int) -> Lock | Taken:
    """A lock with this process as its owner, unless it names one of another host.

    Some disks that hosts share keep the locks of each to itself: what is free here may be taken
    there.
    """
    left = owner_in(os.pread(descriptor, TEXT, 0))
    if left is not None and is_elsewhere(left):
        os.close(descriptor)
        return Taken(path, left, certain=False)
    with contextlib.suppress(OSError):  # a full disk: the lock holds, though without a name
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, content_of(this_owner()), 0)
    return Lock(path, descriptor)


def attempt_by_name(path: Path) -> LockByName | Taken:
    """Take a lock by making a file that is not there, or find out who has it."""
    content = content_of(this_owner())
    while True:
        try:
            with path.open("xb") as stream:
                stream.write(content)
            return LockByName(path, content)
        except FileExistsError:
            pass
        except OSError as error:
            raise FileError(f"Cannot lock {path.parent}: {error.strerror}.") from error
        try:
            found, age = path.read_bytes(), time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue
        owner = owner_in(found)
        if owner is None and age < UNSIGNED:
            return Taken(path, UNKNOWN, certain=True)
        if owner is not None and not owner.process.has_ended():
            return Taken(path, owner, certain=owner.process.host == this_host())
        remove_left_over(path, found)


def remove_left_over(path: Path, content: bytes) -> None:
    """Remove a lock file with this content; not one that has taken its place meanwhile."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if aside.read_bytes() == content:
            aside.unlink()
        else:
            aside.rename(path)


def is_elsewhere(owner: Owner) -> bool:
    """Whether an owner is of a system that this one does not see.

    Containers of one machine have names of their own, but its system and its locks in common.
    """
    host, number, started = owner.process
    boot = started.partition(".")[0]
    return bool(number) and host != this_host() and not (boot and boot == this_boot())


def is_file_at(descriptor: int, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def content_of(owner: Owner) -> bytes:
    """What a lock file says of its owner: one line of JSON."""
    return (json.dumps({**owner._asdict(), "process": owner.process._asdict()}) + "\n").encode()


def owner_in(content: bytes) -> Owner | None:
    """The owner whom a lock file names; None where it names nobody."""
    try:
        found = json.loads(content)
        process = Process(**found["process"])
        return Owner(process._replace(number=int(process.number)), found["since"], found["command"])
    except (ValueError, KeyError, TypeError):
        return None


def _forget() -> None:
    """In a fork: a child, such as a loader's worker, must not keep its parent's locks."""
    for descriptor in HELD:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
