"""Windows of stored clips: bytes on disk, values in [0, 1] in batches."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statecast.data.base import CutWindows
from statecast.data.cache.frame_store import PreparedStore
from statecast.frames import Batch

LARGEST_BYTE = 255


class ClipWindows(CutWindows):
    """Windows of one split.

    Args:
        store: prepared frames of all clips.
        starts: (window, 2), the clip and the first frame of each window.
        context: frames observed.
        length: context and target frames together.
        channels: names of the channels.
    """

    repeats = True

    def __init__(
        self,
        store: PreparedStore,
        starts: np.ndarray[Any, Any],
        *,
        context: int,
        length: int,
        channels: tuple[str, ...],
    ) -> None:
        self.store, self.starts = store, starts
        self.context, self.length, self.channels = context, length, channels

    def batch(self, indices: Tensor) -> Batch:
        windows = [
            self.store.read(int(clip), int(start), int(start) + self.length)
            for clip, start in self.starts[indices.numpy()]
        ]
        values = torch.from_numpy(np.stack(windows)).float().div_(LARGEST_BYTE)
        return Batch.of(values, self.context, channels=self.channels)

    @cached_property
    def digest(self) -> str:
        """Digest of the clips that windows are cut from, and of where they are cut."""
        return self.store.digest_of(self.starts, (self.context, self.length, self.channels))
