"""Test windows of a report: the best, the median and the worst, and the spread of all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from statecast.data.base import Windows, window_generators
from statecast.data.loading import evenly
from statecast.errors import InputError
from statecast.evaluation.slices import MEMORY_GIB, slices_within
from statecast.frames import Batch, Forecast, FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import Metric
from statecast.metrics.per_sample import SampleMetric
from statecast.models.base import Forecaster
from statecast.plots.animations import animate_forecast
from statecast.plots.forecasts import plot_forecast

SHOWN_SAMPLES = 3  # beside the mean
BATCH = 8  # windows at once, at most


class Survey(NamedTuple):
    """Scores of single windows, and what the samples of all of them spread."""

    metric: str
    numbers: list[int]  # of the windows in their split
    scores: list[float]  # one per window
    lead_times: list[float]
    spread: list[float]  # root of the mean variance over samples, per lead time
    error: list[float]  # root of the mean squared error of the samples' mean, per lead time


class Case(NamedTuple):
    """A window that is shown, and its pictures."""

    title: str
    number: int
    score: float
    strip: Path
    animation: Path


class Futures:
    """Forecasts of evenly spaced windows, batch by batch; the same ones each time.

    Args:
        model: the forecaster.
        windows: what is forecast.
        count: number of windows at most.
        samples: futures of each; a deterministic model gives one.
        seed: of the samples.
    """

    def __init__(
        self, model: Forecaster, windows: Windows, *, count: int, samples: int, seed: int
    ) -> None:
        if count < 1 or samples < 1:
            raise InputError(
                f"A report needs at least 1 window and 1 sample, got {count} and {samples}."
            )
        self.model, self.windows, self.seed = model, windows, seed
        self.chosen = evenly(len(windows), count)
        self.samples = samples if model.stochastic else 1

    def batches(self) -> Iterator[tuple[Batch, Forecast]]:
        """All windows and their forecasts, as many at once as memory allows."""
        for numbers, batch in slices_within(
            MEMORY_GIB, self.windows, self.chosen, samples=self.samples, batch_size=BATCH
        ):
            yield batch, self._forecast(numbers, batch)

    def one(self, position: int) -> tuple[Batch, Forecast]:
        """The window at a position, and its forecast, the same as among the others."""
        numbers = self.chosen[position : position + 1]
        batch = self.windows.batch(numbers)
        return batch, self._forecast(numbers, batch)

    def _forecast(self, numbers: Tensor, batch: Batch) -> Forecast:
        return self.model.forecast(
            batch.context,
            len(batch.target),
            samples=self.samples,
            generator=window_generators(numbers, self.seed),
        ).to("cpu")


def part(forecast: Forecast, sequence: int) -> Forecast:
    """The forecast of one sequence of a batch."""
    samples = forecast.samples[:, sequence : sequence + 1]
    return Forecast(samples=samples, times=forecast.times, channels=forecast.channels)


def first_metric(names: Sequence[str], spec: FrameSpec) -> str:
    """The first metric that scores single forecasts of such frames; `mse` where none does."""
    for name in names:
        known = METRICS.get(name)
        if known and issubclass(known, SampleMetric) and known.why_not_applicable(spec, 1) is None:
            return name
    return "mse"


def survey(futures: Futures, metric: str) -> Survey:
    """Score every window by itself; nothing but scores is kept.

    Args:
        futures: forecasts.
        metric: name of the metric.
    """
    measure = METRICS[metric].of(futures.model.spec)
    scores: list[float] = []
    variance, squares, times = torch.zeros(1), torch.zeros(1), torch.zeros(0)
    for batch, forecast in futures.batches():
        scores += [score_of_one(measure, batch, forecast, i) for i in range(len(batch))]
        variance = variance + _variance(forecast.samples)
        error = (forecast.samples.double().mean(dim=0) - batch.target.values).square()
        squares = squares + error.movedim(1, 0).flatten(1).nanmean(dim=1) * len(batch)
        times = forecast.times
    count = len(futures.chosen)
    return Survey(
        metric=metric,
        numbers=futures.chosen.tolist(),
        scores=scores,
        lead_times=times.tolist(),
        spread=(variance / count).sqrt().tolist(),
        error=(squares / count).sqrt().tolist(),
    )


def _variance(samples: Tensor) -> Tensor:
    """Sum over sequences of the mean variance over samples, per lead time; 0 of one sample."""
    if len(samples) < 2:
        return torch.zeros(samples.shape[2], dtype=torch.float64)
    return samples.double().var(dim=0).flatten(2).mean(dim=2).sum(dim=0)


def score_of_one(measure: Metric, batch: Batch, forecast: Forecast, index: int) -> float:
    """Score of one window of a batch, by the metric's first way to combine samples."""
    target = batch.target.select(slice(index, index + 1))
    sums = measure.sums(part(forecast, index), target)
    return next(iter(measure.scores(sums).values())).value


def extremes(scores: Sequence[float], *, higher_is_better: bool) -> dict[str, int]:
    """Positions of the best, the median and the worst score; NaN is worst."""
    sign = -1 if higher_is_better else 1
    values = [math.inf if math.isnan(score) else sign * score for score in scores]
    order = sorted(range(len(values)), key=values.__getitem__)
    found = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    shown: dict[str, int] = {}
    for name, position in found.items():
        if position not in shown.values():
            shown[name] = position
    return shown


def draw_cases(futures: Futures, found: Survey, folder: Path, stem: str) -> list[Case]:
    """Draw the best, the median and the worst window, each as a strip and as an animation."""
    folder.mkdir(parents=True, exist_ok=True)
    cases = []
    best = extremes(found.scores, higher_is_better=METRICS[found.metric].higher_is_better)
    for title, position in best.items():
        batch, forecast = futures.one(position)
        strip = plot_forecast(
            batch.context, forecast, folder / f"{stem}-{title}.png", target=batch.target,
            samples=SHOWN_SAMPLES,
        )  # fmt: skip
        animation = animate_forecast(
            batch.context, forecast, folder / f"{stem}-{title}.gif", target=batch.target,
            samples=SHOWN_SAMPLES,
        )  # fmt: skip
        cases.append(Case(title, found.numbers[position], found.scores[position], strip, animation))
    return cases
