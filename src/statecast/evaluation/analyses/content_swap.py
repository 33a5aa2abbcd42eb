"""content_swap: the content of one sequence with the dynamics of another, against the truth."""

from __future__ import annotations

from typing import Any

import torch

from statecast.data.base import DataSource, seeded_generator
from statecast.data.content_swap import SwappableWindows, SwappedContent
from statecast.errors import InputError
from statecast.evaluation.analyses.base import Analysis, AnalysisPlan, applicable_metrics
from statecast.evaluation.text_tables import aligned, with_interval
from statecast.frames import Batch, Forecast, Frames
from statecast.metrics import METRICS
from statecast.metrics.base import Score, Sums, add
from statecast.models.base import Forecaster

SCORED_BY = ("mse", "psnr", "ssim")  # metrics that are symmetric in forecast and target
SHORT_HORIZON = 10  # frames; papers publish it beside the whole horizon
ROWS = {
    "swapped": "content of another sequence",
    "plain": "own content: no swap",
    "held": "last frame of the other sequence",
}


class ContentSwap(Analysis):
    """How well a model combines the content of one sequence with the motion of another.

    The dynamics come from a window, the content from the context of another sequence that the
    data set generates for it. The truth is the window generated again with that content. If
    several truths are possible (any digit may follow any trajectory), the best one counts for
    each window, metric and horizon.

    Protocol: Donà et al. (2021), https://arxiv.org/abs/2008.01352.
    """

    @classmethod
    def why_not_applicable(cls, model: Forecaster, data: DataSource) -> str | None:
        if not model.supports_content_swap:
            return f"{model.title} has no content to swap"
        windows = data.windows("test")
        if not isinstance(windows, SwappableWindows):
            return f"{type(windows).__name__} cannot be generated again with other content"
        return None

    def run(self, model: Forecaster, plan: AnalysisPlan) -> dict[str, Any]:
        source, seed = plan.windows, plan.seed
        if not isinstance(source, SwappableWindows):
            raise InputError(
                f"The {plan.split} windows cannot be generated again with other content."
            )
        metrics = applicable_metrics(SCORED_BY, model.spec)
        chosen = plan.chosen(source)
        sums: dict[tuple[str, str, int], Sums] = {}
        truths = 0
        for start in range(0, len(chosen), plan.batch_size):
            indices = chosen[start : start + plan.batch_size]
            batch, swapped = source.batch(indices), source.swap_content(indices, seed=seed)
            truths = len(swapped.truths)
            rows = forecasts(model, batch, swapped, seed=seed, stream=start)
            for horizon in horizons(len(batch.target)):
                for row, frames in rows.items():
                    for name, metric in metrics.items():
                        found = metric.sums(*best_of_truths(frames, swapped, horizon))
                        key = (row, name, horizon)
                        sums[key] = add(sums.get(key), found)
        scores = {key: metrics[key[1]].scores(value)["best"] for key, value in sums.items()}
        return as_json(scores, windows=len(chosen), truths=truths)

    def lines(self, result: dict[str, Any]) -> list[str]:
        """A row per forecast and horizon, a column per metric."""
        table = [["", "", *(f"{name} {METRICS[name].arrow()}" for name in result["metrics"])]]
        for horizon, rows in result["horizons"].items():
            for row, scores in rows.items():
                cells = [
                    with_interval(scores[name]["value"], scores[name]["half_width"])
                    for name in result["metrics"]
                ]
                table.append([f"t+{horizon}", ROWS[row], *cells])
        return aligned(table)


def horizons(length: int) -> list[int]:
    """Lengths of the scored horizons: a short one, and the whole one."""
    return sorted({min(SHORT_HORIZON, length), length})


def forecasts(
    model: Forecaster, batch: Batch, swapped: SwappedContent, *, seed: int, stream: int
) -> dict[str, Frames]:
    """The forecast with swapped content, and two forecasts to compare it with."""
    target = batch.target

    def forecast(content: Frames | None) -> Frames:
        made = model.forecast(
            batch.context,
            len(target),
            content_from=content,
            generator=seeded_generator(seed, stream),
        ).to("cpu")
        return Frames(values=made.samples[0], times=target.times, channels=target.channels)

    last = swapped.content.values[:, -1:]
    held = last.expand(-1, len(target), *last.shape[2:])
    return {
        "swapped": forecast(swapped.content),
        "plain": forecast(None),
        "held": Frames(values=held, times=target.times, channels=target.channels),
    }


def best_of_truths(
    forecast: Frames, swapped: SwappedContent, horizon: int
) -> tuple[Forecast, Frames]:
    """Truths as samples and forecast as target, over the first frames.

    The metrics are symmetric, so a metric's `best` then picks the best truth of each window.
    """
    truths = torch.stack([truth.values[:, :horizon] for truth in swapped.truths])
    times = forecast.times[:horizon]
    return (
        Forecast(samples=truths, times=times, channels=forecast.channels),
        Frames(values=forecast.values[:, :horizon], times=times, channels=forecast.channels),
    )


def as_json(
    scores: dict[tuple[str, str, int], Score], *, windows: int, truths: int
) -> dict[str, Any]:
    """Scores by horizon, row and metric."""
    found: dict[str, Any] = {}
    for (row, metric, horizon), score in scores.items():
        rows = found.setdefault(str(horizon), {})
        rows.setdefault(row, {})[metric] = score.to_json()
    return {
        "metrics": list(dict.fromkeys(metric for _, metric, _ in scores)),
        "windows": windows,
        "truths": truths,
        "horizons": found,
    }
