"""Files written whole or not at all (temporary name, flush, rename), and their digests."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from statecast.errors import FileError


@contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the name `path` only when the block ends without an error.

    It is written beside its target, flushed to disk and renamed, so that a reader sees the old
    content or the new one, never a part.

    Errors:
        FileError: the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise FileError(f"Cannot write {path}: {error.strerror}.") from error
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


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


def write_with(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with a temporary path of the same suffix, then rename it to `path`.

    For libraries that insist on opening the file themselves.
    """
    path = Path(path)
    token = f"{os.getpid()}.{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.stem}.{token}.part{path.suffix}")
    try:
        write(temporary)
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


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
