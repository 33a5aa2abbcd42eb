"""The wave equation with a fading source, one sequence after the other in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

SIZE, STEP, DECAY = 64, 0.001, 20.0
STENCIL = (-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12)
Laplacian = Callable[[np.ndarray], np.ndarray]


def simulate(
    source: np.ndarray, speed: np.ndarray, frames: int, *, by: Literal["lines", "slices"]
) -> np.ndarray:
    """Frames (sequence, time, y, x) for amplitudes and speeds (sequence,), float32.

    Args:
        source: amplitudes.
        speed: of the waves.
        frames: number of frames, the first at time 0.
        by: second derivatives row by row and column by column, or of whole frames.
    """
    laplacian = by_lines if by == "lines" else by_slices
    return np.stack(
        [one(float(f), float(c), frames, laplacian) for f, c in zip(source, speed, strict=True)]
    )


def one(source: float, speed: float, frames: int, laplacian: Laplacian) -> np.ndarray:
    """One sequence, by the Runge-Kutta method of order 4."""
    offset = np.arange(SIZE) - 32
    disk = (offset[:, None] ** 2 + offset[None, :] ** 2 < 25).astype(np.float32)
    squared, strength = np.float32(speed) ** 2, np.float32(source) * disk

    def velocity(time: float, wave: np.ndarray, rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fading = np.float32(np.exp(-DECAY * time))
        return rate, squared * laplacian(wave) + fading * strength

    wave = rate = np.zeros((SIZE, SIZE), np.float32)
    found = [wave]
    for index in range(frames - 1):
        time = STEP * index
        a = velocity(time, wave, rate)
        b = velocity(time + STEP / 2, wave + STEP / 2 * a[0], rate + STEP / 2 * a[1])
        c = velocity(time + STEP / 2, wave + STEP / 2 * b[0], rate + STEP / 2 * b[1])
        d = velocity(time + STEP, wave + STEP * c[0], rate + STEP * c[1])
        wave = wave + STEP / 6 * (a[0] + 2 * b[0] + 2 * c[0] + d[0])
        rate = rate + STEP / 6 * (a[1] + 2 * b[1] + 2 * c[1] + d[1])
        found.append(wave)
    return np.stack(found)


def by_lines(wave: np.ndarray) -> np.ndarray:
    """Sum of second derivatives; each is 0 at the two outer lines of its own axis."""
    result = np.zeros_like(wave)
    for line in range(2, SIZE - 2):
        for offset, weight in enumerate(STENCIL):
            result[line] += np.float32(weight) * wave[line + offset - 2]
            result[:, line] += np.float32(weight) * wave[:, line + offset - 2]
    return result


def by_slices(wave: np.ndarray) -> np.ndarray:
    """The same of whole frames."""
    result = np.zeros_like(wave)
    for offset, weight in enumerate(STENCIL):
        shifted = slice(offset, SIZE - 4 + offset)
        result[2:-2] += np.float32(weight) * wave[shifted]
        result[:, 2:-2] += np.float32(weight) * wave[:, shifted]
    return result
