"""Windows of stored arrays, each read when it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from statecast.data.base import CutWindows
from statecast.data.user.array_files import Array, Sequences
from statecast.errors import InputError
from statecast.frames import Batch

Series = Mapping[str, Sequence[Array]]  # by name, of each sequence
LARGEST_BYTE = 255


class ArrayWindows(CutWindows):
    """Windows of stored sequences; bytes become values in [0, 1].

    Args:
        sequences: the sequences, read lazily.
        starts, context, length, channels: see `CutWindows`.
        series: `actions` and `agent_states` of each sequence, if they are read.
    """

    def __init__(
        self,
        sequences: Sequences,
        starts: Array,
        *,
        context: int,
        length: int,
        channels: tuple[str, ...],
        series: Series | None = None,
    ) -> None:
        super().__init__(starts, context=context, length=length, channels=channels)
        self.sequences, self.series = sequences, series or {}

    def batch(self, indices: Tensor) -> Batch:
        # NumPy converts what torch does not read, such as another order of bytes.
        frames = self.read_each(indices, self.sequences.read).astype(np.float32)
        values = torch.from_numpy(frames)
        if self.sequences.dtype == np.uint8:
            values /= LARGEST_BYTE
        if not bool(torch.isfinite(values).all()):
            window = int((~torch.isfinite(values.flatten(1))).any(dim=1).nonzero()[0])
            raise InputError(unknown_values(*self.starts[int(indices[window])].tolist()))
        ends = {"actions": self.length - 1, "agent_states": self.length}
        series = {
            name: torch.from_numpy(
                np.stack([rows[n][t : t + ends[name]] for n, t in self.starts[indices.numpy()]])
            )
            for name, rows in self.series.items()
        }
        return Batch.of(
            values,
            self.context,
            channels=self.channels,
            actions=series.get("actions"),
            agent_states=series.get("agent_states"),
        )

    @cached_property
    def digest(self) -> str:
        """Digest of the sequences that windows are cut from, and of where they are cut."""
        digest = hashlib.sha256(repr((self.context, self.length)).encode())
        digest.update(np.ascontiguousarray(self.starts, dtype=np.int64).tobytes())
        for number in np.unique(self.starts[:, 0]):
            frames = self.sequences.read(int(number), 0, self.sequences.lengths[int(number)])
            digest.update(np.ascontiguousarray(frames).tobytes())
        return digest.hexdigest()


def unknown_values(sequence: int, frame: int) -> str:
    """Message about values that are not finite."""
    return (
        f"Sequence {sequence} holds NaN or infinite values from frame {frame} on. Fill the gaps, "
        "leave the sequence out, or store it as NetCDF for the data set fields, which takes NaN "
        "as unknown."
    )
