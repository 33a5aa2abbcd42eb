"""Windows that are made from a seed and their own number, and fresh ones for training."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from statecast.data.base import DataSource, Split, Windows, window_generators
from statecast.distributed import Part
from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.nn.random import Streams

STREAMS = {"train": 1, "validation": 2, "test": 3}  # streams of random numbers
DIGEST_BATCH = 64  # windows at once while hashing


class GeneratedSource(DataSource):
    """A source of square frames whose windows are made from a seed and their own number.

    Class attributes:
        channels: names of the channels.
        value_range: smallest and largest value; None where unbounded.
    """

    channels: ClassVar[tuple[str, ...]] = ("intensity",)
    value_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    context: int
    frame_size: int
    seed: int
    horizons: dict[Split, int]
    counts: dict[Split, int]

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(
            channels=self.channels,
            space=(self.frame_size, self.frame_size),
            context=self.context,
            horizon=self.horizons["train"],
            value_range=self.value_range,
        )

    def card_of(self, name: str, **options: Any) -> dict[str, Any]:
        """The card: the options that all such sources have, and these of this source."""
        return {
            "name": name,
            "frame_size": self.frame_size,
            "context": self.context,
            "horizons": self.horizons,
            "windows": self.counts,
            "seed": self.seed,
            "source": "made by statecast",
            "licence": "Apache-2.0",
        } | options


class FreshWindows(Windows):
    """Windows of one split; training windows are made afresh and never repeat.

    Args:
        split: which one.
        count: number of windows.
    """

    def __init__(self, split: Split, count: int) -> None:
        self.split, self.count = split, count

    def __len__(self) -> int:
        return self.count

    def training_batch(self, step: int, count: int, *, seed: int) -> Batch:
        """Fresh windows, which never repeat in a training."""
        return self.training_batch_part(step, count, Part(0, count, count), seed=seed)

    def training_indices(self, step: int, count: int, *, seed: int) -> Tensor | None:
        """None: fresh windows have no numbers."""
        return None

    def check_indices(self, indices: Tensor) -> Tensor:
        """Return indices of windows; raise `InputError` if one is out of range."""
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < len(self):
            raise InputError(
                f"This split has windows 0 to {len(self) - 1}, got {int(indices.min())} to "
                f"{int(indices.max())}."
            )
        return indices


class GeneratedWindows(FreshWindows):
    """Windows of one split, each a function of the seed and its number alone.

    Args:
        split: which one.
        count: number of windows.
        seed: seed of the windows.
        card: facts that determine the training windows, for their digest.
    """

    def __init__(self, split: Split, count: int, seed: int, card: dict[str, Any]) -> None:
        super().__init__(split, count)
        self.seed, self.card = seed, card

    @abstractmethod
    def make(self, streams: Streams) -> Batch:
        """A window from each of the streams."""

    def batch(self, indices: Tensor) -> Batch:
        numbers = self.check_indices(indices)
        return self.make(window_generators(numbers, self.seed, STREAMS[self.split]))

    def training_batch_part(self, step: int, count: int, part: Part, *, seed: int) -> Batch:
        numbers = torch.arange(count)[part.rows]
        return self.make(window_generators(numbers, seed, STREAMS[self.split], step))

    @cached_property
    def digest(self) -> str:
        """Digest of all frames of a fixed split, or of the card for endless windows."""
        if self.split == "train":
            return hashlib.sha256(json.dumps(self.card, sort_keys=True).encode()).hexdigest()
        digest = hashlib.sha256()
        for start in range(0, len(self), DIGEST_BATCH):
            batch = self.batch(torch.arange(start, min(start + DIGEST_BATCH, len(self))))
            digest.update(repr((len(batch.context), len(batch.target))).encode())
            digest.update(batch.values.numpy().tobytes())
        return digest.hexdigest()
