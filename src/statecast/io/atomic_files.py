"""Files and folders written whole or not at all (hidden name, flush, rename), and their digests."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from statecast.errors import FileError, StatecastError
from statecast.io.locks import has_ended, process_mark

PART, OLD = ".part", ".old"  # ends of hidden names
HIDDEN = re.compile(
    rf"\..*\.([0-9a-f]{{8}}-\d+-\d+)\.[0-9a-f]{{8}}{re.escape(PART)}(\..+)?"
)  # any name that `hidden` gives, and the mark of its process
STEM = 120  # bytes of a name that its hidden names begin with
FULL = 16 << 20  # bytes: with less free, a write that failed for no clear reason met a full disk
UNCLEAR = (errno.EACCES, errno.EPERM, errno.EIO)
FREE = "…"  # stands for the free space
REASONS = {
    errno.ENOSPC: f"the disk is full ({FREE}). Free space, or write elsewhere",
    errno.EFBIG: "a limit on the size of files is reached (ulimit -f). Raise it, or write less",
    errno.EDQUOT: "your quota of the disk is used up. Free space, or write elsewhere",
    errno.EROFS: "the disk is read-only. Write elsewhere",
}


@contextmanager
def whole(
    path: str | Path, *, also: tuple[type[Exception], ...] = (), advice: str = ""
) -> Iterator[Path]:
    """A place for a file or folder that takes the name `path` when the block ends without an error.

    It lies beside `path` under a hidden name, and is flushed to disk before it is renamed, so that
    a reader sees the old content or the new one, never a part. After an error nothing is left of
    it; what killed processes have left is removed by the next that writes to the same path.

    Args:
        path: a file or folder; an older one is replaced.
        also: what a library raises besides `OSError` where it cannot write.
        advice: what to do besides, for the error.

    Errors:
        FileError: it cannot be written; a full disk is named as such.
    """
    path = Path(path)
    place = hidden(path)
    try:
        with writing(path, also=also, advice=advice, kept=True):
            sweep(path)
            yield place
            flush(place)
            rename(place, path)
            flush_folder(path.parent)
    except FileError as error:  # of a file in a folder: by the name that it would have had
        if str(place) not in str(error):
            raise
        raise type(error)(str(error).replace(str(place), str(path))) from error
    finally:
        remove(place)


@contextmanager
def writing(
    path: Path,
    *,
    also: tuple[type[Exception], ...] = (),
    advice: str = "",
    kept: bool = False,
) -> Iterator[None]:
    """Turn what the system says of a write that failed into an error that names file and reason.

    Args:
        path: what is written.
        also, advice: as for `whole`.
        kept: whether it is left as it was, where it is there already.

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
            text += f" {path.name} is as it was before."
        raise FileError(f"{text} {advice}".rstrip()) from error


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the name `path` only when the block ends without an error.

    Errors:
        FileError: as `whole`.
    """
    with whole(path) as place, place.open("xb") as stream:
        yield stream


@contextmanager
def whole_folder(output: Path) -> Iterator[Path]:
    """A new folder that takes the name `output` only when the block ends without an error.

    Errors:
        FileError: `output` exists and is not an empty folder, or cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileError(f"{output} is not empty. Choose another folder.")
    with writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
    with whole(output) as place:
        place.mkdir()
        yield place


@contextmanager
def adding(folder: Path) -> Iterator[Path]:
    """A place for files that join those of `folder` when the block ends without an error.

    Errors:
        FileError: they cannot be written.
    """
    place = hidden(folder)
    try:
        with writing(folder, kept=True):
            sweep(folder)
            place.mkdir()
            yield place
            flush(place)
            folder.mkdir(exist_ok=True)
            for file in sorted(place.iterdir()):
                file.replace(folder / file.name)
            flush_folder(folder)
    finally:
        remove(place)


def write_bytes(path: str | Path, content: bytes) -> Path:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as stream:
        stream.write(content)
    return Path(path)


def write_text(path: str | Path, content: str) -> Path:
    """Write `content` to `path` as UTF-8, whole or not at all."""
    return write_bytes(path, content.encode())


def write_npz(path: str | Path, **arrays: np.ndarray[Any, Any]) -> Path:
    """Write arrays to a compressed `.npz` file, whole or not at all."""
    with replacing(path) as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return Path(path)


