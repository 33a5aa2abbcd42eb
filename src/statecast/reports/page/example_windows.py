"""Test windows of a report: the best, the median and the worst, and the spread over all."""

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
BATCH = 8  # windows to forecast at once, at most


class Survey(NamedTuple):
    """Scores of single windows, and the spread and error of their samples."""

    metric: str
    numbers: list[int]  # number of each window in its split
    scores: list[float]  # one per window
    lead_times: list[float]
    spread: list[float]  # root of the mean variance over samples, per lead time
    error: list[float]  # root of the mean squared error of the samples' mean, per lead time


class Case(NamedTuple):
    """A window to show, and its pictures."""

    title: str
    number: int
    dates: list[str]  # of its forecast frames; empty if unknown
    score: float
    strip: str  # file name of the picture
    animation: str  # file name


class Futures:
    """Forecasts of evenly spaced windows; every call gives the same forecasts.

    Args:
        model: the forecaster.
        windows: the windows to forecast.
        count: largest number of windows.
        samples: futures per window; a deterministic model gives one.
        seed: seed of the samples.
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
        """The window at a position, and its forecast, the same as in `batches`."""
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
    """The first metric that can score single forecasts of such frames, or else `mse`."""
    for name in names:
        known = METRICS.get(name)
        if known and issubclass(known, SampleMetric) and known.why_not_applicable(spec, 1) is None:
            return name
    return "mse"


def survey(futures: Futures, metric: str) -> Survey:
    """Score every window separately.

    Args:
        futures: the forecasts.
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
    """Score of one window of a batch, with the metric's first way to combine samples."""
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
    """A window and its forecast, ready to draw."""

    context: Frames
    target: Frames
    forecast: Forecast


def as_shown(futures: Futures, position: int, preparation: Preparation | None) -> Shown:
    """A window and its forecast in the units of the data; fields also with their labels.

    Args:
        futures: the forecasts.
        position: position of the window among those that are forecast.
        preparation: the preparation of labelled fields, which is reversed here.
    """
    batch, drawn = futures.one(position)
    forecast, _ = futures.windows.to_score_units(drawn, batch)
    # Take all frames as a target, because only targets can be restored.
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
    """Draw the best, the median and the worst window as pictures and animations."""
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
