"""Forecasts of windows and their scores, in bounded memory and on several processes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from statecast.data.base import Windows, window_generators
from statecast.data.loading import evenly
from statecast.distributed import all_gather, share
from statecast.errors import InputError
from statecast.evaluation.slices import MEMORY_GIB, slices_within
from statecast.evaluation.subsets import Subset, calendar_of
from statecast.frames import Batch, Forecast, Frames, FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import DEFAULTS, SEQUENCES, Metric, MetricSettings, Score, Sums, add
from statecast.models.base import Forecaster
from statecast.solvers.solvers import SolverName

Selection = Literal["mean", "best", "worst", "ensemble_mean", "ensemble"]


class Scores(NamedTuple):
    """Scores of one forecaster over windows."""

    by_metric: dict[str, dict[str, Score]]  # by metric and selection
    details: dict[str, dict[str, Any]]  # results that are not a score, such as a histogram
    not_computed: dict[str, str]  # why metrics are missing
    protocols: dict[str, dict[str, Any]]  # facts needed to compute a metric again
    lead_times: list[float]
    sums: dict[str, Sums]  # of each metric
    numbers: Tensor  # number of each window in its split
    sequences: Tensor  # number of the sequence of each window
    parts: dict[tuple[str, str], dict[str, dict[str, Score]]]  # by kind and name of a subset

    @property
    def windows(self) -> int:
        """Number of windows."""
        return len(self.numbers)

    def of(self, metric: str, selection: str) -> Score:
        """The score by a metric.

        Errors:
            InputError: the metric was not computed, or has no such selection.
        """
        if metric not in self.by_metric:
            reason = self.not_computed.get(metric, "it was not requested")
            raise InputError(f"{metric} was not computed: {reason}.")
        found = self.by_metric[metric]
        if selection not in found:
            raise InputError(
                f"The metric {metric} has no selection {selection!r}; it has {', '.join(found)}."
            )
        return found[selection]


def check_metrics(names: Sequence[str]) -> None:
    """Raise `InputError` for a name that is not a metric."""
    for name in names:
        if name not in METRICS:
            raise InputError(f"There is no metric {name!r}; choose from {', '.join(METRICS)}.")


def applicable(
    names: Sequence[str],
    spec: FrameSpec,
    samples: int,
    settings: MetricSettings,
    *,
    stochastic: bool = True,
) -> tuple[dict[str, Metric], dict[str, str]]:
    """The metrics that can be computed, and why the others cannot."""
    check_metrics(names)
    metrics: dict[str, Metric] = {}
    reasons: dict[str, str] = {}
    for name in names:
        reason = why_not_applicable(name, spec, samples, settings, stochastic=stochastic)
        if reason is None:
            metrics[name] = METRICS[name].of(spec, settings)
            metrics[name].weights = settings.weights
        else:
            reasons[name] = reason
    return metrics, reasons


def why_not_applicable(
    name: str,
    spec: FrameSpec,
    samples: int,
    settings: MetricSettings = DEFAULTS,
    *,
    stochastic: bool,
) -> str | None:
    """Why a metric cannot score a forecaster's samples; None if it can."""
    if METRICS[name].judges_spread and not stochastic:
        return "the forecast is deterministic, so it has no spread to judge"
    # A deterministic forecast is an ensemble of equal members: its CRPS is its absolute error.
    return METRICS[name].why_not_applicable(spec, samples if stochastic else 2, settings)


