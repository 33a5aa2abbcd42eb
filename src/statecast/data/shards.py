"""Frames of many clips on disk: bytes in memory-mapped shards, with a manifest and digests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from statecast.data.store import MANIFEST_NAME, entry_of, place
from statecast.errors import CorruptionError
from statecast.files import sha256_of

Array = np.ndarray[Any, np.dtype[Any]]

SHARD_BYTES = 256 << 20  # a shard is closed once it holds as much; a clip lies in one shard


class StoredClip(NamedTuple):
    """A clip of a store."""

    name: str
    frames: int
    shard: int
    first: int  # its first frame in the shard
    sha256: str  # of its frames


class ShardWriter:
    """Writes clips one after another into the shards of a folder.

    Args:
        folder: where.
        frame_shape: of each frame, bytes (channel, y, x).
    """

    def __init__(self, folder: Path, frame_shape: tuple[int, ...]) -> None:
        self.folder, self.frame_bytes = folder, int(np.prod(frame_shape))
        self.clips: list[StoredClip] = []
        self.shards: list[int] = []  # frames of each
        self.stream: IO[bytes] | None = None
        self.open_files = ExitStack()

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.open_files.close()

    def add(self, name: str, frames: Iterable[Array]) -> None:
        """Append a clip; where its frames end with an error, the shard is as it was before."""
        if self.stream is None or self.shards[-1] * self.frame_bytes >= SHARD_BYTES:
            self.flush()
            self.stream = self.open_files.enter_context(
                (self.folder / shard_name(len(self.shards))).open("wb")
            )
            self.shards.append(0)
        digest, count, first = hashlib.sha256(), 0, self.shards[-1]
        try:
            for frame in frames:
                content = np.ascontiguousarray(frame).tobytes()
                self.stream.write(content)
                digest.update(content)
                count += 1
        except BaseException:
            self.stream.seek(first * self.frame_bytes)
            self.stream.truncate()
            raise
        self.clips.append(StoredClip(name, count, len(self.shards) - 1, first, digest.hexdigest()))
        self.shards[-1] += count

    def flush(self) -> None:
        """Bring the open shard to disk."""
        if self.stream is not None:
            self.stream.flush()
            os.fsync(self.stream.fileno())


class FrameStore:
    """Frames of clips, memory-mapped; a loader's workers share them.

    Attributes:
        clips: what it holds.
        notes: what else was written down when it was made.
    """

    def __init__(self, shards: list[Array], clips: list[StoredClip], notes: dict[str, Any]) -> None:
        self.shards, self.clips, self.notes = shards, clips, notes

    def read(self, clip: int, start: int, stop: int) -> Array:
        """Frames of a clip from `start` up to `stop`, bytes (time, channel, y, x)."""
        stored = self.clips[clip]
        assert 0 <= start < stop <= stored.frames
        found: Array = self.shards[stored.shard][stored.first + start : stored.first + stop]
        return found


def open_or_build(
    name: str,
    options: dict[str, Any],
    frame_shape: tuple[int, ...],
    build: Callable[[ShardWriter], dict[str, Any]],
) -> FrameStore:
    """The store that follows from these options, built where it is missing.

    Args:
        name: of what is stored.
        options: everything that the content follows from (JSON values).
        frame_shape: of each frame, (channel, y, x).
        build: writes all clips, and returns notes (JSON values) to be kept.

    Made once, whole or not at all; two processes may build it at once.

    Errors:
        CorruptionError: a shard differs from its recorded digest.
        FileError: the cache cannot be written; and what `build` raises.
    """
    folder, text = entry_of(name, options)
    if not folder.is_dir():

        def write(temporary: Path) -> dict[str, Any]:
            with ShardWriter(temporary, frame_shape) as writer:
                notes = build(writer)
                writer.flush()
            return {
                "notes": notes,
                "shards": [
                    {"frames": frames, "sha256": sha256_of(temporary / shard_name(number))}
                    for number, frames in enumerate(writer.shards)
                ],
                "clips": [clip._asdict() for clip in writer.clips],
            }

        place(folder, json.loads(text), write)
    return open_store(folder, frame_shape)


def open_store(folder: Path, frame_shape: tuple[int, ...]) -> FrameStore:
    """A store, each shard checked against its digest.

    Errors:
        CorruptionError: it is damaged.
    """
    remedy = f"Delete {folder}; it is made again."
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text())
        shards: list[Array] = []
        for number, shard in enumerate(manifest["shards"]):
            path = folder / shard_name(number)
            if sha256_of(path) != shard["sha256"]:
                raise CorruptionError(f"{path} differs from its recorded digest. {remedy}")
            shape = (int(shard["frames"]), *frame_shape)
            empty = 0 in shape  # nothing can be mapped
            shards.append(
                np.empty(shape, np.uint8) if empty
                else np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
            )  # fmt: skip
        clips = [StoredClip(**clip) for clip in manifest["clips"]]
        return FrameStore(shards, clips, dict(manifest["notes"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, CorruptionError):
            raise
        raise CorruptionError(f"{folder} cannot be read: {error}. {remedy}") from error


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"frames-{number:04d}.u8"
