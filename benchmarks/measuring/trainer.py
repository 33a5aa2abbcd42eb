"""A trainer of given batches, which come from no data source."""

from pathlib import Path
from typing import Any

from statecast.models.base import Forecaster
from statecast.training.loop import Trainer
from statecast.training.options import TrainingOptions


class NoData:
    """Stands for a data source whose windows nothing asks for."""

    def windows(self, split: str) -> Any:
        return None


def trainer_of(model: Forecaster, **options: Any) -> Trainer:
    """A trainer whose `training_step` takes any batch; its model needs no statistics."""
    data: Any = NoData()
    return Trainer(model, data, Path(), TrainingOptions(validate_every=0, **options))
