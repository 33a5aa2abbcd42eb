"""Windows of a prepared store: sequences of any length, cut at given starts."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statecast.data.base import CutWindows, Split, seeded_generator
from statecast.data.benchmarks.prepared_source import PreparedSource
from statecast.data.cache.frame_store import PreparedStore, StoredSequence
from statecast.errors import InputError
from statecast.frames import Batch

Array = np.ndarray[Any, np.dtype[Any]]

LARGEST_BYTE = 255.0
HOLD_OUT_SEED = 42  # of NumPy's older generator, as published
TRAINED_SHARE = 0.95  # of the training sequences; the rest is for validation, as published


class StoredWindows(CutWindows):
    """Windows of one split.

    Args:
        store: prepared frames.
        starts, context, length, channels: see `CutWindows`.
        frame_step: stored frames from one frame of a window to the next.
        scale: stored values that become 0 and 1.
        backwards: whether frames follow each other from the last to the first.
        actions: how many of the numbers stored beside each frame, the first ones, are an agent's
            action; the others are its state. 0 for windows without actions.
    """

    def __init__(
        self,
        store: PreparedStore,
        starts: Array,
        *,
        context: int,
        length: int,
        channels: tuple[str, ...],
        frame_step: int = 1,
        scale: tuple[float, float] = (0.0, LARGEST_BYTE),
        backwards: bool = False,
        actions: int = 0,
    ) -> None:
        super().__init__(starts, context=context, length=length, channels=channels)
        self.store, self.frame_step, self.scale = store, frame_step, scale
        self.backwards, self.actions = backwards, actions
        self.firsts = np.array([sequence.first for sequence in store.sequences])

    def batch(self, indices: Tensor) -> Batch:
        return self.cut(self.starts[indices.numpy()])

    def cut(self, starts: Array) -> Batch:
        """The windows that begin here, (window, 2)."""
        sequence, first = starts.T
        steps = np.arange(self.length) * self.frame_step
        if self.backwards:
            steps = steps[::-1]
        places = (self.firsts[sequence] + first)[:, None] + steps
        low, high = self.scale
        frames = torch.from_numpy(np.asarray(self.store.frames[places]))
        values = frames.float().sub_(low).div_(high - low)
        actions = states = None
        if self.actions:
            beside = torch.from_numpy(np.asarray(self.store.series[places]))
            actions, states = beside[:, :-1, : self.actions], beside[:, :, self.actions :]
        return Batch.of(
            values, self.context, channels=self.channels, actions=actions, agent_states=states
        )

    @cached_property
    def digest(self) -> str:
        """Digest of the sequences that windows are cut from, and of how they are cut."""
        how = (self.context, self.length, self.frame_step, self.scale, self.backwards)
        return self.store.digest_of(self.starts, how)


class RandomClips(StoredWindows):
    """Windows drawn in training as published: a random sequence, then a random start."""

    def training_indices(self, step: int, count: int, *, seed: int) -> Tensor | None:
        """As in `Windows`, but all sequences are equally likely, regardless of length."""
        generator = seeded_generator(seed, step)
        first, counts = self.blocks
        chosen = torch.randint(len(first), (count,), generator=generator).numpy()
        share = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
        windows = first[chosen] + np.floor(share * counts[chosen]).astype(np.int64)
        return torch.from_numpy(windows)

    @cached_property
    def blocks(self) -> tuple[Array, Array]:
        """First window of each sequence, and its number of windows."""
        first = np.flatnonzero(np.diff(self.starts[:, 0], prepend=-1))
        return first, np.diff(first, append=len(self.starts))


class ClipSource(PreparedSource):
    """A prepared data set of videos, whose windows are clips.

    Class attributes:
        frame_step: stored frames from one frame of a window to the next.
        action_numbers: numbers of an agent's action beside each frame; 0 to leave them out.
    """

    frame_step: int = 1
    action_numbers: int = 0

    @abstractmethod
    def starts(self, split: Split, span: int) -> Array:
        """Sequence and first frame of each window of a split that spans so many stored frames."""

    def windows(self, split: Split) -> RandomClips:
        length = self.context + self.horizons[split]
        return RandomClips(
            self.store,
            self.starts(split, (length - 1) * self.frame_step + 1),
            context=self.context,
            length=length,
            channels=self.channels,
            frame_step=self.frame_step,
            actions=self.action_numbers,
        )


def hold_out(sequences: list[int], split: Split) -> list[int]:
    """The training sequences that are for training, or those held out for validation.

    Rule: Franceschi et al. (2020), https://arxiv.org/abs/2002.09219.

    Errors:
        InputError: there are fewer than two sequences.
    """
    count = len(sequences)
    if count < 2:
        raise InputError(f"Training and validation need at least 2 sequences, got {count}.")
    order = np.random.RandomState(HOLD_OUT_SEED).permutation(count)
    trained = int(TRAINED_SHARE * count)
    places = order[:trained] if split == "train" else order[trained:]
    return [sequences[place] for place in sorted(places.tolist())]


def every_start(
    sequences: tuple[StoredSequence, ...], chosen: list[int], span: int, *, of: str
) -> Array:
    """Every window of `span` stored frames in the chosen sequences, (window, 2).

    Args:
        sequences: of the store.
        chosen: numbers of the sequences of a split.
        span: stored frames from the first to the last one of a window.
        of: the split, for the error.

    Errors:
        InputError: none of the sequences is long enough.
    """
    counts = [(number, sequences[number].frames - span + 1) for number in chosen]
    starts = [
        np.stack([np.full(count, number), np.arange(count)], axis=1)
        for number, count in counts
        if count > 0
    ]
    if not starts:
        longest = max((sequences[number].frames for number in chosen), default=0)
        raise InputError(
            f"No {of} sequence holds a window of {span} frames; the longest has {longest}. "
            "Shorten context or horizon."
        )
    return np.concatenate(starts)
