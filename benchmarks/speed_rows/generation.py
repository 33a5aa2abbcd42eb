"""Making data: batches of moving digits, and simulated waves."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from plain import digits, waves

from speed_rows.base import SEED, Case, Settings
from statecast.data.base import Split
from statecast.data.synthetic.digit_images import Glyphs
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.data.synthetic.waves_simulation import (
    AT_ONCE,
    FRAMES,
    SIZE,
    draw_parameters,
    simulate,
)

STAGES = 4  # of the Runge-Kutta method, each of which reads and writes both fields
VALUE = 4  # bytes of a float32


class RandomGlyphs(MovingDigits):
    """Moving digits of random ink, so that no files are needed."""

    def glyphs(self, split: Split) -> Glyphs:
        images = np.random.default_rng(0).integers(0, 256, (1000, self.side, self.side), np.uint8)
        return Glyphs(images, np.zeros(1000, np.int64), "random")


def moving_digits(settings: Settings) -> Case:
    """A training batch of stochastic digits, of 15 frames as published."""
    count = settings.batch or 128
    source = RandomGlyphs(context=5, horizon=10)
    windows = source.windows("train")
    images, size, length = windows.glyphs.images, source.frame_size, source.spec.length
    generator = np.random.default_rng(SEED)

    def plain() -> np.ndarray:
        return digits.batch(
            images, count, length, size=size, speed=4, stochastic=True, generator=generator
        )

    pixels = count * length * size**2
    return Case(
        ours=lambda: windows.training_batch(0, count, seed=SEED),
        plain=plain,
        sizes=f"batch {count}, {length} frames",
        moved=pixels * (VALUE + 2),  # bytes are written and read, floats written
    )


def wave_sequences(by: Literal["lines", "slices"], settings: Settings) -> Case:
    """Sequences of WaveEq."""
    count = settings.windows or AT_ONCE  # as many as are solved at once
    frames = settings.frames or (FRAMES if by == "slices" else 30)  # of lines, so as not to wait
    parameters = draw_parameters(AT_ONCE, SEED)
    few = parameters._replace(source=parameters.source[:count], speed=parameters.speed[:count])

    def ours() -> torch.Tensor:
        return torch.cat(list(simulate(few, frames=frames)))

    def difference(one: Any, other: np.ndarray) -> float:
        return float(np.abs(one.numpy() - other).max() / np.abs(other).max())

    moved = count * frames * STAGES * 4 * VALUE * SIZE**2
    return Case(
        ours=ours,
        plain=lambda: waves.simulate(few.source, few.speed, frames, by=by),
        sizes=f"{count} sequence(s), {frames} frames",
        difference=difference,
        moved=moved,
    )
