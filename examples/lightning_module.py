"""A model of statecast in Lightning: the loop of `own_loop.py`, left to a `Trainer`.

pip install lightning
python examples/lightning_module.py --steps 500
"""

from __future__ import annotations

import argparse

import lightning
import torch
from own_loop import data_and_model, loader_of
from torch import Tensor
from torch.utils.data import DataLoader

from statecast import Batch, Forecaster


class ForecasterModule(lightning.LightningModule):
    """Trains a forecaster of one update (an adversarial one has several)."""

    def __init__(self, model: Forecaster, learning_rate: float = 2e-3) -> None:
        super().__init__()
        self.model, self.learning_rate = model, learning_rate

    def training_step(self, batch: Batch, index: int) -> Tensor:
        terms = self.model.loss(batch, step=self.global_step)
        self.log_dict(
            {f"train/{name}": term for name, term in terms.items()}, batch_size=len(batch)
        )
        return terms["total"]

    def validation_step(self, batch: Batch, index: int) -> None:
        forecast = self.model.forecast(batch.context, len(batch.target))
        error = (forecast.mean - batch.target.values).square().mean()
        self.log("validation/mse", error, batch_size=len(batch))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


def main() -> None:
    """Train on moving digits, and validate."""
    parser = argparse.ArgumentParser(description="Train a ConvLSTM with Lightning.")
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    data, model = data_and_model()
    trainer = lightning.Trainer(
        max_steps=options.steps, logger=False, enable_checkpointing=False, limit_val_batches=4
    )
    module = ForecasterModule(model)
    trainer.fit(module, loader_of(data))
    trainer.validate(module, DataLoader(data.windows("validation"), batch_size=32))


if __name__ == "__main__":
    main()
