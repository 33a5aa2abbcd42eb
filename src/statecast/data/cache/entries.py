"""Entries: folders of prepared files, made once and whole, and checked when they are opened."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from statecast.errors import CorruptionError, FileError
from statecast.io.atomic_files import atomic_path, cache_folder, sha256_of, write_text
from statecast.io.json_yaml import check_own
from statecast.io.locks import exclusive_lock
from statecast.io.sealed_json import read_sealed, sealed

Array = np.ndarray[Any, np.dtype[Any]]
Write = Callable[[Path], dict[str, Any]]

ARRAY_NAME, MANIFEST_NAME, CHECKED_NAME = "values.npy", "manifest.json", "checked.json"
FORMAT = 3  # part of the names of entries: versions with other layouts may share a cache
SMALL = 64 << 20  # bytes; digests of smaller files are computed each time, in a tenth of a second
ELSEWHERE = "Set STATECAST_CACHE to use another folder as cache."


class Entry(NamedTuple):
    """An opened entry."""

    folder: Path
    options: dict[str, Any]  # everything that determines its content
    files: tuple[str, ...]
    content: dict[str, Any]  # what `write` returned when it was made


def make_entry(folder: Path, options: dict[str, Any], write: Write) -> bool:
    """Make an entry, whole or not at all; return False if another process was first.

    When several processes need one entry, the first makes it and the others wait.

    Args:
        folder: of the entry.
        options: everything that determines its content (JSON values).
        write: puts files into the folder that it is given, and returns what else to record
            (JSON values).

    Errors:
        FileError: the entry cannot be written.
        As `write`.
    """
    lock = folder.with_name(f".{folder.name}.lock")
    with exclusive_lock(lock, f"{folder} is being prepared", wait=True):
        if folder.is_dir():
            return False
        with atomic_path(folder, advice=ELSEWHERE) as place:
            place.mkdir()
            content = write(place)
            files = {
                path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
                for path in sorted(place.iterdir())
            }
            text = sealed({"options": options, "files": files, "content": content})
            write_text(place / MANIFEST_NAME, text)
    return True


def open_entry(folder: Path, *, remedy: str, verify: bool = False) -> Entry:
    """An entry, compared with its manifest.

    The manifest carries a digest of its own, and the size and digest of each file. Every opening
    checks the manifest, all sizes, and the digests of files up to `SMALL`. It checks the digest of
    a larger file only if its size or its times differ from those in `checked.json`, which the last
    check has written.

    Args:
        folder: of the entry.
        remedy: what to do about a damaged entry, as a sentence.
        verify: check all digests.

    Errors:
        CorruptionError: a file is damaged; it is named.
    """
    path = folder / MANIFEST_NAME
    try:
        manifest = read_sealed(path, required=True)
        options, files, content = (manifest[key] for key in ("options", "files", "content"))
        if any("/" in name or "\\" in name for name in files):
            raise ValueError("it describes files elsewhere")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"{path} is damaged: {str(error).rstrip('.')}. {remedy}") from error
    known = {} if verify else stamps_of(folder)
    found: dict[str, list[int]] = {}
    for name, expected in files.items():
        stamp = check_file(folder / name, expected, known.get(name), remedy)
        if stamp[0] > SMALL:
            found[name] = stamp
    with contextlib.suppress(FileError):  # where nothing can be written, nothing is remembered
        if found != known:
            write_text(folder / CHECKED_NAME, json.dumps(found) + "\n")
    return Entry(folder, options, tuple(files), content)


def stamps_of(folder: Path) -> dict[str, list[int]]:
    """Size and times that large files had when their digests were checked."""
    try:
        return dict(json.loads((folder / CHECKED_NAME).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def check_file(
    path: Path, expected: dict[str, Any], known: list[int] | None, remedy: str
) -> list[int]:
    """Size and times of a file; raise `CorruptionError` unless it is as expected."""
    try:
        check_own(path)
        state = path.stat()
        stamp = [state.st_size, state.st_mtime_ns, state.st_ctime_ns]
        if expected["bytes"] != state.st_size:
            raise CorruptionError(
                f"{path} should have {expected['bytes']} bytes, got {state.st_size}. {remedy}"
            )
        if state.st_size > SMALL and stamp == known:
            return stamp
        if sha256_of(path) != expected["sha256"]:
            raise CorruptionError(f"{path} differs from its recorded digest. {remedy}")
    except OSError as error:
        if isinstance(error, CorruptionError):
            raise
        raise CorruptionError(
            f"{path} cannot be read: {error.strerror or error}. {remedy}"
        ) from error
    return stamp


def cached(name: str, options: dict[str, Any], write: Write) -> Entry:
    """An entry of the cache, made if it is missing.

    Args:
        name: of what is stored; the folder has this name and a digest of the options.
        options: everything that determines the content (JSON values).
        write: as for `make_entry`.

    Errors:
        CorruptionError: the entry is damaged.
        FileError: the entry cannot be written.
        As `write`.
    """
    named = {"format": FORMAT, "name": name, **options}
    text = json.dumps(named, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    folder = cache_folder() / f"{name}-{digest}"
    if not folder.is_dir():
        make_entry(folder, json.loads(text), write)
    return open_entry(folder, remedy=f"Delete {folder}; it is made again.")


def open_or_make(
    name: str,
    options: dict[str, Any],
    shape: tuple[int, ...],
    parts: Iterator[Array],
    dtype: type[np.generic] = np.float32,
) -> Array:
    """A memory-mapped array of the cache, made from `parts` if it is missing.

    Args:
        name, options: as for `cached`.
        shape: of the whole array.
        parts: consecutive pieces along the first axis; not used if the entry exists.
        dtype: type of the values.

    Errors:
        CorruptionError, FileError: as `cached`.
    """

    def write(folder: Path) -> dict[str, Any]:
        write_array(folder / ARRAY_NAME, shape, parts, np.dtype(dtype))
        return {"shape": shape}

    path = cached(name, options, write).folder / ARRAY_NAME
    array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.shape != shape:
        raise CorruptionError(
            f"{path} has shape {array.shape}, expected {shape}. Delete {path.parent}; it is made "
            "again."
        )
    return array


def write_array(
    path: Path, shape: tuple[int, ...], parts: Iterator[Array], dtype: np.dtype[Any]
) -> None:
    """Write an array in pieces.

    A memory-mapped file would be shorter to write, but a full disk would kill the process.
    """
    described = {
        "descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape,
    }  # fmt: skip
    count = 0
    with path.open("xb") as stream:
        np.lib.format.write_array_header_1_0(stream, described)
        for part in parts:
            assert part.shape[1:] == shape[1:]
            stream.write(np.ascontiguousarray(part, dtype=dtype).tobytes())
            count += len(part)
    assert count == shape[0]


def folder_or_make(name: str, options: dict[str, Any], write: Callable[[Path], None]) -> Path:
    """A folder of files in the cache, made by `write` if it is missing.

    Args:
        name, options: as for `cached`.
        write: writes the files into the folder that it is given.

    Errors:
        CorruptionError, FileError: as `cached`.
    """

    def write_files(folder: Path) -> dict[str, Any]:
        write(folder)
        return {}

    return cached(name, options, write_files).folder
