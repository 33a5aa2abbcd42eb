"""Frames of many sequences in one memory-mapped file: of prepared data sets, and of videos."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from statecast.data.cache.entries import MANIFEST_NAME, Entry, cached, open_entry
from statecast.errors import CorruptionError, FileError, InputError

Array = np.ndarray[Any, np.dtype[Any]]

FRAMES_NAME = "frames.bin"
SERIES_NAME = "series.bin"
FORMAT = 1  # of the frames and their manifest


class Kind(NamedTuple):
    """Format of the store of a data set."""

    name: str  # of the data set
    version: int  # changes when the same files give other frames
    frame_shape: tuple[int, ...]  # (channel, y, x)
    dtype: str  # `|u1` or `<f4`
    series: int = 0  # numbers stored beside each frame, as float32, such as a robot's actions

    @property
    def identity(self) -> dict[str, Any]:
        """The entries by which a manifest names this kind."""
        return {"format": FORMAT, "data": self.name, "version": self.version}


class StoredSequence(NamedTuple):
    """A sequence of a store."""

    name: str
    first: int  # its first frame
    frames: int
    sha256: str  # of its frames, and of what is stored beside them
    labels: dict[str, Any]  # what else is known of it


class PreparedStore(NamedTuple):
    """An opened store."""

    folder: Path
    frames: Array  # (frame, channel, y, x) of all sequences, memory-mapped
    sequences: tuple[StoredSequence, ...]
    notes: dict[str, Any]  # what else was recorded, such as counts and warnings
    series: Array  # (frame, number) beside the frames, memory-mapped; (frame, 0) if there are none

    def read(self, sequence: int, start: int, stop: int) -> Array:
        """Frames of a sequence from `start` up to `stop`, (time, channel, y, x)."""
        stored = self.sequences[sequence]
        assert 0 <= start < stop <= stored.frames
        return self.frames[stored.first + start : stored.first + stop]

    def digest_of(self, starts: Array, how: tuple[object, ...]) -> str:
        """Digest of the sequences that windows are cut from, and of how they are cut.

        Args:
            starts: (window, 2), the sequence and the first frame of each window.
            how: the other numbers and names that determine the windows.
        """
        digest = hashlib.sha256(repr(how).encode())
        numbers, places = np.unique(starts[:, 0], return_inverse=True)
        for number in numbers:
            digest.update(self.sequences[int(number)].sha256.encode())
        cuts = np.stack([places.reshape(-1), starts[:, 1]], axis=1)
        digest.update(np.ascontiguousarray(cuts, dtype=np.int64).tobytes())
        return digest.hexdigest()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the place of the frames, not the frames, for a loader's worker."""
        how = (self.folder, self.frames.dtype.str, self.frames.shape)
        return (mapped_again, (*how, self.sequences, self.notes))


def mapped_again(
    folder: Path,
    dtype: str,
    shape: tuple[int, ...],
    sequences: tuple[StoredSequence, ...],
    notes: dict[str, Any],
) -> PreparedStore:
    """A store that was opened and checked before."""
    frames, series = map_frames(folder, dtype, shape), map_series(folder, shape[0])
    return PreparedStore(folder, frames, sequences, notes, series)


def map_frames(folder: Path, dtype: str, shape: tuple[int, ...]) -> Array:
    """The frames of a store, memory-mapped."""
    return np.memmap(folder / FRAMES_NAME, dtype=dtype, mode="r", shape=shape)


def map_series(folder: Path, frames: int) -> Array:
    """The numbers beside the frames of a store, memory-mapped; (frame, 0) if there are none."""
    path = folder / SERIES_NAME
    if not path.exists():
        return np.empty((frames, 0), np.float32)
    return np.memmap(path, dtype="<f4", mode="r").reshape(frames, -1)


