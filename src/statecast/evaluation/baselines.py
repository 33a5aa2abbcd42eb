"""Fitting without gradients: statistics and baselines from training windows."""

from __future__ import annotations

import math
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
    """Training batches for statistics, drawn with random numbers of their own.

    Every iteration gives the same batches, so a fit may take several passes. There are at most
    `count` of them, and no more than all windows fill.
    """

    def __init__(
        self, windows: Windows, count: int, *, batch_size: int, seed: int, device: torch.device
    ) -> None:
        self.windows, self.batch_size = windows, batch_size
        self.count = min(count, math.ceil(len(windows) / batch_size))
        self.seed = seeded_generator(seed, STATISTICS).initial_seed()
        self.device = device

    def __iter__(self) -> Iterator[Batch]:
        drawn = training_batches(
            self.windows, range(self.count), batch_size=self.batch_size, seed=self.seed
        )
        return (batch.to(self.device) for batch in drawn)


def fit_statistics(model: Forecaster, windows: Windows, *, batch_size: int, seed: int) -> None:
    """Fit the statistics that a model needs from training windows, if it needs any.

    Args:
        model: the model; it is fitted in place.
        windows: windows of the training split.
        batch_size: windows per batch.
        seed: seed of the draw of windows.
    """
    if not model.needs_statistics:
        return
    device = model_device(model)
    model.fit_statistics(
        StatisticsBatches(
            windows, model.statistics_batches, batch_size=batch_size, seed=seed, device=device
        )
    )


def fit_baseline(baseline: Forecaster, data: DataSource, *, seed: int) -> None:
    """Fit a baseline on training windows, if it needs any.

    Args:
        baseline: the baseline; it is fitted in place.
        data: the data source that gives training windows.
        seed: seed of the draw of training windows.

    Errors:
        InputError: it does not apply to these data.
    """
    baseline.check_context_length(baseline.spec.context)
    if baseline.needs_statistics:
        windows = data.windows("train")
        fit_statistics(baseline, windows, batch_size=min(32, len(windows)), seed=seed)


def fitted_baselines(
    names: tuple[str, ...], model: Forecaster, data: DataSource, *, seed: int
) -> tuple[dict[str, Forecaster], dict[str, str]]:
    """Baselines to compare a model with, with their default options, fitted if they need it.

    Args:
        names: names of baselines; one of the model's own class is skipped.
        model: the model; baselines take the same frames, on the same device.
        data: the data source that gives training windows.
        seed: seed of the draw of training windows.

    Returns:
        The baselines by name, and why others cannot be fitted. If the model forecasts changes
        from a reference, that reference is included as `reference`.

    Errors:
        InputError: a name is not that of a baseline.
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
        try:
            baseline = MODELS[name](model.spec).to(device)
            fit_baseline(baseline, data, seed=seed)
        except InputError as error:
            reasons[name] = f"it cannot be fitted: {error}"
            continue
        found[name] = baseline
    return found, reasons
