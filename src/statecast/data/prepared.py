"""Prepared stores: frames of many sequences in one memory-mapped file, with a manifest."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from statecast.data.store import MANIFEST_NAME
from statecast.documents import own_file, read_json
from statecast.errors import CorruptionError, FileError, InputError
from statecast.files import sha256_of, write_text

Array = np.ndarray[Any, np.dtype[Any]]

FRAMES_NAME, CHECKED_NAME = "frames.bin", "checked.json"
FORMAT = 1  # of the store


class Kind(NamedTuple):
    """What a store must hold to be read as a certain data set."""

    name: str  # of the data set
    version: int  # changes when the same files give other frames
    frame_shape: tuple[int, ...]  # (channel, y, x)
    dtype: str  # `|u1` or `<f4`

    @property
    def identity(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {"format": FORMAT, "data": self.name, "version": self.version}


class StoredSequence(NamedTuple):
    """A sequence of a store."""

    name: str
    first: int  # its first frame
    frames: int
    sha256: str  # of its frames
    labels: dict[str, Any]  # what else is known of it


class PreparedStore(NamedTuple):
    """An opened store."""

    folder: Path
    frames: Array  # (frame, channel, y, x) of all sequences, memory-mapped
    sequences: tuple[StoredSequence, ...]
    notes: dict[str, Any]  # counts, warnings, origin

    def __reduce__(self) -> tuple[Any, ...]:
        """To a loader's worker goes where the frames are, not all that they are."""
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
    return PreparedStore(folder, map_frames(folder, dtype, shape), sequences, notes)


def map_frames(folder: Path, dtype: str, shape: tuple[int, ...]) -> Array:
    """The frames of a store, memory-mapped."""
    return np.memmap(folder / FRAMES_NAME, dtype=dtype, mode="r", shape=shape)


class StoreWriter:
    """Appends sequences to the frames of a store that is being made.

    Args:
        stream: file that the frames go to.
        kind: of the store.
    """

    def __init__(self, stream: IO[bytes], kind: Kind) -> None:
        self.stream, self.kind = stream, kind
        self.digest = hashlib.sha256()
        self.sequences: list[StoredSequence] = []
        self.frames = 0

    def add(
        self, name: str, frames: Iterable[Array], labels: Mapping[str, Any] | None = None
    ) -> int:
        """Append a sequence; the number of its frames.

        Args:
            name: of the sequence.
            frames: (channel, y, x), of the kind's shape and type.
            labels: what else is known of it (JSON values).

        Errors:
            InputError: a frame of another shape or type, or none at all.
        """
        digest, count = hashlib.sha256(), 0
        for frame in frames:
            if frame.shape != self.kind.frame_shape or frame.dtype != np.dtype(self.kind.dtype):
                raise InputError(
                    f"{name}: frame {count} should be {np.dtype(self.kind.dtype)} "
                    f"{self.kind.frame_shape}, got {frame.dtype} {frame.shape}."
                )
            content = np.ascontiguousarray(frame).tobytes()
            self.stream.write(content)
            self.digest.update(content)
            digest.update(content)
            count += 1
        if count == 0:
            raise InputError(f"{name} holds no frames.")
        self.sequences.append(
            StoredSequence(name, self.frames, count, digest.hexdigest(), dict(labels or {}))
        )
        self.frames += count
        return count

    def manifest(self) -> dict[str, Any]:
        """What is written down of the frames."""
        size = int(np.prod(self.kind.frame_shape)) * np.dtype(self.kind.dtype).itemsize
        return {
            "frames": {
                "shape": [self.frames, *self.kind.frame_shape],
                "dtype": self.kind.dtype,
                "bytes": self.frames * size,
                "sha256": self.digest.hexdigest(),
            },
            "sequences": [sequence._asdict() for sequence in self.sequences],
        }


def open_prepared(folder: Path, kind: Kind, *, verify: bool = False) -> PreparedStore:
    """A store, checked.

    Its kind and the size of its frames are compared each time; their digest on first opening, and
    again where the file's time or size has changed, which `checked.json` remembers.

    Args:
        folder: of the store.
        kind: that it must have.
        verify: compute the digest in any case.

    Errors:
        FileError: there is no store, or it is another data set's or of another version.
        CorruptionError: it is damaged.
    """
    command = f"statecast data prepare {kind.name} --source DIR"
    manifest = read_manifest(folder, kind, command)
    path = folder / FRAMES_NAME
    remedy = f"Delete {folder} and prepare it again: {command}."
    try:
        described = manifest["frames"]
        shape = tuple(described["shape"])
        sequences = tuple(StoredSequence(**sequence) for sequence in manifest["sequences"])
        state = own_file(path).stat()
        if state.st_size != described["bytes"] or shape[1:] != kind.frame_shape:
            raise CorruptionError(
                f"{path} should have {described['bytes']} bytes, got {state.st_size}. {remedy}"
            )
        check_digest(path, described["sha256"], remedy, verify=verify)
        frames = map_frames(folder, kind.dtype, shape)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CorruptionError):
            raise
        raise CorruptionError(f"{folder} cannot be read: {error}. {remedy}") from error
    return PreparedStore(folder, frames, sequences, manifest.get("notes", {}))


def read_manifest(folder: Path, kind: Kind, command: str) -> dict[str, Any]:
    """The manifest of a store of this kind; errors as `open_prepared`."""
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise FileError(
            f"There is no prepared {kind.name} in {folder}. Make it once from its owner's files: "
            f"{command}; or set data.path to where it is."
        )
    try:
        manifest: dict[str, Any] = read_json(path)
        found = manifest["options"]
        described = f"{found.get('data')} of version {found.get('version')}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptionError(
            f"{path} cannot be read: {error}. Delete {folder} and prepare it again: {command}."
        ) from error
    if found != kind.identity:
        raise FileError(
            f"{folder} holds {described} (format {found.get('format')}), expected {kind.name} of "
            f"version {kind.version} (format {FORMAT}). Prepare it again elsewhere: "
            f"{command} --output DIR, and set data.path."
        )
    return manifest


def check_digest(path: Path, expected: str, remedy: str, *, verify: bool) -> None:
    """Raise `CorruptionError` unless a file has its digest; remembered until the file changes."""
    state = path.stat()
    stamp = {"bytes": state.st_size, "modified": state.st_mtime_ns}
    checked = path.with_name(CHECKED_NAME)
    if not verify and checked.is_file():
        try:
            if read_json(checked) == stamp:
                return
        except (OSError, ValueError):
            pass  # cut off: the digest is computed again
    if sha256_of(path) != expected:
        raise CorruptionError(f"{path} differs from its recorded digest. {remedy}")
    with contextlib.suppress(FileError):  # a folder that cannot be written is checked each time
        write_text(checked, json.dumps(stamp) + "\n")
