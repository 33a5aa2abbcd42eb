"""inspect_path: says what a path is by its content, and lets the right reader look at it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from statecast.errors import CorruptionError, FileError
from statecast.io.fields.kinds import is_labelled_file, is_remote, labelled_files
from statecast.io.hdf5 import HDF5
from statecast.io.hdf5 import MAGIC as HDF5_MAGIC
from statecast.io.video.containers import START, is_text, sniff
from statecast.io.video.images import IMAGE_ENDINGS
from statecast.reports.inspection.arrays import inspect_hdf5, inspect_npy, inspect_npz
from statecast.reports.inspection.checkpoints import (
    inspect_idx,
    inspect_mnist,
    inspect_official,
    inspect_run,
    is_mnist,
)
from statecast.reports.inspection.fields import inspect_fields
from statecast.reports.inspection.findings import Finding, one_line
from statecast.reports.inspection.videos import inspect_clips
from statecast.runs.folders import CONFIG_NAME
from statecast.runs.official.loading import is_official

LISTED = 6  # names of a folder without anything known


def inspect_path(path: str | Path | Sequence[str], *, quick: bool = False) -> Finding:
    """What a file or folder holds, and how it would be read.

    Args:
        path: a video, a folder of videos or images, an array, a run folder, a published checkpoint,
            or MNIST's files; or fields: a NetCDF file or Zarr store, a folder, a pattern, or a
            list of them.
        quick: believe what videos state of themselves; by default they are decoded, which finds
            the damaged ones.

    Errors:
        FileError, CorruptionError: it is missing, damaged, or nothing that is read here.
    """
    named = [str(path)] if isinstance(path, str | Path) else list(map(str, path))
    path = Path(named[0])
    if not path.exists() or len(named) > 1:
        fields = labelled_files(named)
        if not fields or not (is_remote(path) or fields[0].exists()):
            raise FileError(f"There is no file or folder {' '.join(named)}.")
        finding = inspect_fields(fields, named=named)
    else:
        finding = folder_reader(path, quick)() if path.is_dir() else file_reader(path, quick)()
    finding.kind = f"{one_line(path)}: {finding.kind[:1].lower()}{finding.kind[1:]}"
    return finding


def folder_reader(path: Path, quick: bool) -> Callable[[], Finding]:
    """What looks at a folder.

    Errors:
        FileError: nothing in it is known.
    """
    if (path / CONFIG_NAME).is_file():
        return lambda: inspect_run(path)
    if is_official(path):
        return lambda: inspect_official(path)
    fields = labelled_files(path)
    if fields:
        return lambda: inspect_fields(fields, named=[str(path)])
    if is_mnist(path):
        return lambda: inspect_mnist(path)
    known = (*HDF5, ".npy", ".npz")
    others = sorted(p.name for p in path.iterdir() if p.suffix.lower() in known)
    if others:
        more = f" and {len(others) - LISTED} more" if len(others) > LISTED else ""
        raise FileError(
            f"{path} holds {', '.join(map(one_line, others[:LISTED]))}{more}; inspect one of them."
        )
    return lambda: inspect_clips(path, quick=quick)


def file_reader(path: Path, quick: bool) -> Callable[[], Finding]:
    """What looks at a file, by how it begins.

    Errors:
        FileError: nothing reads such a file.
        CorruptionError: it is empty.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(START)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.") from error
    if not start:
        raise CorruptionError(f"{path} is empty.")
    labelled = is_labelled_file(path)
    if start.startswith(HDF5_MAGIC) and not labelled:
        return lambda: inspect_hdf5(path)
    if sniff(start) is not None:
        return lambda: inspect_clips(path, quick=quick)
    readers: tuple[tuple[bool, Callable[[Path], Finding]], ...] = (
        (labelled, lambda path: inspect_fields([path])),
        (start.startswith(b"\x93NUMPY"), inspect_npy),
        (start.startswith(b"PK") and path.suffix.lower() == ".npz", inspect_npz),
        (start.startswith(b"\0\0\x08") or "-idx" in path.name, inspect_idx),
    )
    for fits, reader in readers:
        if fits:
            return lambda: reader(path)
    raise FileError(f"{path} {unknown(path, start)}")


def unknown(path: Path, start: bytes) -> str:
    """Why a file is none that is read here."""
    if path.suffix.lower() in IMAGE_ENDINGS:
        return "is one image; a video is a folder of them, so inspect the folder."
    if is_text(start):
        return "is text; videos, arrays, NetCDF, Zarr, HDF5 and run folders are read."
    return f"is of an unknown kind: it begins with {start[:8].hex(' ')}."
