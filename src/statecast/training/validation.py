"""Validation: the score that ranks checkpoints."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.data.base import DataSource, InferredOption, Windows, window_generators
from statecast.data.loading import evenly
from statecast.distributed import all_gather, share
from statecast.errors import InputError
from statecast.evaluation.scoring import (
    Selection,
    check_metrics,
    model_device,
    score_windows,
    why_not_applicable,
)
from statecast.evaluation.slices import MEMORY_GIB, slices_within
from statecast.frames import Batch, Frames, FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import Score, Sums, add, average_of, rows_of, score_of
from statecast.metrics.masking import filled, known_in
from statecast.metrics.per_sample import SampleMetric
from statecast.models.base import Forecaster, evaluation_mode
from statecast.models.state_space import StateSpaceForecaster
from statecast.training.options import Ranking

CALIBRATION = 4  # stream of random numbers, separate from those of validation scores


def validation_choices(
    model: Forecaster, data: DataSource, *, metric: str, ranking: str, samples: int
) -> list[InferredOption]:
    """Options that replace a metric that needs a range, if the data have none.

    CRPS replaces it, or the mean squared error if there is only one sample.
    """
    reason = why_not_scorable(model, data, metric, samples)
    ranged = replace(model.spec, value_range=(0.0, 1.0))
    if reason is None or why_not_applicable(metric, ranged, samples, stochastic=model.stochastic):
        return []
    found, reduction = ("crps", "ensemble") if samples > 1 else ("mse", "mean")
    if ranking == "paper":  # takes the best of several samples
        found, reduction = "mse", "best"
    return [
        InferredOption(
            "validation", f"by {found}; for {metric} {reason}", "validation_metric", found
        ),
        InferredOption("validation", f"{reduction} of samples", "validation_reduction", reduction),
    ]


def why_not_scorable(model: Forecaster, data: DataSource, metric: str, samples: int) -> str | None:
    """Why a metric cannot score validation windows; None if it can."""
    check_metrics([metric])
    reason = why_not_applicable(metric, model.spec, samples, stochastic=model.stochastic)
    if reason is None:
        return None
    # Windows may be scored in units that have a range; only then are they opened.
    spec = data.windows("validation").scored_spec(model.spec)
    return why_not_applicable(metric, spec, samples, stochastic=model.stochastic)


def check_scorable(model: Forecaster, data: DataSource, metric: str, samples: int) -> None:
    """Raise `InputError` unless a metric can score validation windows."""
    reason = why_not_scorable(model, data, metric, samples)
    if reason is not None:
        raise InputError(
            f"Validation cannot score {metric}: {reason}. Set validation_metric: crps or mse."
        )


def reduction_of(metric: str, asked: Selection | None) -> Selection:
    """How samples are combined for a metric: as requested, or its usual way."""
    return asked or cast("Selection", METRICS[metric].reductions[0])


def check_validation(
    model: Forecaster, metric: str, reduction: Selection | None, ranking: str
) -> None:
    """Raise `InputError` unless this model and metric can rank checkpoints this way."""
    check_metrics([metric])
    known = METRICS[metric].reductions
    if reduction is not None and reduction not in known:
        raise InputError(
            f"{metric} combines samples by {' or '.join(known)}, got validation_reduction: "
            f"{reduction}."
        )
    if ranking == "future":
        return
    if ranking != "paper":
        raise InputError(f"validation_ranking should be future or paper, got {ranking!r}.")
    if not isinstance(model, StateSpaceForecaster) or not model.reconstructs:
        raise InputError(
            f"validation_ranking: paper needs a model that reconstructs its context, but "
            f"{model.title} does not. Set validation_ranking: future."
        )
    if not issubclass(METRICS[metric], SampleMetric) or reduction != "best":
        raise InputError(
            "validation_ranking: paper takes the best of several samples by a metric of single "
            f"frames, got {metric} and {reduction}. Set validation_reduction: best and "
            "validation_metric: psnr, or validation_ranking: future."
        )


def validation_score(
    model: Forecaster,
    windows: Windows,
    *,
    metric: str,
    reduction: Selection | None = None,
    ranking: Ranking = "future",
    samples: int = 1,
    batch_size: int = 16,
    count: int | None = None,
    seed: int = 1,
    title: str | None = None,
) -> Score:
    """Score windows by a metric; return the score with its interval.

    Several processes share the windows, and each returns the score of all of them.

    Args:
        model: the forecaster.
        windows: context and target of each window.
        metric: name of the metric.
        reduction: how samples are combined; by default the metric's usual way.
        ranking: `future` uses only forecast frames. `paper` chooses the best sample of each window
            by all its frames, including the reconstructed context, and scores the forecast frames
            of that sample, as the published code of Franceschi et al. (2020),
            https://arxiv.org/abs/2002.09219, does.
        samples: futures per window.
        batch_size: windows per batch.
        count: number of windows to score, evenly spaced; all by default.
        seed: seed of the samples; both rankings draw the same futures.
        title: title of a progress bar; no bar by default.

    Errors:
        InputError: the model, metric or reduction does not fit the ranking.
    """
    check_validation(model, metric, reduction, ranking)
    if ranking == "future":
        scores = score_windows(
            model,
            windows,
            metrics=[metric],
            samples=samples,
            batch_size=batch_size,
            count=count,
            seed=seed,
            title=title,
        )
        return scores.of(metric, reduction_of(metric, reduction))
    judge = metric_of(metric, model.spec)
    sums: Sums | None = None
    chosen = evenly(len(windows), count)
    drawn = samples if model.stochastic else 1
    for numbers, batch in slices_within(
        MEMORY_GIB, windows, share(chosen), samples=drawn, batch_size=batch_size, title=title
    ):
        frames, known = chosen_scores(
            cast("StateSpaceForecaster", model), batch, judge, samples, (numbers, seed)
        )
        sums = add(sums, rows_of({"best": frames}, known))
    parts = [part for part in all_gather(sums) if part is not None]
    sums = reduce(add, parts)
    return score_of("best", sums)


def fit_on_validation(
    model: Forecaster,
    windows: Windows,
    *,
    samples: int,
    batch_size: int,
    count: int | None,
    seed: int,
    step: int,
    title: str | None = None,
) -> None:
    """Fit a model to validation windows if it needs that; see `Forecaster.fit_on_validation`.

    Args:
        model: the model; it is changed in place.
        windows: windows of the validation split, never of the test split.
        samples: futures per window.
        batch_size: windows per batch.
        count: number of windows, evenly spaced; all by default.
        seed: seed of the samples.
        step: step of the training.
        title: title of a progress bar; no bar by default.
    """
    if not model.needs_validation_fit:
        return
    chosen = evenly(len(windows), count)
    device = model_device(model)
    slices = slices_within(
        MEMORY_GIB,
        windows,
        chosen,
        samples=samples if model.stochastic else 1,
        batch_size=batch_size,
        title=title,
    )
    batches = (
        (batch.to(device), window_generators(numbers, seed, CALIBRATION))
        for numbers, batch in slices
    )
    with evaluation_mode(model) as evaluated, torch.no_grad():
        evaluated.fit_on_validation(batches, samples=samples, step=step)


def metric_of(name: str, spec: FrameSpec) -> SampleMetric:
    """A metric of single frames, for frames of this kind.

    Errors:
        InputError: the metric does not apply to such frames.
    """
    reason = METRICS[name].why_not_applicable(spec, 1)
    if reason is not None:
        raise InputError(f"Validation cannot score {name}: {reason}.")
    return cast("SampleMetric", METRICS[name].of(spec))


def chosen_scores(
    model: StateSpaceForecaster,
    batch: Batch,
    metric: SampleMetric,
    samples: int,
    stream: tuple[Tensor, int],
) -> tuple[Float[Tensor, "batch time"], Bool[Tensor, "batch time"]]:
    """Scores of the forecast frames of each window's best sample, and which of them count.

    The best sample is the best on all frames of the window.
    """
    drawn = samples if model.stochastic else 1
    # The same streams twice, so that each reconstruction is the past of the same forecast.
    past = model.reconstruct(batch.context, samples=drawn, generator=window_generators(*stream))
    future = model.forecast(
        batch.context, len(batch.target), samples=drawn, generator=window_generators(*stream)
    )
    before, seen = frame_scores(metric, past.cpu(), batch.context)
    after, known = frame_scores(metric, future.samples.cpu(), batch.target)
    averages = average_of(torch.cat([before, after], dim=2), torch.cat([seen, known], dim=1))
    best = averages.argmax(dim=0) if metric.higher_is_better else averages.argmin(dim=0)
    chosen = after[best, torch.arange(len(batch))]
    chosen[averages.isnan().any(dim=0)] = torch.nan  # a NaN sample must stay visible
    return chosen, known


def frame_scores(
    metric: SampleMetric, samples: Float[Tensor, "sample batch time channel *space"], truth: Frames
) -> tuple[Float[Tensor, "sample batch time"], Bool[Tensor, "batch time"]]:
    """Scores of every frame of every sample as they enter a mean, and which of them count."""
    known = known_in(truth)
    scores = metric.all_scores(list(samples), filled(truth.values, known), known)
    counting = metric.scorable(known)
    if counting is None:
        counting = torch.ones(scores.shape[1:], dtype=torch.bool)
    return metric.counted(scores).double(), counting