class StoreWriter:
    """Appends sequences to the frames of a store that is being made.

    Args:
        stream: file of the frames.
        kind: of the store.
        beside: file of the numbers beside the frames; None if the kind has none.
    """

    def __init__(self, stream: IO[bytes], kind: Kind, beside: IO[bytes] | None = None) -> None:
        self.stream, self.kind, self.beside = stream, kind, beside
        self.sequences: list[StoredSequence] = []
        self.frames = 0

    def add(
        self,
        name: str,
        frames: Iterable[Array],
        labels: Mapping[str, Any] | None = None,
        series: Array | None = None,
    ) -> int:
        """Append a sequence, and return the number of its frames.

        After an error the store is as it was.

        Args:
            name: of the sequence.
            frames: (channel, y, x), of the kind's shape and type.
            labels: what else is known of it (JSON values).
            series: numbers beside each frame, (time, number), if the kind has any.

        Errors:
            InputError: there is no frame, or a frame or `series` has another shape or type.
        """
        digest, count, start = hashlib.sha256(), 0, self.stream.tell()
        try:
            for frame in frames:
                self.check(name, count, frame)
                content = np.ascontiguousarray(frame).tobytes()
                self.stream.write(content)
                digest.update(content)
                count += 1
            if count == 0:
                raise InputError(f"{name} holds no frames.")
            digest.update(self.write_series(name, count, series))
        except Exception:
            self.stream.seek(start)
            self.stream.truncate()
            raise
        self.sequences.append(
            StoredSequence(name, self.frames, count, digest.hexdigest(), dict(labels or {}))
        )
        self.frames += count
        return count

    def write_series(self, name: str, count: int, series: Array | None) -> bytes:
        """Append the numbers beside `count` frames, and return their bytes."""
        found = np.empty((count, 0)) if series is None else series
        if found.shape != (count, self.kind.series):
            raise InputError(
                f"{name} should have {self.kind.series} numbers beside each of {count} frames, "
                f"got {found.shape}."
            )
        content = found.astype("<f4").tobytes()
        if self.beside is not None:
            self.beside.write(content)
        return content

    def check(self, name: str, number: int, frame: Array) -> None:
        """Raise `InputError` unless a frame is of the kind's shape and type."""
        if frame.shape != self.kind.frame_shape or frame.dtype != np.dtype(self.kind.dtype):
            raise InputError(
                f"{name}: frame {number} should be {np.dtype(self.kind.dtype)} "
                f"{self.kind.frame_shape}, got {frame.dtype} {frame.shape}."
            )


def write_frames(
    folder: Path, kind: Kind, write: Callable[[StoreWriter], dict[str, Any]]
) -> dict[str, Any]:
    """Write the frames of a store, and return what its manifest should hold.

    Args:
        folder: where to write.
        kind: of the store.
        write: adds all sequences, and returns notes (JSON values).
    """
    with ExitStack() as files:
        stream = files.enter_context((folder / FRAMES_NAME).open("xb"))
        beside = files.enter_context((folder / SERIES_NAME).open("xb")) if kind.series else None
        writer = StoreWriter(stream, kind, beside)
        notes = write(writer)
    return {
        "shape": [writer.frames, *kind.frame_shape],
        "dtype": kind.dtype,
        "sequences": [sequence._asdict() for sequence in writer.sequences],
        "notes": notes,
    }


def store_in(entry: Entry, kind: Kind, remedy: str) -> PreparedStore:
    """The frames of an entry.

    Errors:
        CorruptionError: they are not of this kind.
    """
    try:
        shape = tuple(entry.content["shape"])
        sequences = tuple(StoredSequence(**one) for one in entry.content["sequences"])
        if shape[1:] != kind.frame_shape or entry.content["dtype"] != kind.dtype:
            raise ValueError(f"frames of {entry.content['dtype']} {shape[1:]}")
        frames = map_frames(entry.folder, kind.dtype, shape)
        series = map_series(entry.folder, shape[0])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"{entry.folder} cannot be read: {error}. {remedy}") from error
    return PreparedStore(entry.folder, frames, sequences, entry.content["notes"], series)


def cached_frames(
    kind: Kind, options: dict[str, Any], write: Callable[[StoreWriter], dict[str, Any]]
) -> PreparedStore:
    """A store of the cache, made if it is missing.

    Args:
        kind: of the store; the entry has the name of the kind.
        options: everything that determines the content (JSON values).
        write: as for `write_frames`.

    Errors:
        CorruptionError, FileError: as `cached`.
        As `write`.
    """
    entry = cached(kind.name, options, lambda folder: write_frames(folder, kind, write))
    return store_in(entry, kind, f"Delete {entry.folder}; it is made again.")


def open_prepared(folder: Path, kind: Kind, *, verify: bool = False) -> PreparedStore:
    """The store of a prepared data set, checked as `open_entry` says.

    Args:
        folder: of the store.
        kind: which it must have.
        verify: check all digests.

    Errors:
        FileError: there is no store, or one of another data set or version.
        CorruptionError: it is damaged.
    """
    command = f"statecast data prepare {kind.name} --source DIR"
    if not (folder / MANIFEST_NAME).is_file():
        raise FileError(
            f"There is no prepared {kind.name} in {folder}. Make it once from its owner's files: "
            f"{command}; or set data.path to where it is."
        )
    remedy = f"Delete {folder} and prepare it again: {command}."
    entry = open_entry(folder, remedy=remedy, verify=verify)
    found = entry.options
    if found != kind.identity:
        raise FileError(
            f"{folder} holds {found.get('data', found.get('name'))} of version "
            f"{found.get('version')} (format {found.get('format')}), expected {kind.name} of "
            f"version {kind.version} (format {FORMAT}). Prepare it again elsewhere: "
            f"{command} --output DIR, and set data.path."
        )
    return store_in(entry, kind, remedy)
