"""Windows of labelled fields: from memory, a prepared file, or the data's own files."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from statecast.data.base import CutWindows
from statecast.data.cache.entries import open_or_make
from statecast.data.user.field_files import FieldFiles
from statecast.errors import InputError
from statecast.frames import Batch
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.preprocessing import Preparation

Array = np.ndarray[Any, np.dtype[Any]]
Storage = Literal["auto", "memory", "cache", "files"]
DIGEST_FRAMES = 64  # hashed at once
IN_MEMORY = 512 << 20  # bytes of prepared frames that are held in memory unless asked otherwise


def usual_storage(frames: int, shape: tuple[int, ...]) -> Literal["memory", "files"]:
    """Where to keep frames (channel, *space): in memory if they are small, else in their files."""
    return "memory" if 4 * frames * math.prod(shape) <= IN_MEMORY else "files"


class FieldStore:
    """Prepared frames of all sequences: anomalies, with unknown points added at the edges.

    Args:
        files: the fields.
        preparation: what is done to them.
        storage: `memory` reads all frames once; `cache` keeps them in a memory-mapped file of
            the cache folder; `files` reads each window when it is asked for.
        identity: what determines the content (JSON values), to name the cache entry.
    """

    def __init__(
        self,
        files: FieldFiles,
        preparation: Preparation,
        storage: Literal["memory", "cache", "files"],
        identity: dict[str, Any],
    ) -> None:
        self.files, self.preparation, self.storage = files, preparation, storage
        self.identity = identity
        self.offsets = np.concatenate([[0], np.cumsum(files.lengths)])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all frames together, (frame, channel, *space)."""
        channels = len(self.preparation.channels)
        return (int(self.offsets[-1]), channels, *self.preparation.padded)

    @cached_property
    def frames(self) -> Array:
        """All frames, one sequence after another."""
        if self.storage == "cache":
            return open_or_make("fields", self.identity, self.shape, self.parts())
        frames = np.empty(self.shape, dtype=np.float32)
        start = 0
        for part in self.parts():
            frames[start : start + len(part)] = part
            start += len(part)
        return frames

    def parts(self) -> Iterator[Array]:
        """All prepared frames in blocks."""
        for sequence, length in enumerate(self.files.lengths):
            for times, values in self.files.blocks(sequence, 0, length):
                yield self.preparation.prepare(values, times)

    def read(self, sequence: int, start: int, stop: int) -> Array:
        """Prepared frames of a sequence."""
        if self.storage != "files":
            first = self.offsets[sequence]
            return self.frames[first + start : first + stop]
        values = self.files.read(sequence, start, stop)
        return self.preparation.prepare(values, self.files.times[sequence][start:stop])


class FieldWindows(CutWindows):
    """Windows of one split.

    Args:
        store: prepared frames.
        starts, context, length, channels: see `CutWindows`.
    """

    repeats = True

    def __init__(
        self,
        store: FieldStore,
        starts: Array,
        *,
        context: int,
        length: int,
        channels: tuple[str, ...],
    ) -> None:
        if len(starts) == 0:
            raise InputError(
                f"No window of {length} frames lies in this split. Shorten context or horizon."
            )
        super().__init__(starts, context=context, length=length, channels=channels)
        self.store = store

    def batch(self, indices: Tensor) -> Batch:
        values = torch.from_numpy(self.read_each(indices, self.store.read))
        known = ~values.isnan()
        mask = None if bool(known.all()) else known
        return Batch.of(values, self.context, channels=self.channels, mask=mask)

    @property
    def sequence_numbers(self) -> Int[Tensor, " window"]:
        """The block of time that each window begins in; a block is as long as a window.

        A series is one sequence, but windows that lie far apart in it count as independent.
        """
        blocks = self.starts // np.array([1, self.length])
        _, places = np.unique(blocks, axis=0, return_inverse=True)
        return torch.from_numpy(places.reshape(-1))

    def coordinates(self, window: int) -> Coordinates:
        """Labels of a window's context frames."""
        sequence, start = map(int, self.starts[window])
        return self.store.files.coordinates(sequence, start, start + self.context)

    @cached_property
    def digest(self) -> str:
        """Digest of the frames that windows are cut from, and of where they are cut."""
        digest = hashlib.sha256(repr((self.context, self.length, self.channels)).encode())
        digest.update(np.ascontiguousarray(self.starts, dtype=np.int64).tobytes())
        for sequence in np.unique(self.starts[:, 0]):
            first = self.starts[self.starts[:, 0] == sequence, 1]
            end = int(first.max()) + self.length
            for start in range(int(first.min()), end, DIGEST_FRAMES):
                part = self.store.read(int(sequence), start, min(start + DIGEST_FRAMES, end))
                digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()
