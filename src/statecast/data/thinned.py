"""Any data set with frames left out at random, as if they had never arrived."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from statecast.data.base import (
    SPLITS,
    DataSource,
    InferredOption,
    Split,
    Windows,
    seeded_generator,
    window_generators,
)
from statecast.distributed import Part
from statecast.errors import InputError
from statecast.frames import Batch, Forecast, Frames, FrameSpec
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.preprocessing import Preparation
from statecast.nn.random import PartGenerator, Streams, uniform

STREAM = 13  # of random numbers, apart from those of windows


class ThinnedSource(DataSource):
    """A data set with frames missing at random.

    The first and the last frame of each context always remain, and so do the targets of
    validation and test windows, which are scored.

    Args:
        source: the complete data set.
        thin: probability that a frame is missing.
    """

    def __init__(self, source: DataSource, *, thin: float) -> None:
        if not 0 <= thin < 1:
            raise InputError(f"data.thin must lie in [0, 1), got {thin}.")
        self.source, self.thin = source, thin

    @property
    def spec(self) -> FrameSpec:
        return self.source.spec

    def windows(self, split: Split) -> ThinnedWindows:
        return ThinnedWindows(self.source.windows(split), split, self.thin)

    @property
    def card(self) -> dict[str, Any]:
        return {**self.source.card, "thin": self.thin}

    @property
    def inferred_options(self) -> Sequence[InferredOption]:
        return self.source.inferred_options

    @property
    def preparation(self) -> Preparation | None:
        return self.source.preparation


class ThinnedWindows(Windows):
    """Windows with missing frames; each time a window is read, the same frames are missing.

    Args:
        windows: the complete windows.
        split: which one they are of.
        thin: probability that a frame is missing.
    """

    def __init__(self, windows: Windows, split: Split, thin: float) -> None:
        self.windows, self.split, self.thin = windows, split, thin
        self.stream = (STREAM, SPLITS.index(split))

    @property
    def repeats(self) -> bool:  # type: ignore[override]
        """Whether windows repeat in a larger batch."""
        return self.windows.repeats

    def __len__(self) -> int:
        return len(self.windows)

    def batch(self, indices: Tensor) -> Batch:
        return self.thinned(self.windows.batch(indices), window_generators(indices, *self.stream))

    def training_indices(self, step: int, count: int, *, seed: int) -> Tensor | None:
        return self.windows.training_indices(step, count, seed=seed)

    def training_batch(self, step: int, count: int, *, seed: int) -> Batch:
        return self.training_batch_part(step, count, Part(0, count, count), seed=seed)

    def training_batch_part(self, step: int, count: int, part: Part, *, seed: int) -> Batch:
        numbers = self.training_indices(step, count, seed=seed)
        if numbers is not None:
            return self.batch(numbers[part.rows])
        whole = self.windows.training_batch_part(step, count, part, seed=seed)
        return self.thinned(whole, PartGenerator(seeded_generator(seed, *self.stream, step), part))

    def thinned(self, batch: Batch, generator: Streams | PartGenerator) -> Batch:
        """The batch without some of its frames."""
        length = len(batch.context) + len(batch.target)
        drawn = uniform((len(batch), length), torch.zeros(1), generator)
        kept = drawn >= self.thin
        last = len(batch.context) - 1
        kept[:, [0, last]] = True
        if self.split != "train":
            kept[:, last + 1 :] = True
        before, after = kept[:, : last + 1], kept[:, last + 1 :]
        return replace(
            batch, context=without(batch.context, before), target=without(batch.target, after)
        )

    def to_score_units(self, forecast: Forecast, batch: Batch) -> tuple[Forecast, Frames]:
        return self.windows.to_score_units(forecast, batch)

    def coordinates(self, window: int) -> Coordinates | None:
        return self.windows.coordinates(window)

    def scored_spec(self, spec: FrameSpec) -> FrameSpec:
        return self.windows.scored_spec(spec)

    @cached_property
    def digest(self) -> str:
        """Digest of the whole windows and of how they are thinned."""
        content = f"{self.split} without {self.thin!r} of {self.windows.digest}"
        return hashlib.sha256(content.encode()).hexdigest()


def without(frames: Frames, kept: Bool[Tensor, "batch time"]) -> Frames:
    """Frames with some of them unknown; unchanged where all are kept."""
    if bool(kept.all()):
        return frames
    there = kept.view(*kept.shape, *[1] * (frames.values.ndim - 2))
    mask = frames.known & there
    return replace(frames, values=frames.values.masked_fill(~mask, torch.nan), mask=mask)
