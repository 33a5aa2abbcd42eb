"""Fitting without gradients: what a model takes from training windows before its first step."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from statecast.data.base import DataSource, Windows, seeded_generator
from statecast.data.loading import training_batches
from statecast.errors import InputError
from statecast.evaluation.scoring import model_device
from statecast.frames import Batch
from statecast.models import BASELINES, MODELS
from statecast.models.base import Forecaster
from statecast.models.change import ChangeForecaster

STATISTICS = 2  # stream of random numbers, apart from those of weights, steps and the data


class StatisticsBatches:
    """Training batches to fit statistics on, drawn apart from those of steps.

    They are the same each time they are iterated over, so that a fit may pass over them again.
    """

    def __init__(
        self, windows: Windows, count: int, *, batch_size: int, seed: int, device: torch.device
    ) -> None:
        self.windows, self.count, self.batch_size = windows, count, batch_size
        self.seed = seeded_generator(seed, STATISTICS).initial_seed()
        self.device = device

    def __iter__(self) -> Iterator[Batch]:
        drawn = training_batches(
            self.windows, range(self.count), batch_size=self.batch_size, seed=self.seed
        )
        return (batch.to(self.device) for batch in drawn)


def fit_statistics(model: Forecaster, windows: Windows, *, batch_size: int, seed: int) -> None:
    """Fit what a model takes from training windows, if it takes anything.

    Args:
        model: fitted in place.
        windows: of the training split.
        batch_size: windows at once.
        seed: of the windows drawn.
    """
    if not model.needs_statistics:
        return
    device = model_device(model)
    model.fit_statistics(
        StatisticsBatches(
            windows, model.statistics_batches, batch_size=batch_size, seed=seed, device=device
        )
    )


def fitted_baselines(
    names: tuple[str, ...], model: Forecaster, data: DataSource, *, seed: int
) -> tuple[dict[str, Forecaster], dict[str, str]]:
    """Baselines with their own default options to hold a model against, fitted where they need it.

    Args:
        names: of baselines; one that the model is itself is left out.
        model: the model, whose frames and device they take.
        data: whose training windows they are fitted on.
        seed: of the windows drawn.

    Returns:
        The baselines by name, and why others cannot be fitted. A model with a reference brings
        that as well, by the name `reference`.

    Errors:
        InputError: a name is not a baseline.
    """
    found: dict[str, Forecaster] = {}
    reasons: dict[str, str] = {}
    if isinstance(model, ChangeForecaster):
        found["reference"] = model.reference_alone()
    device = model_device(model)
    for name in names:
        if name not in BASELINES:
            raise InputError(f"There is no baseline {name!r}; choose from {', '.join(BASELINES)}.")
        if type(model) is MODELS[name]:
            continue
        baseline = MODELS[name](model.spec).to(device)
        try:
            baseline.check_context_length(model.spec.context)
            if baseline.needs_statistics:
                windows = data.windows("train")
                fit_statistics(baseline, windows, batch_size=min(32, len(windows)), seed=seed)
        except InputError as error:
            reasons[name] = f"it cannot be fitted: {error}"
            continue
        found[name] = baseline
    return found, reasons
