"""Prepared arrays on disk: made once, whole or not at all, and checked when opened."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import CorruptionError, FileError
from statecast.files import cache_folder, flush_folder, sha256_of, write_text

ARRAY_NAME, MANIFEST_NAME = "values.npy", "manifest.json"
FORMAT = 1  # of the store


def open_or_make(
    name: str,
    options: dict[str, Any],
    shape: tuple[int, ...],
    parts: Iterator[np.ndarray[Any, Any]],
    dtype: type[np.generic] = np.float32,
) -> np.ndarray[Any, Any]:
    """Memory-mapped array of a cache entry, made from `parts` where it is missing.

    Args:
        name: of what is stored, and of the entry's folder, with a digest of the options.
        options: everything that the content follows from (JSON values).
        shape: of the whole array.
        parts: consecutive pieces along the first axis; not touched where the entry exists.
        dtype: type of the values.

    Two processes may make the same entry at once: each writes its own folder, and the first to
    finish gives its name.

    Errors:
        CorruptionError: the stored array differs from its recorded digest.
        FileError: the cache cannot be written.
    """
    folder, text = entry_of(name, options)
    if not folder.is_dir():
        make(folder, json.loads(text), shape, parts, dtype)
    return opened(folder, shape)


def entry_of(name: str, options: dict[str, Any]) -> tuple[Path, str]:
    """Folder of a cache entry, and its options as text."""
    text = json.dumps({"format": FORMAT, "name": name, **options}, sort_keys=True)
    return cache_folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}", text


def folder_or_make(name: str, options: dict[str, Any], write: Callable[[Path], None]) -> Path:
    """Folder of a cache entry made of files, which `write` puts there where it is missing.

    Args:
        name: of what is stored, and of the entry's folder, with a digest of the options.
        options: everything that the content follows from (JSON values).
        write: writes the files into the folder that it is given.

    Errors:
        CorruptionError: a file differs from its recorded digest, or is missing.
        FileError: the cache cannot be written.
    """
    folder, text = entry_of(name, options)
    if not folder.is_dir():

        def write_files(temporary: Path) -> dict[str, Any]:
            write(temporary)
            return {"files": {p.name: sha256_of(p) for p in sorted(temporary.iterdir())}}

        place(folder, json.loads(text), write_files)
    remedy = f"Delete {folder}; it is made again."
    try:
        for file, digest in json.loads((folder / MANIFEST_NAME).read_text())["files"].items():
            if sha256_of(folder / file) != digest:
                raise CorruptionError(f"{folder / file} differs from its recorded digest. {remedy}")
    except (OSError, ValueError, KeyError, AttributeError) as error:
        if isinstance(error, CorruptionError):
            raise
        raise CorruptionError(f"{folder} cannot be read: {error}. {remedy}") from error
    return folder


def make(
    folder: Path,
    options: dict[str, Any],
    shape: tuple[int, ...],
    parts: Iterator[np.ndarray[Any, Any]],
    dtype: type[np.generic] = np.float32,
) -> None:
    """Write an entry that is one array, made of its parts."""

    def write(temporary: Path) -> dict[str, Any]:
        path = temporary / ARRAY_NAME
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        start = 0
        for part in parts:
            array[start : start + len(part)] = part
            start += len(part)
        array.flush()
        del array
        return {"shape": shape, "sha256": sha256_of(path)}

    place(folder, options, write)


def place(folder: Path, options: dict[str, Any], write: Callable[[Path], dict[str, Any]]) -> None:
    """Write an entry beside its place, and move it there when it is whole.

    `write` puts files into the folder that it is given, and returns what the manifest says of
    them.
    """
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise FileError(f"Cannot write {folder.parent}: {error.strerror}.") from error
    try:
        manifest = {"options": options, **write(temporary)}
        write_text(temporary / MANIFEST_NAME, json.dumps(manifest, indent=1) + "\n")
        flush_folder(temporary)
        try:
            temporary.replace(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first
                raise
        flush_folder(folder.parent)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"Cannot write {folder}: {error.strerror or error}. Free space, or set "
            "STATECAST_CACHE to another folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def opened(folder: Path, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    """The array of an entry, checked against its manifest."""
    path = folder / ARRAY_NAME
    remedy = f"Delete {folder}; it is made again."
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text())
        digest = sha256_of(path)
        if digest != manifest["sha256"]:
            raise CorruptionError(f"{path} differs from its recorded digest. {remedy}")
        array: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CorruptionError):
            raise
        raise CorruptionError(f"{folder} cannot be read: {error}. {remedy}") from error
    if array.shape != shape:
        raise CorruptionError(f"{path} has shape {array.shape}, expected {shape}. {remedy}")
    return array