def score_windows(
    model: Forecaster,
    windows: Windows,
    *,
    metrics: Sequence[str],
    samples: int = 1,
    batch_size: int = 16,
    count: int | None = None,
    substeps: int | None = None,
    solver: SolverName | None = None,
    settings: MetricSettings | None = None,
    subsets: Sequence[Subset] = (),
    max_memory_gib: float = MEMORY_GIB,
    seed: int = 1,
    title: str | None = None,
) -> Scores:
    """Forecast windows in order and score them.

    The random numbers of a window depend only on the seed and on the window's number in its
    split, so the batch size, the memory and the number of processes change no forecast. Several
    processes share the windows, and each returns the scores of all of them.

    Args:
        model: the forecaster.
        windows: context and target of each window.
        metrics: names of the metrics.
        samples: futures per window.
        batch_size: largest number of windows to forecast at once.
        count: number of windows to score, evenly spaced; all by default.
        substeps: solver steps per frame; by default the model's own number.
        solver: solver of the transition's differential equation; by default the model's own.
        settings: settings of the metrics, such as paths of weights.
        subsets: variables, regions and seasons to score as well.
        max_memory_gib: memory that forecasts and their scores may take at once, in GiB; one
            window is always forecast whole.
        seed: seed of the samples.
        title: title of a progress bar; no bar by default.
    """
    drawn = samples if model.stochastic else 1
    settings = settings or MetricSettings(device=str(model_device(model)))
    spec = windows.scored_spec(model.spec)
    fitting = partial(applicable, samples=samples, stochastic=model.stochastic)
    computed, reasons = fitting(metrics, spec, settings=settings)
    of_points = [name for name, m in computed.items() if m.selections or m.judges_spread]
    others = [
        fitting(of_points, subset.spec(spec), settings=subset.settings(settings))
        for subset in subsets
    ]
    tallies = [MetricSums({}, found[1], []) for found in [(computed, reasons), *others]]
    chosen = evenly(len(windows), count)
    own = share(chosen)

    def forecast(numbers: Tensor, batch: Batch) -> Forecast:
        return model.forecast_windows(
            numbers,
            batch,
            samples=drawn,
            substeps=substeps,
            solver=solver,
            generator=window_generators(numbers, seed),
        ).to("cpu")

    dated = any(subset.months for subset in subsets)
    for numbers, batch in slices_within(
        max_memory_gib, windows, own, samples=drawn, batch_size=batch_size, title=title
    ):
        # Unnamed and deleted, so that memory never holds two forecasts.
        restored = windows.to_score_units(forecast(numbers, batch), batch)
        tallies[0] = tallies[0].with_batch(computed, *restored, context=batch.context)
        calendar = calendar_of(windows, numbers, restored[1].times) if dated else None
        for i, (subset, (held, _)) in enumerate(zip(subsets, others, strict=True), start=1):
            tallies[i] = tallies[i].with_batch(held, *subset.of(*restored, calendar))
        del restored
    sequences = windows.sequence_numbers[chosen]
    gathered = all_gather(tallies)
    whole, *parts = [
        merge_sums([found[i] for found in gathered], sequences) for i in range(len(tallies))
    ]
    kept = {name: metric for name, metric in computed.items() if name not in whole.reasons}
    return Scores(
        by_metric={name: metric.scores(whole.sums[name]) for name, metric in kept.items()},
        details=filled({name: m.details(whole.sums[name]) for name, m in kept.items()}),
        not_computed=whole.reasons,
        protocols=filled({name: m.protocol(whole.sums[name]) for name, m in kept.items()}),
        lead_times=whole.lead_times,
        sums=whole.sums,
        numbers=chosen,
        sequences=sequences,
        parts={
            (subset.kind, subset.name): {
                name: metric.scores(found.sums[name])
                for name, metric in held.items()
                if name in kept and name not in found.reasons
            }
            for subset, (held, _), found in zip(subsets, others, parts, strict=True)
        },
    )


def filled(tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The tables that are not empty."""
    return {name: table for name, table in tables.items() if table}


def model_device(model: Forecaster) -> torch.device:
    """The device of a model."""
    return next((buffer.device for buffer in model.buffers()), torch.device("cpu"))


class MetricSums(NamedTuple):
    """Sums of several metrics over some windows."""

    sums: dict[str, Sums]  # by metric
    reasons: dict[str, str]  # why other metrics cannot score all of the windows
    lead_times: list[float]

    def with_batch(
        self,
        metrics: Mapping[str, Metric],
        forecast: Forecast,
        target: Frames,
        *,
        context: Frames | None = None,
    ) -> MetricSums:
        """Add a batch, for the metrics that have scored every window so far."""
        refused = {name: metric.why_not_scorable(target) for name, metric in metrics.items()}
        reasons = {name: reason for name, reason in refused.items() if reason} | self.reasons
        sums = {}
        for name, metric in metrics.items():
            if name in reasons:
                continue
            few = metric.needs_samples > len(forecast.samples) == 1
            scored_as = doubled(forecast) if few else forecast
            found = metric.sums(scored_as, target, context=context)
            sums[name] = add(self.sums.get(name), found)
        return MetricSums(sums, reasons, forecast.times.tolist())


def merge_sums(parts: Sequence[MetricSums], sequences: Tensor) -> MetricSums:
    """Merge the sums of several processes, in their order.

    Args:
        parts: sums of each process; a process without windows adds nothing.
        sequences: number of the sequence that each window was cut from.
    """
    reasons = {name: reason for part in parts for name, reason in part.reasons.items()}
    sums: dict[str, Sums] = {}
    for part in parts:
        for name in part.sums.keys() - reasons.keys():
            sums[name] = add(sums.get(name), part.sums[name])
    if len(sequences.unique()) < len(sequences):
        sums = {name: found | {SEQUENCES: sequences} for name, found in sums.items()}
    return MetricSums(sums, reasons, next((t.lead_times for t in parts if t.lead_times), []))


def doubled(forecast: Forecast) -> Forecast:
    """A deterministic forecast as an ensemble of two equal members."""
    samples = forecast.samples.expand(2, *forecast.samples.shape[1:])
    return Forecast(samples=samples, times=forecast.times, channels=forecast.channels)
