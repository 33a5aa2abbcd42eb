"""Validation: the one number that ranks checkpoints, under a protocol of its own."""

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

CALIBRATION = 4  # stream of random numbers, apart from those that validation scores


def validation_choices(
    model: Forecaster, data: DataSource, *, metric: str, ranking: str, samples: int
) -> list[InferredOption]:
    """Options that replace a metric which needs a range, when the data have none.

    CRPS replaces it, or the mean squared error where there is one sample.
    """
    reason = why_not_scorable(model, data, metric, samples)
    ranged = replace(model.spec, value_range=(0.0, 1.0))
    if reason is None or why_not_applicable(metric, ranged, samples, stochastic=model.stochastic):
        return []
    found, reduction = ("crps", "ensemble") if samples > 1 else ("mse", "mean")
    if ranking == "paper":  # which takes the best of several samples
        found, reduction = "mse", "best"
    return [
        InferredOption(
            "validation", f"by {found}; for {metric} {reason}", "validation_metric", found
        ),
        InferredOption("validation", f"{reduction} of samples", "validation_reduction", reduction),
    ]


def why_not_scorable(model: Forecaster, data: DataSource, metric: str, samples: int) -> str | None:
    """Why validation windows cannot be scored by a metric; None where they can."""
    check_metrics([metric])
    reason = why_not_applicable(metric, model.spec, samples, stochastic=model.stochastic)
    if reason is None:
        return None
    # Windows that score in other units may know a range; they are opened for no other reason.
    spec = data.windows("validation").scored_spec(model.spec)
    return why_not_applicable(metric, spec, samples, stochastic=model.stochastic)


def check_scorable(model: Forecaster, data: DataSource, metric: str, samples: int) -> None:
    """Raise `InputError` unless validation windows can be scored by a metric."""
    reason = why_not_scorable(model, data, metric, samples)
    if reason is not None:
        raise InputError(
            f"Validation cannot score {metric}: {reason}. Set validation_metric: crps or mse."
        )


def reduction_of(metric: str, asked: Selection | None) -> Selection:
    """How samples are combined for a metric: as asked, or its usual way."""
    return asked or cast("Selection", METRICS[metric].reductions[0])


def check_validation(
    model: Forecaster, metric: str, reduction: Selection | None, ranking: str
) -> None:
    """Raise `InputError` unless checkpoints can be ranked this way, with this model and metric."""
    check_metrics([metric])
    known = METRICS[metric].reductions
    if reduction is not None and reduction not in known:
        raise InputError(
            f"Validation by {metric} combines samples by {' or '.join(known)}, got "
            f"validation_reduction: {reduction}."
        )
    if ranking == "future":
        return
    if ranking != "paper":
        raise InputError(f"validation_ranking is future or paper, got {ranking!r}.")
    if not isinstance(model, StateSpaceForecaster) or not model.reconstructs:
        raise InputError(
            f"The paper's validation needs a model that reconstructs its context, which "
            f"{model.title} does not. Set validation_ranking: future."
        )
    if not issubclass(METRICS[metric], SampleMetric) or reduction != "best":
        raise InputError(
            "The paper's validation takes the best of several samples, by a metric of single "
            f"frames: got {metric} and {reduction}. Set validation_reduction: best and "
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
    """Score of windows by a metric, with its interval.

    With several processes, each scores a part of them, and all return the same result.

    Args:
        model: the forecaster.
        windows: context and target of each window.
        metric: name of the metric.
        reduction: how samples are combined; by default the metric's usual way.
        ranking: `future` sees forecast frames alone. `paper` chooses the best sample of each
            window by all its frames, reconstructed context included, and scores the forecast
            frames of that one, as the published code of Franceschi et al. (2020),
            https://arxiv.org/abs/2002.09219.
        samples: futures per window.
        batch_size: windows at once.
        count: score this many windows, evenly spaced; by default all.
        seed: of the samples, the same futures with both rankings.
        title: shown beside a progress bar; no bar by default.

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
    """Let a model take what it needs from validation windows; see its `fit_on_validation`.

    Args:
        model: changed in place.
        windows: of the validation split, never of the test split.
        samples: futures per window.
        batch_size: windows at once.
        count: windows, evenly spaced; by default all.
        seed: of the samples.
        step: of the training.
        title: shown beside a progress bar; no bar by default.
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
        InputError: it does not apply to them.
    """
    reason = METRICS[name].why_not_applicable(spec, 1)
    if reason is not None:
        raise InputError(f"There is no score {name}: {reason}.")
    return cast("SampleMetric", METRICS[name].of(spec))


def chosen_scores(
    model: StateSpaceForecaster,
    batch: Batch,
    metric: SampleMetric,
    samples: int,
    stream: tuple[Tensor, int],
) -> tuple[Float[Tensor, "batch time"], Bool[Tensor, "batch time"]]:
    """Scores of the forecast frames of the sample that is best on all frames of each window.

    Which of them count, in a target with unknown values, comes second.
    """
    drawn = samples if model.stochastic else 1
    # The same streams twice: what is reconstructed is the past of the futures that are forecast.
    past = model.reconstruct(batch.context, samples=drawn, generator=window_generators(*stream))
    future = model.forecast(
        batch.context, len(batch.target), samples=drawn, generator=window_generators(*stream)
    )
    before, seen = frame_scores(metric, past.cpu(), batch.context)
    after, known = frame_scores(metric, future.samples.cpu(), batch.target)
    averages = average_of(torch.cat([before, after], dim=2), torch.cat([seen, known], dim=1))
    best = averages.argmax(dim=0) if metric.higher_is_better else averages.argmin(dim=0)
    chosen = after[best, torch.arange(len(batch))]
    chosen[averages.isnan().any(dim=0)] = torch.nan  # must not hide behind better samples
    return chosen, known


def frame_scores(
    metric: SampleMetric, samples: Float[Tensor, "sample batch time channel *space"], truth: Frames
) -> tuple[Float[Tensor, "sample batch time"], Bool[Tensor, "batch time"]]:
    """Scores of every frame of every sample, as they count in a mean, and which of them do."""
    known = known_in(truth)
    scores = metric.all_scores(list(samples), filled(truth.values, known), known)
    counting = metric.scorable(known)
    if counting is None:
        counting = torch.ones(scores.shape[1:], dtype=torch.bool)
    return metric.counted(scores).double(), counting
