"""A data source that costs nothing, and a recipe that trains on it in a second."""

from __future__ import annotations

import hashlib

import pytest
import torch

from statecast.data import DATASETS
from statecast.data.base import DataSource, Windows, seeded_generator
from statecast.frames import Batch, FrameSpec
from statecast.runs.create import create_run
from statecast.runs.run import train_run


class PendulumWindows(Windows):
    """Points on a line, each swinging at its own phase; windows differ in frequency."""

    def __init__(self, count: int, length: int, context: int, stream: int) -> None:
        self.count, self.length, self.context, self.stream = count, length, context, stream

    def __len__(self) -> int:
        return self.count

    def batch(self, indices: torch.Tensor) -> Batch:
        generator = seeded_generator(5, self.stream)
        frequency = 0.2 + 0.3 * torch.rand(self.count, generator=generator)
        start = 6.0 * torch.rand(self.count, generator=generator)
        time, point = torch.arange(self.length), torch.arange(6.0)
        phase = start[:, None, None] + frequency[:, None, None] * time[:, None] + point
        values = 0.5 + 0.4 * torch.sin(phase[indices])
        return Batch.of(values[:, :, None], self.context, channels=("angle",))

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(vars(self)).encode()).hexdigest()


class Pendulum(DataSource):
    """A data source that costs nothing."""

    def __init__(self, *, context: int = 4, horizon: int = 5) -> None:
        self.context, self.horizon = context, horizon

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(
            channels=("angle",), space=(6,), context=self.context, horizon=self.horizon,
            value_range=(0.0, 1.0),
        )  # fmt: skip

    def windows(self, split):
        stream = {"train": 0, "validation": 1, "test": 2}[split]
        return PendulumWindows(40, self.context + self.horizon, self.context, stream)

    @property
    def card(self):
        return {"name": "pendulum", "context": self.context, "horizon": self.horizon}


TINY = """
model: {name: srvp, architecture: mlp, width: 12, code_size: 6, latent_size: 4, noise_size: 3,
        inference_hidden: 8, content_size: 8, transition_hidden: 10}
data: {name: pendulum}
train: {steps: 12, batch_size: 5, validate_every: 4, checkpoint_every: 3, log_every: 2,
        validation_windows: 7, validation_samples: 2, learning_rate: 0.002, precision: float32}
evaluate: {samples: 3, metrics: [mse, psnr, crps], batch_size: 16}
"""


def trained_run(folder, words=(), *, name="run"):
    """A run of this recipe, trained in a new folder."""
    (folder / "tiny.yaml").write_text(TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "pendulum", Pendulum)
        run = create_run(str(folder / "tiny.yaml"), folder / name, words)
        train_run(run)
    return run
