"""Forecasts of windows and their scores, whatever the memory and the number of processes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from torch import Tensor

from statecast.data.base import Windows, window_generators
from statecast.data.loading import evenly
from statecast.distributed import all_gather, is_main, share
from statecast.errors import InputError
from statecast.evaluation.metric_sums import MetricSums, merge_sums
from statecast.evaluation.slices import MEMORY_GIB, slices_within
from statecast.frames import Batch, Forecast, FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import Metric, MetricSettings, Score
from statecast.models.base import Forecaster
from statecast.solvers.solvers import SolverName

Selection = Literal["mean", "best", "worst", "ensemble_mean", "ensemble"]


class Scores(NamedTuple):
    """Scores of one forecaster over windows."""

    by_metric: dict[str, dict[str, Score]]  # metric, then how its samples are combined
    details: dict[str, dict[str, Any]]  # what does not fit a score, such as a histogram
    not_computed: dict[str, str]  # metric and reason
    protocols: dict[str, dict[str, Any]]  # what else one must know to compute a metric again
    lead_times: list[float]
    windows: int

    def value(self, metric: str, selection: str) -> float:
        """Mean over lead times of a metric.

        Errors:
            InputError: the metric was not computed, or has no such selection.
        """
        if metric not in self.by_metric:
            reason = self.not_computed.get(metric, "it was not asked for")
            raise InputError(f"There is no score {metric}: {reason}.")
        found = self.by_metric[metric]
        if selection not in found:
            raise InputError(
                f"The metric {metric} has no selection {selection!r}; it has {', '.join(found)}."
            )
        return found[selection].value


def check_metrics(names: Sequence[str]) -> None:
    """Raise `InputError` for a name that is no metric."""
    for name in names:
        if name not in METRICS:
            raise InputError(f"There is no metric {name!r}; there are {', '.join(METRICS)}.")


def applicable(
    names: Sequence[str],
    spec: FrameSpec,
    samples: int,
    settings: MetricSettings,
    *,
    stochastic: bool = True,
) -> tuple[dict[str, Metric], dict[str, str]]:
    """Metrics that can be computed, and the reasons why others cannot."""
    check_metrics(names)
    metrics: dict[str, Metric] = {}
    reasons: dict[str, str] = {}
    for name in names:
        reason = METRICS[name].why_not_applicable(spec, samples, settings)
        if METRICS[name].judges_spread and not stochastic:
            reason = "the forecast is deterministic, and has no spread to judge"
        if reason is None:
            metrics[name] = METRICS[name].of(spec, settings)
        else:
            reasons[name] = reason
    return metrics, reasons


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
    max_memory_gib: float = MEMORY_GIB,
    seed: int = 1,
    title: str | None = None,
) -> Scores:
    """Forecast windows in order and score them.

    The random numbers of a window follow from the seed and its own number in its split: neither
    the batch nor the memory nor the number of processes changes a forecast. Of several processes
    each scores a part of the windows, and all give the scores of the whole.

    Args:
        model: the forecaster.
        windows: context and target of each window.
        metrics: names of the metrics.
        samples: futures per window.
        batch_size: windows at once, at most.
        count: score so many windows, evenly spaced; by default all.
        substeps: steps of the solver per frame; by default the model's own.
        solver: of the transition's differential equation; by default the model's own.
        settings: what metrics are told, such as paths of weights.
        max_memory_gib: what forecasts and their scores may take at once, in GiB; a window at least
            is forecast whole.
        seed: of the samples.
        title: shown beside a progress bar; no bar by default.
    """
    from tqdm import tqdm

    drawn = samples if model.stochastic else 1
    # A deterministic forecast is an ensemble of equal members: its CRPS is its absolute error.
    computed, reasons = applicable(
        metrics,
        windows.scored_spec(model.spec),
        samples if model.stochastic else 2,
        settings or MetricSettings(device=device_of(model)),
        stochastic=model.stochastic,
    )
    found = MetricSums({}, reasons, [])
    chosen = evenly(len(windows), len(windows) if count is None else count)
    own = share(chosen)

    def forecast(numbers: Tensor, batch: Batch) -> Forecast:
        return model.forecast(
            batch.context,
            len(batch.target),
            samples=drawn,
            substeps=substeps,
            solver=solver,
            generator=window_generators(numbers, seed),
        ).to("cpu")

    silent = title is None or not sys.stderr.isatty() or not is_main()
    with tqdm(total=len(own), desc=title, unit="window", disable=silent) as bar:
        for numbers, batch in slices_within(
            max_memory_gib, windows, own, samples=drawn, batch_size=batch_size
        ):
            # Nothing here holds a forecast while the next one is made.
            restored = windows.to_score_units(forecast(numbers, batch), batch)
            found = found.with_batch(computed, *restored, context=batch.context)
            del restored
            bar.update(len(batch))
    sums, reasons, lead_times = merge_sums(all_gather(found))
    computed = {name: metric for name, metric in computed.items() if name not in reasons}
    return Scores(
        by_metric={name: metric.scores(sums[name]) for name, metric in computed.items()},
        details={
            name: details
            for name, metric in computed.items()
            if (details := metric.details(sums[name]))
        },
        not_computed=reasons,
        protocols={
            name: protocol
            for name, metric in computed.items()
            if (protocol := metric.protocol(sums[name]))
        },
        lead_times=lead_times,
        windows=len(chosen),
    )


def device_of(model: Forecaster) -> str:
    """Name of the device where a model is, and where networks of metrics run."""
    return str(next((buffer.device for buffer in model.buffers()), "cpu"))
