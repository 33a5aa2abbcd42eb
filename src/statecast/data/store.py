"""Prepared arrays on disk: made once, whole or not at all, and checked when opened."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
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
) -> np.ndarray[Any, Any]:
    """Memory-mapped float32 array of a cache entry, made from `parts` where it is missing.

    Args:
        name: of what is stored, and of the entry's folder, with a digest of the options.
        options: everything that the content follows from (JSON values).
        shape: of the whole array.
        parts: consecutive pieces along the first axis; not touched where the entry exists.

    Two processes may make the same entry at once: each writes its own folder, and the first to
    finish gives its name.

    Errors:
        CorruptionError: the stored array differs from its recorded digest.
        FileError: the cache cannot be written.
    """
    text = json.dumps({"format": FORMAT, "name": name, **options}, sort_keys=True)
    folder = cache_folder() / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    if not folder.is_dir():
        make(folder, json.loads(text), shape, parts)
    return opened(folder, shape)


def make(
    folder: Path,
    options: dict[str, Any],
    shape: tuple[int, ...],
    parts: Iterator[np.ndarray[Any, Any]],
) -> None:
    """Write an entry beside its place, and move it there when it is whole."""
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise FileError(f"Cannot write {folder.parent}: {error.strerror}.") from error
    try:
        path = temporary / ARRAY_NAME
        array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
        start = 0
        for part in parts:
            array[start : start + len(part)] = part
            start += len(part)
        array.flush()
        del array
        manifest = {"options": options, "shape": shape, "sha256": sha256_of(path)}
        write_text(temporary / MANIFEST_NAME, json.dumps(manifest, indent=1) + "\n")
        flush_folder(temporary)
        try:
            temporary.replace(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first
                raise
        flush_folder(folder.parent)
    except OSError as error:
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