def write_with(
    path: str | Path, write: Callable[[Path], object], *, also: tuple[type[Exception], ...] = ()
) -> Path:
    """Call `write` with a temporary path of the same suffix, then rename it to `path`.

    For libraries that insist on opening the file themselves; `also` as for `whole`.
    """
    with whole(path, also=also) as place:
        write(place)
    return Path(path)


def hidden(path: Path, end: str = "") -> Path:
    """A free name beside `path`, of the same suffix, that tells which process it belongs to."""
    token = secrets.token_hex(4)
    return path.with_name(f"{prefix(path)}{process_mark()}.{token}{end}{PART}{path.suffix}")


def prefix(path: Path) -> str:
    """How the hidden names of a path begin; no name on a disk has more than 255 bytes."""
    return f".{path.stem.encode()[:STEM].decode(errors='ignore')}."


def rename(place: Path, path: Path) -> None:
    """Give what is whole its name; an older folder steps aside for a new one."""
    if not (place.is_dir() and path.is_dir()):
        place.replace(path)
        return
    old = hidden(path, OLD)
    path.rename(old)
    try:
        place.rename(path)
    except BaseException:
        old.rename(path)
        raise
    remove(old)


def sweep(path: Path) -> None:
    """Remove what processes that have ended left of writing to this path.

    One that was killed between two renamings has left the older folder under a hidden name: it
    gets its own back.
    """
    name = re.compile(
        re.escape(prefix(path)) + r"([0-9a-f]{8}-\d+-\d+)\.[0-9a-f]{8}"
        rf"({re.escape(OLD)})?{re.escape(PART)}{re.escape(path.suffix)}"
    )
    try:
        places = list(path.parent.iterdir())
    except PermissionError:  # a folder may be written and not be listed
        return
    for place in places:
        found = name.fullmatch(place.name)
        if found and has_ended(found[1]):
            if found[2] and not path.exists():
                place.rename(path)
            else:
                remove(place)


def sweep_folder(folder: Path) -> None:
    """Remove what processes that have ended left of writing to any path in a folder.

    Older folders that stepped aside stay: `sweep` gives them their names back.
    """
    for place in folder.iterdir() if folder.is_dir() else []:
        found = HIDDEN.fullmatch(place.name)
        if found and has_ended(found[1]):
            remove(place)


def remove(place: Path) -> None:
    """Remove a file or folder, if it is there."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        with suppress(OSError):
            place.unlink()


def reason_of(error: Exception, folder: Path) -> str:
    """Why a write failed. Libraries call a full disk `Permission denied`, or `HDF error`."""
    if not folder.is_dir():
        return f"{folder} is no folder" if folder.exists() else f"there is no folder {folder}"
    code = code_of(error)
    free = shutil.disk_usage(folder).free
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    found = f"the disk, a quota or a limit on file sizes may be reached ({text})"
    if code in REASONS:
        found = REASONS[code]
    elif code in errno.errorcode and code not in UNCLEAR:
        found = os.strerror(code)
    elif not os.access(folder, os.W_OK):
        found = f"the folder {folder} may not be written"
    elif free < FULL:
        found = REASONS[errno.ENOSPC]
    return found.replace(FREE, f"{free >> 20} MiB are free")


def code_of(error: BaseException) -> int:
    """Number of a system's error, also of one that a library has wrapped; 0 where there is none."""
    first, found = getattr(error, "errno", None) or 0, error.__context__
    while found is not None:
        code = getattr(found, "errno", None)
        if code in REASONS:
            return int(code)
        found = found.__context__
    return int(first)


def flush(place: Path) -> None:
    """Flush a file, or all files of a folder, to disk."""
    for file in place.rglob("*") if place.is_dir() else [place]:
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: str | Path) -> str:
    """Hexadecimal sha256 digest of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cache_path() -> Path:
    """Where prepared data lies: `$STATECAST_CACHE`, or `~/.cache/statecast`."""
    return Path(os.environ.get("STATECAST_CACHE") or Path.home() / ".cache" / "statecast")


def cache_folder() -> Path:
    """The folder `cache_path`, made if missing.

    Errors:
        FileError: the folder cannot be made.
    """
    folder = cache_path()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"Cannot make the cache folder {folder}: {error.strerror}. "
            "Set STATECAST_CACHE to a folder that can be written."
        ) from error
    return folder
