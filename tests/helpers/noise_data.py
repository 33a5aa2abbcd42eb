"""A data source of noise in any shape, to stand for data that are not here."""

import torch

from statecast.data.base import DataSource, Windows, seeded_generator
from statecast.frames import Batch, FrameSpec


class NoiseWindows(Windows):
    """Uniform values."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return 8

    def batch(self, indices):
        spec = self.source.spec
        values = torch.rand(8, spec.length, *spec.frame_shape, generator=seeded_generator(1))
        return Batch.of(values[indices], spec.context, channels=spec.channels)

    @property
    def digest(self):
        return "noise"


class Noise(DataSource):
    """Frames of any shape, to stand for data that are not here."""

    def __init__(
        self, *, context: int = 4, horizon: int = 2, channels: int = 3, side: int = 64,
        bounded: bool = True,
    ) -> None:  # fmt: skip
        self.context, self.horizon = context, horizon
        self.channels, self.side, self.bounded = channels, side, bounded

    @property
    def spec(self):
        return FrameSpec(
            channels=tuple(f"noise_{i}" for i in range(self.channels)),
            space=(self.side, self.side), context=self.context, horizon=self.horizon,
            value_range=(0.0, 1.0) if self.bounded else None,
        )  # fmt: skip

    def windows(self, split):
        return NoiseWindows(self)

    @property
    def card(self):
        return {"name": "noise"}
