"""Files and folders that appear whole or not at all: flushed under a hidden name, then renamed."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import FileError, StatecastError
from statecast.io.locks import has_ended, process_mark

PART, OLD = ".part", ".old"  # in hidden names
HIDDEN = re.compile(
    r"\.(?P<stem>.*)\.(?P<mark>[0-9a-f]{8}-\d+-\d+)\.[0-9a-f]{8}(?P<old>\.old)?\.part(?P<suffix>\..+)?"
)
STEM = 120  # bytes of a name that are kept in its hidden names; no name has more than 255
FULL = 16 << 20  # bytes: with less space, an unclear error of writing is put down to a full disk
UNCLEAR = (errno.EACCES, errno.EPERM, errno.EIO)
FREE = "…"  # stands for the free space
REASONS = {
    errno.ENOSPC: f"the disk is full ({FREE}). Free space, or write elsewhere",
    errno.EFBIG: "a limit on the size of files is reached (ulimit -f). Raise it, or write less",
    errno.EDQUOT: "your disk quota is used up. Free space, or write elsewhere",
    errno.EROFS: "the disk is read-only. Write elsewhere",
}


@contextmanager
def atomic_path(
    path: str | Path,
    *,
    join: bool = False,
    also: tuple[type[Exception], ...] = (),
    advice: str = "",
) -> Iterator[Path]:
    """Give a place for a file or folder, and rename it to `path` if the block ends without error.

    The place lies beside `path`, has the same suffix, and is flushed to disk before it is renamed:
    a reader sees the old content or the new one, never a part. An error removes it. The next
    process that writes in the same folder removes what killed processes left there.

    Args:
        path: file or folder; an older one is replaced.
        join: move the files of a new folder into an older one instead of replacing it.
        also: exceptions other than `OSError` that a library raises when it cannot write.
        advice: sentence to add to the error.

    Errors:
        FileError: it cannot be written; the message names a full disk.
    """
    path = Path(path)
    place = hidden(path)
    try:
        with write_errors(path, also=also, advice=advice, kept=True):
            sweep(path.parent)
            yield place
            flush(place)
            rename(place, path, join=join)
            flush_folder(path.parent)
    except FileError as error:  # name a file by its place in the finished folder
        if str(place) not in str(error):
            raise
        raise type(error)(str(error).replace(str(place), str(path))) from error
    finally:
        remove(place)


@contextmanager
def write_errors(
    path: Path, *, also: tuple[type[Exception], ...] = (), advice: str = "", kept: bool = False
) -> Iterator[None]:
    """Turn the system's errors while a file is written into one that names file and reason.

    Args:
        path: file that is written.
        also, advice: as for `atomic_path`.
        kept: whether an older file stays unchanged after an error.

    Errors:
        FileError: it cannot be written.
    """
    try:
        yield
    except StatecastError:
        raise
    except (OSError, *also) as error:  # type: ignore[misc]
        text = f"Cannot write {path}: {reason_of(error, path.parent)}."
        if kept and path.exists():
            text += f" The older {path.name} is unchanged."
        raise FileError(f"{text} {advice}".rstrip()) from error


@contextmanager
def atomic_folder(output: Path) -> Iterator[Path]:
    """Give a new folder, and rename it to `output` if the block ends without error.

    Errors:
        FileError: `output` is not an empty folder, or cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileError(f"{output} is not empty. Choose another folder.")
    with write_errors(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(output) as place:
        place.mkdir()
        yield place


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write `content` to `path`, whole or not at all."""
    with atomic_path(path) as place:
        place.write_bytes(content)
    return Path(path)


def write_text(path: str | Path, content: str) -> Path:
    """Write `content` to `path` as UTF-8, whole or not at all."""
    return write_bytes(path, content.encode())


def write_npz(path: str | Path, **arrays: np.ndarray[Any, Any]) -> Path:
    """Write arrays to a compressed `.npz` file, whole or not at all."""
    with atomic_path(path) as place, place.open("xb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return Path(path)


def hidden(path: Path, end: str = "") -> Path:
    """Make an unused name beside `path`, with the same suffix and the mark of this process."""
    stem = path.stem.encode()[:STEM].decode(errors="ignore")
    token = secrets.token_hex(4)
    return path.with_name(f".{stem}.{process_mark()}.{token}{end}{PART}{path.suffix}")


def rename(place: Path, path: Path, *, join: bool = False) -> None:
    """Rename a finished file or folder; an older folder takes in the new files, or is replaced."""
    if not (place.is_dir() and path.is_dir()):
        place.replace(path)
    elif join:
        for file in sorted(place.iterdir()):
            file.replace(path / file.name)
        flush_folder(path)
    else:
        old = hidden(path, OLD)
        path.rename(old)
        try:
            place.rename(path)
        except BaseException:
            old.rename(path)
            raise
        remove(old)


def sweep(folder: Path) -> None:
    """Remove the unfinished files in a folder of processes that have ended.

    A process killed between two renames leaves the older folder under a hidden name: give this
    folder its own name back.
    """
    with suppress(PermissionError):  # a folder may be writable and not readable
        for place in list(folder.iterdir()):
            found = HIDDEN.fullmatch(place.name)
            if found is None or not has_ended(found["mark"]):
                continue
            path = folder / f"{found['stem']}{found['suffix'] or ''}"
            if found["old"] and not path.exists():
                with suppress(FileNotFoundError):  # another process may sweep at the same time
                    place.rename(path)
            else:
                remove(place)


def remove(place: Path) -> None:
    """Remove a file or folder, if it exists."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        with suppress(OSError):
            place.unlink()


def reason_of(error: BaseException, folder: Path) -> str:
    """Why a write failed; libraries may call a full disk `Permission denied` or `HDF error`."""
    if not folder.is_dir():
        return f"{folder} is not a folder" if folder.exists() else f"there is no folder {folder}"
    causes = [error]
    while causes[-1].__context__ is not None:
        causes.append(causes[-1].__context__)
    codes = [getattr(cause, "errno", None) for cause in causes]
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    free = shutil.disk_usage(folder).free
    found = [REASONS[code] for code in codes if code in REASONS]
    if not found and codes[0] in errno.errorcode and codes[0] not in UNCLEAR:
        return text
    if not found and not os.access(folder, os.W_OK):
        return f"the folder {folder} is not writable"
    if not found and free < FULL:
        found = [REASONS[errno.ENOSPC]]
    unclear = f"the disk, a quota or a limit on file sizes may be reached ({text})"
    return (found or [unclear])[0].replace(FREE, f"{free >> 20} MiB are free")


def flush(place: Path) -> None:
    """Flush a file, or all files of a folder, to disk."""
    for file in place.rglob("*") if place.is_dir() else [place]:
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, if the system can."""
    with suppress(OSError):  # Windows cannot open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sha256_of(path: str | Path) -> str:
    """Hexadecimal sha256 digest of a file's content."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def make_folder(folder: Path, *, advice: str = "") -> Path:
    """Make a folder, and those above it, unless it is there.

    Errors:
        FileError: it cannot be made.
    """
    with write_errors(folder, advice=advice):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def cache_path() -> Path:
    """Folder of prepared data: `$STATECAST_CACHE`, or `~/.cache/statecast`."""
    return Path(os.environ.get("STATECAST_CACHE") or Path.home() / ".cache" / "statecast")


def cache_folder() -> Path:
    """Make the folder `cache_path`, if it is missing.

    Errors:
        FileError: the folder cannot be made.
    """
    return make_folder(cache_path(), advice="Set STATECAST_CACHE to a writable folder.")
