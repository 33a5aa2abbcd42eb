"""Windows of stored sequences: split first, then cut; never the other way round."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from statecast.data.base import CutWindows, Windows
from statecast.errors import InputError
from statecast.frames import Batch
from statecast.io.fields.coordinates import Coordinates


class SequenceWindows(CutWindows):
    """Windows cut from the sequences of one split.

    Args:
        sequences: (sequence, time, channel, *space), an array or memory map; integers are not
            scaled.
        starts, context, length, channels: see `CutWindows`.
        latents: true latent variables, one value per sequence.
    """

    def __init__(
        self,
        sequences: np.ndarray[Any, Any],
        starts: np.ndarray[Any, Any],
        *,
        context: int,
        length: int,
        channels: tuple[str, ...],
        latents: Mapping[str, np.ndarray[Any, Any]] | None = None,
    ) -> None:
        if len(starts) == 0 or starts[:, 1].max() + length > sequences.shape[1]:
            raise InputError(
                f"Sequences of {sequences.shape[1]} frames hold no windows of {length} frames. "
                "Shorten context or horizon."
            )
        super().__init__(starts, context=context, length=length, channels=channels)
        self.sequences, self.latents = sequences, dict(latents or {})

    def batch(self, indices: Tensor) -> Batch:
        chosen, first = self.starts[indices.numpy()].T
        frames = first[:, None] + np.arange(self.length)
        values = torch.from_numpy(np.asarray(self.sequences[chosen[:, None], frames]))
        latents = {name: torch.from_numpy(v[chosen]) for name, v in self.latents.items()}
        return Batch.of(values.float(), self.context, channels=self.channels, latents=latents)

    @cached_property
    def digest(self) -> str:
        """Digest of the sequences that windows are cut from, and of where they are cut."""
        digest = hashlib.sha256(repr((self.context, self.length)).encode())
        digest.update(np.ascontiguousarray(self.starts, dtype=np.int64).tobytes())
        for sequence in np.unique(self.starts[:, 0]):
            digest.update(np.ascontiguousarray(self.sequences[sequence]).tobytes())
        return digest.hexdigest()


def all_starts(sequences: range, frames: int, length: int) -> np.ndarray[Any, Any]:
    """Sequence and first frame of every window of `length` frames, (window, 2).

    Args:
        sequences: numbers of the sequences.
        frames: frames of each sequence.
        length: frames of a window.
    """
    first = np.arange(frames - length + 1)
    return np.stack(
        [np.repeat(np.asarray(sequences), len(first)), np.tile(first, len(sequences))], axis=1
    )


class FirstFrames(Windows):
    """Windows whose targets are cut to the first frames after the context.

    Args:
        windows: the windows to shorten.
        horizon: frames kept of each target.
    """

    def __init__(self, windows: Windows, horizon: int) -> None:
        if horizon < 1:
            raise InputError(f"A horizon must be at least 1 frame, got {horizon}.")
        self.windows, self.horizon = windows, horizon

    def __len__(self) -> int:
        return len(self.windows)

    def batch(self, indices: Tensor) -> Batch:
        whole = self.windows.batch(indices)
        return replace(whole, target=whole.target.first(self.horizon))

    def coordinates(self, window: int) -> Coordinates | None:
        """Labels of a window's context frames."""
        return self.windows.coordinates(window)

    @property
    def sequence_numbers(self) -> Int[Tensor, " window"]:
        """The sequence that each window is cut from."""
        return self.windows.sequence_numbers

    @cached_property
    def digest(self) -> str:
        """Digest of the whole windows and of what is kept of them."""
        content = f"first {self.horizon} of {self.windows.digest}"
        return hashlib.sha256(content.encode()).hexdigest()


class ChosenLeads(FirstFrames):
    """Windows whose targets are cut to some lead times.

    Args:
        windows: the windows to shorten.
        leads: increasing lead times, in frames.
    """

    def __init__(self, windows: Windows, leads: Sequence[int]) -> None:
        super().__init__(windows, leads[-1])
        self.leads = list(leads)

    def batch(self, indices: Tensor) -> Batch:
        whole = super().batch(indices)
        return replace(whole, target=whole.target.at([lead - 1 for lead in self.leads]))

    @cached_property
    def digest(self) -> str:
        """Digest of the whole windows and of what is kept of them."""
        content = f"leads {self.leads} of {self.windows.digest}"
        return hashlib.sha256(content.encode()).hexdigest()
