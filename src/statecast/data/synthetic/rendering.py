"""Frames of moving objects: images summed at their positions, and clipped."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


def render(images: Array, positions: Array, size: int) -> Array:
    """Draw objects into square frames.

    Args:
        images: (sequence, object, side, side), uint8.
        positions: top left corners (x, y), (time, sequence, object, 2); they are rounded.
        size: side of a frame.

    Returns:
        Frames (sequence, time, size, size), uint8.
    """
    length, sequences, objects = positions.shape[:3]
    side = images.shape[-1]
    corners = np.rint(positions).astype(np.intp).transpose(1, 0, 2, 3)  # sequence first
    frames = np.zeros((sequences * length, size, size), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(
        frames, (side, side), axis=(1, 2), writeable=True
    )
    frame = np.arange(sequences * length)
    for index in range(objects):
        x, y = corners[:, :, index].reshape(-1, 2).T
        ink = np.repeat(images[:, index], length, axis=0)
        if index:
            below = windows[frame, y, x]
            ink = below + np.minimum(ink, 255 - below)  # clipped at 255 without overflow
        windows[frame, y, x] = ink
    return frames.reshape(sequences, length, size, size)
