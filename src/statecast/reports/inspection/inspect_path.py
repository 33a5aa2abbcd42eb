"""inspect_path: recognises a path by its content, and inspects it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from statecast.data.user.array_files import SIGNATURES, is_array_file, is_hdf5, is_torch
from statecast.errors import CorruptionError, FileError
from statecast.io.fields.kinds import (
    NETCDF,
    UNKNOWN,
    is_labelled_file,
    labelled_files,
    other_kind,
)
from statecast.io.paths import existing_paths, is_remote
from statecast.io.video.containers import beginning_of, is_text, sniff
from statecast.io.video.discovery import find_clips
from statecast.io.video.images import IMAGE_ENDINGS, has_pages
from statecast.reports.inspection.arrays import inspect_arrays
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

LISTED = 6  # names in an error about a folder, at most


def inspect_path(path: str | Path | Sequence[str], *, quick: bool = False) -> Finding:
    """Inspect a file or folder, and find out how it would be read.

    Args:
        path: what `data.path` takes, including patterns and several paths: videos, images, arrays,
            NetCDF files or Zarr stores; or a run folder, a published checkpoint, or the files of
            MNIST.
        quick: whether to trust the headers of videos; by default videos are decoded, which finds
            damaged ones.

    Errors:
        FileError, CorruptionError: the path is missing, damaged, or of an unknown kind.
    """
    named = [str(path)] if isinstance(path, str | Path) else list(map(str, path))
    if len(named) > 1 or not Path(named[0]).exists():
        fields = labelled_files(named)
        if fields and (is_remote(named[0]) or fields[0].exists()):
            return titled(inspect_fields(fields, named=named), named[0])
    paths = existing_paths(named)
    if len(paths) > 1:
        return (
            inspect_arrays(paths) if is_array_file(paths[0]) else inspect_clips(paths, quick=quick)
        )
    path = paths[0]
    finding = folder_reader(path, quick)() if path.is_dir() else file_reader(path, quick)()
    return titled(finding, path)


def titled(finding: Finding, path: str | Path) -> Finding:
    """A finding whose kind begins with the path."""
    abbreviation = finding.kind[:2].isupper() and finding.kind[1:2] != " "
    kind = finding.kind if abbreviation else finding.kind[:1].lower() + finding.kind[1:]
    finding.kind = f"{one_line(path)}: {kind}"
    return finding


def folder_reader(path: Path, quick: bool) -> Callable[[], Finding]:
    """The inspection for a folder.

    Errors:
        FileError: the folder holds nothing that can be inspected as a whole.
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
    if any(is_array_file(p) and not is_torch(p) for p in path.rglob("*")) and not has_clips(path):
        return lambda: inspect_arrays(path)
    known = (*NETCDF, ".zarr")
    others = sorted(p.name for p in path.iterdir() if p.suffix.lower() in known)
    if others:
        more = f" and {len(others) - LISTED} more" if len(others) > LISTED else ""
        raise FileError(
            f"{path} holds {', '.join(map(one_line, others[:LISTED]))}{more}; inspect one of them."
        )
    return lambda: inspect_clips(path, quick=quick)


def has_clips(path: Path) -> bool:
    """Whether a folder holds videos."""
    try:
        return bool(find_clips(path).clips)
    except FileError:
        return False


def file_reader(path: Path, quick: bool) -> Callable[[], Finding]:
    """The inspection for a file, chosen by its first bytes.

    Errors:
        FileError: the kind of file is unknown.
        CorruptionError: the file is empty.
    """
    start = beginning_of(path)
    if not start:
        raise CorruptionError(f"{path} is empty.")
    labelled = is_labelled_file(path)
    if not labelled and (is_hdf5(path) or start.startswith(SIGNATURES) or is_array_file(path)):
        return lambda: inspect_arrays(path)
    if not labelled and (sniff(start) is not None or has_pages(path)):
        return lambda: inspect_clips(path, quick=quick)
    readers: tuple[tuple[bool, Callable[[Path], Finding]], ...] = (
        (labelled, lambda path: inspect_fields([path])),
        (start.startswith(b"\0\0\x08") or "-idx" in path.name, inspect_idx),
    )
    for fits, reader in readers:
        if fits:
            return lambda: reader(path)
    raise FileError(f"{path} {unknown(path, start)}")


def unknown(path: Path, start: bytes) -> str:
    """The reason why a file cannot be read."""
    if path.suffix.lower() in IMAGE_ENDINGS:
        return "is one image. A video is a folder of images: inspect the folder."
    if is_text(start):
        return "is text. Give videos, arrays, NetCDF, Zarr, HDF5 or a run folder."
    answer = other_kind(start)
    if answer != UNKNOWN:
        return f"cannot be read: {answer}"
    return f"is of an unknown kind: it begins with {start[:8].hex(' ')}."
