"""Test sets of moving digits in the published `.npz` layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from statecast.data.base import Windows
from statecast.errors import CorruptionError, FileError, InputError
from statecast.io.atomic_files import write_npz
from statecast.io.numpy_files import members_of, read_npz

Array = np.ndarray[Any, np.dtype[Any]]
BATCH = 64  # windows at once while writing
KEYS = ("sequences", "latents", "labels", "digits")


class StoredSet(NamedTuple):
    """Test windows and their latents."""

    frames: Array  # (window, time, row, column), uint8
    latents: Array  # (time, window, digit, 4): x, y, dx, dy
    labels: Array  # (window, digit)


def write_test_set(windows: Windows, path: str | Path) -> Path:
    """Write all windows of moving digits as `sequences`, `latents`, `labels` and `digits`.

    `sequences` is (time, window, row, column) of bytes, `latents` (time, window, digit, 4) with
    x, y, dx, dy, `labels` (window, digit), `digits` the number of digits per window.
    """
    frames, latents, labels = [], [], []
    for start in range(0, len(windows), BATCH):
        batch = windows.batch(torch.arange(start, min(start + BATCH, len(windows))))
        frames.append(batch.values[:, :, 0].mul(255).round().to(torch.uint8))
        motion = torch.cat([batch.latents["position"], batch.latents["velocity"]], dim=-1)
        latents.append(motion.transpose(0, 1))
        labels.append(batch.latents["label"])
    label = torch.cat(labels)
    return write_npz(
        path,
        sequences=torch.cat(frames).transpose(0, 1).numpy(),
        latents=torch.cat(latents, dim=1).numpy(),
        labels=label.numpy(),
        digits=np.array(label.shape[1]),
    )


def read_test_set(path: str | Path, *, length: int, size: int) -> StoredSet:
    """Read the first `length` frames of a published test set.

    Errors:
        FileError: it is missing.
        CorruptionError: it is cut off, or not a test set.
        InputError: its sequences are too short, or its frames have another size.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"There is no test set {path}.")
    missing = [key for key in KEYS[:3] if key not in members_of(path)]
    if missing:
        raise CorruptionError(f"{path} is not a test set: it lacks {', '.join(missing)}.")
    sequences, latents, labels = (read_npz(path, key) for key in KEYS[:3])
    fits = sequences.ndim == 4 and sequences.dtype == np.uint8
    if not fits or latents.shape[:2] != sequences.shape[:2] or latents.shape[-1:] != (4,):
        raise CorruptionError(
            f"{path} should hold sequences (time, window, row, column) of bytes and latents "
            f"(time, window, digit, 4), got {sequences.dtype} {sequences.shape} and "
            f"{latents.shape}."
        )
    if len(sequences) < length or sequences.shape[2:] != (size, size):
        raise InputError(
            f"{path} holds {len(sequences)} frames of {sequences.shape[2]}×{sequences.shape[3]}; "
            f"context and test_horizon ask for {length} of {size}×{size}."
        )
    frames = np.ascontiguousarray(sequences[:length].transpose(1, 0, 2, 3))
    return StoredSet(frames, latents[:length].astype(np.float64), labels.astype(np.int64))
