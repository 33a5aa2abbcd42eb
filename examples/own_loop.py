"""A training loop of your own: windows in PyTorch's loader, and PyTorch's optimiser.

    python examples/own_loop.py --steps 500

`statecast.train` adds checkpoints, validation, resumption and several processes to such a loop.
"""

from __future__ import annotations

import argparse
from itertools import islice

import torch
from torch.utils.data import DataLoader

from statecast import Batch, Forecaster
from statecast.data.synthetic.moving_digits import MovingDigits
from statecast.models.convlstm import ConvLSTM


def data_and_model(seed: int = 1) -> tuple[MovingDigits, Forecaster]:
    """Windows of one digit that moves, and a small ConvLSTM for them."""
    data = MovingDigits(digits=1, frame_size=32, digit_size=20, max_speed=2, context=5, horizon=5)
    generator = torch.Generator().manual_seed(seed)
    return data, ConvLSTM(data.spec, layers=2, width=16, kernel=3, generator=generator)


def loader_of(data: MovingDigits, batch_size: int = 8) -> DataLoader[Batch]:
    """Training batches in random order."""
    return DataLoader(data.windows("train"), batch_size=batch_size, shuffle=True)


def train(model: Forecaster, batches: DataLoader[Batch], steps: int) -> list[float]:
    """Train for some steps; the loss of each."""
    if model.needs_statistics:
        model.fit_statistics(list(islice(batches, model.statistics_batches)))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    for step, batch in enumerate(islice(batches, steps)):
        loss = model.loss(batch, step=step)["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Train, and compare a forecast with the frames that came."""
    parser = argparse.ArgumentParser(description="Train a ConvLSTM in a loop of one's own.")
    parser.add_argument("--steps", type=int, default=500)
    steps = parser.parse_args().steps
    data, model = data_and_model()
    losses = train(model, loader_of(data), steps)
    print(f"Loss {losses[0]:.4f} at the first step, {losses[-1]:.4f} at the last.")
    batch = data.windows("test").batch(torch.arange(32))
    forecast = model.forecast(batch.context, len(batch.target))
    error = (forecast.mean - batch.target.values).square().mean()
    print(f"Mean squared error of {len(batch.target)} frames: {error:.4f}.")


if __name__ == "__main__":
    main()
