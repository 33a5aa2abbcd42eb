"""Prepared stores of data sets, made once from their owners' files, with a data card."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from statecast.data import DATASETS
from statecast.data.benchmarks.prepared_source import Count, PreparedSource, default_folder
from statecast.data.benchmarks.source_files import require_folder
from statecast.data.cache.entries import MANIFEST_NAME, make_entry, open_entry
from statecast.data.cache.frame_store import (
    FRAMES_NAME,
    PreparedStore,
    StoreWriter,
    open_prepared,
    write_frames,
)
from statecast.errors import CorruptionError, FileError, InputError
from statecast.io.atomic_files import cache_folder, cache_path, write_text

CARD_NAME = "README.md"  # of a store
ENTRY = r".+-[0-9a-f]{16}"  # name of an entry of the cache that is not a prepared data set
UNPREPARED = {  # data sets whose files are read as they are
    "sst": "set data.folder to the folder of its files data_1.nc, data_2.nc, …",
    "moving_digits": "set data.folder to the folder of MNIST's IDX files",
    "arrays": "set data.path to a .npy or .npz file",
    "fields": "set data.path to a NetCDF, HDF5 or Zarr file",
    "videos": "set data.path to a folder of videos",
}


class Prepared(NamedTuple):
    """A prepared entry, made now or found in the cache."""

    store: PreparedStore
    made: bool  # False if it was there already
    warnings: tuple[str, ...]


def preparable() -> dict[str, type[PreparedSource]]:
    """The data sets that are prepared from their owners' files."""
    return {name: one for name, one in DATASETS.items() if issubclass(one, PreparedSource)}


def prepare(name: str, source: str | Path, output: str | Path | None = None) -> Prepared:
    """Make the prepared store of a data set, unless it exists.

    The store appears whole or not at all. If two processes prepare it at once, the second one
    waits for the first, and uses its store.

    Args:
        name: of the data set.
        source: folder of its owner's files, which are only read.
        output: folder of the store; by default a folder of the cache.

    Errors:
        InputError: the data set needs no preparation, or a file is not what it should be.
        FileError: files are missing, or the store cannot be written.
        CorruptionError: a file or an existing store is damaged.
    """
    chosen = chosen_source(name)
    folder, source = place_of(chosen, output), Path(source)
    if folder.exists():
        store = open_prepared(folder, chosen.kind)
        return Prepared(store, False, tuple(store.notes.get("warnings", ())))
    require_folder(source)
    if folder.resolve().is_relative_to(source.resolve()):
        raise InputError(f"The store must lie outside {source}; choose another --output.")

    def write(place: Path) -> dict[str, Any]:
        def fill(writer: StoreWriter) -> dict[str, Any]:
            counts = chosen.write(source, writer)
            write_text(place / CARD_NAME, card_text(chosen, counts))
            return {
                "counts": [count._asdict() for count in counts],
                "warnings": mismatches(counts),
                "origin": chosen.origin._asdict(),
            }

        return write_frames(place, chosen.kind, fill)

    made = make_entry(folder, chosen.kind.identity, write)
    store = open_prepared(folder, chosen.kind)
    return Prepared(store, made, tuple(store.notes["warnings"]))


def verify(name: str, path: str | Path | None = None) -> PreparedStore:
    """Compare all frames of a prepared store with their recorded digest.

    Errors:
        FileError, CorruptionError: as `open_prepared`.
    """
    chosen = chosen_source(name)
    folder = default_folder(chosen.kind) if path is None else Path(path)
    return open_prepared(folder, chosen.kind, verify=True)


class Verified(NamedTuple):
    """The state of an entry of the cache."""

    folder: Path
    found: str  # in words
    damaged: bool


def verify_cache() -> Iterator[Verified]:
    """Compare every entry of the cache, including prepared data sets, with its digests."""
    known = preparable()
    for folder in sorted(path for path in cache_path().glob("[!.]*") if path.is_dir()):
        if not (folder.name in known or re.fullmatch(ENTRY, folder.name)):
            continue  # such as weights of metrics, which have digests elsewhere
        remedy = f"Delete {folder}; it is made again."
        if folder.name in known:
            remedy = f"{remedy[:-1]} by: statecast data prepare {folder.name} --source DIR."
        try:
            entry = open_entry(folder, remedy=remedy, verify=True)
        except CorruptionError as error:
            yield Verified(folder, str(error), True)
        else:
            size = sum((folder / name).stat().st_size for name in entry.files)
            yield Verified(folder, f"whole, {size >> 20} MiB", False)


def chosen_source(name: str) -> type[PreparedSource]:
    """A data set that is prepared, by name.

    Errors:
        InputError: no such data set, or it needs no preparation.
    """
    known = preparable()
    if name in UNPREPARED:
        raise InputError(f"{name} needs no preparation: {UNPREPARED[name]}.")
    if name not in known:
        made = " It is made by statecast itself." if name in DATASETS else ""
        raise InputError(
            f"{name!r} is not a data set to prepare; these are: {', '.join(known)}.{made}"
        )
    return known[name]


def place_of(chosen: type[PreparedSource], output: str | Path | None) -> Path:
    """Folder of a new store, whose parent exists.

    Errors:
        FileError: the parent cannot be made.
    """
    if output is None:
        cache_folder()
        return default_folder(chosen.kind)
    folder = Path(output)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"Cannot make {folder.parent}: {error.strerror}.") from error
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()  # an empty folder is as good as none
    return folder


def mismatches(counts: list[Count]) -> list[str]:
    """A sentence for each count that differs from the expected one."""
    return [
        f"{count.found} {count.what} were found, but {count.expected} were expected. Scores are "
        "comparable with published ones only if the files are complete."
        for count in counts
        if count.expected is not None and count.found != count.expected
    ]


def card_text(chosen: type[PreparedSource], counts: list[Count]) -> str:
    """The data card of a store, Markdown."""
    origin = chosen.origin
    found = ", ".join(f"{count.found} {count.what}" for count in counts)
    return (
        f"# {origin.title}, prepared by statecast\n\n"
        f"- source: {origin.source}\n"
        f"- licence: {origin.licence}\n"
        f"- reference: {origin.reference}\n"
        f"- found: {found}\n"
        f"- frames: `{FRAMES_NAME}`, {chosen.kind.dtype} (frame, "
        f"{', '.join(map(str, chosen.kind.frame_shape))}); sequences and digests in "
        f"`{MANIFEST_NAME}`\n"
        f"- made as: {json.dumps(chosen.kind.identity)}\n"
    )
