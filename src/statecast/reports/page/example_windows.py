"""Test windows of a report: the best, the median and the worst, and the spread of all."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from statecast.data.base import Windows, window_generators
from statecast.data.loading import evenly
from statecast.errors import InputError
from statecast.evaluation.slices import MEMORY_GIB, slices_within
from statecast.frames import Batch, Forecast, Frames, FrameSpec
from statecast.io.fields.preprocessing import Preparation
from statecast.metrics import METRICS
from statecast.metrics.base import Metric
from statecast.metrics.per_sample import SampleMetric
from statecast.models.base import Forecaster
from statecast.plots.animations import animate_forecast
from statecast.plots.forecasts import plot_forecast
from statecast.plots.panels import dates_of

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
    dates: list[str]  # of its forecast frames; empty where they are not known
    score: float
    strip: str  # name of a file
    animation: str


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


def first_metric(names: Sequence[str], spec: FrameSpec) -> str:
    """The first metric that scores single forecasts of such frames; `mse` where none does."""
    for name in names:
        known = METRICS.get(name)
        if known and issubclass(known, SampleMetric) and known.why_not_applicable(spec, 1) is None:
            return name
    return "mse"


def survey(futures: Futures, metric: str) -> Survey:
    """Score every window separately; only scores are kept.

    Args:
        futures: forecasts.
        metric: name of the metric.
    """
    measure = METRICS[metric].of(futures.windows.scored_spec(futures.model.spec))
    scores: list[float] = []
    variance, squares, times = torch.zeros(1), torch.zeros(1), torch.zeros(0)
    for batch, drawn in futures.batches():
        forecast, target = futures.windows.to_score_units(drawn, batch)
        scores += [score_of_one(measure, forecast, target, i) for i in range(len(batch))]
        samples = forecast.samples.double().masked_fill(~target.known, torch.nan)
        if len(samples) > 1:
            variance = variance + mean_over_space(samples.var(dim=0))
        squares = squares + mean_over_space((samples.mean(dim=0) - target.values).square())
        times = forecast.times
    count = len(futures.chosen)
    return Survey(
        metric=metric,
        numbers=futures.chosen.tolist(),
        scores=scores,
        lead_times=times.tolist(),
        spread=(variance / count).sqrt().expand(len(times)).tolist(),
        error=(squares / count).sqrt().tolist(),
    )


def mean_over_space(values: Tensor) -> Tensor:
    """Sum over sequences (batch, time, channel, *space) of means over known points, (time,)."""
    return values.flatten(2).nanmean(dim=2).sum(dim=0)


def score_of_one(measure: Metric, forecast: Forecast, target: Frames, index: int) -> float:
    """Score of one window of a batch, by the metric's first way to combine samples."""
    chosen = slice(index, index + 1)
    alone = replace(forecast, samples=forecast.samples[:, chosen])
    sums = measure.sums(alone, target.select(chosen))
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


class Shown(NamedTuple):
    """A window and its forecast as they are drawn."""

    context: Frames
    target: Frames
    forecast: Forecast


def as_shown(futures: Futures, position: int, preparation: Preparation | None) -> Shown:
    """A window and its forecast in the units of the data; of fields, with labels, as they came.

    Args:
        futures: forecasts.
        position: of the window among those that are forecast.
        preparation: what was done to labelled fields, and is undone here.
    """
    batch, drawn = futures.one(position)
    forecast, _ = futures.windows.to_score_units(drawn, batch)
    # All frames as if they were forecast: what restores a target restores a context.
    times = torch.arange(1.0, 1.0 + batch.values.shape[1])
    target = replace(
        batch.target,
        values=batch.values,
        times=times,
        mask=batch.mask,
        agent_states=batch.agent_states,
    )
    same = Forecast(samples=batch.values[None], times=times, channels=target.channels)
    _, whole = futures.windows.to_score_units(same, replace(batch, target=target))
    values, count = whole.values, len(batch.context)
    labels = futures.windows.coordinates(int(futures.chosen[position]))
    if labels is not None and preparation is not None:
        observed = preparation.restored_context(values[:, :count], labels)
        came = preparation.restore(values[None, :, count:], labels, forecast.times)[0]
        values = torch.cat([observed, came], dim=1)
        samples = preparation.restore(forecast.samples, labels, forecast.times)
        forecast = replace(forecast, samples=samples, coordinates=labels)
    shown = Batch.of(values, count, channels=target.channels)
    return Shown(replace(shown.context, coordinates=labels), shown.target, forecast)


def draw_cases(
    futures: Futures, found: Survey, folder: Path, stem: str, preparation: Preparation | None
) -> list[Case]:
    """Draw the best, the median and the worst window, each as a strip and as an animation."""
    cases = []
    best = extremes(found.scores, higher_is_better=METRICS[found.metric].higher_is_better)
    for title, position in best.items():
        context, target, forecast = as_shown(futures, position, preparation)
        strip, animation = folder / f"{stem}-{title}.png", folder / f"{stem}-{title}.webp"
        plot_forecast(context, forecast, strip, target=target, samples=SHOWN_SAMPLES)
        animate_forecast(context, forecast, animation, target=target, samples=SHOWN_SAMPLES)
        dates = dates_of(forecast.coordinates, forecast.times.tolist())
        number, score = found.numbers[position], found.scores[position]
        cases.append(Case(title, number, dates, score, strip.name, animation.name))
    return cases
