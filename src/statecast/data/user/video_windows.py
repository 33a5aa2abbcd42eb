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
        starts, context, length, channels: see `CutWindows`; a sequence is a clip.
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
        super().__init__(starts, context=context, length=length, channels=channels)
        self.store = store

    def batch(self, indices: Tensor) -> Batch:
        frames = torch.from_numpy(self.read_each(indices, self.store.read))
        values = frames.float().div_(LARGEST_BYTE)
        return Batch.of(values, self.context, channels=self.channels)

    @cached_property
    def digest(self) -> str:
        """Digest of the clips that windows are cut from, and of where they are cut."""
        return self.store.digest_of(self.starts, (self.context, self.length, self.channels))
