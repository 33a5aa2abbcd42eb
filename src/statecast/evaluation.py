"""evaluate: scores per lead time under a recorded protocol, beside the trivial forecasts."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import Tensor

from statecast.data.base import DataSource, Split, Windows, streams_of
from statecast.data.loading import evenly
from statecast.errors import InputError
from statecast.files import write_text
from statecast.fitting import fitted_baselines
from statecast.frames import Batch, Forecast, FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import Metric, MetricSettings, Score
from statecast.models.base import Forecaster
from statecast.numerics.solvers import SolverName
from statecast.processes import gathered, is_main, rank, share, size
from statecast.slices import MEMORY_GIB, slices_within
from statecast.studies import STUDIES
from statecast.tallies import Tally, together
from statecast.terms import terms_of
from statecast.version import __version__, commit

Selection = Literal["mean", "best", "worst", "ensemble_mean", "ensemble"]
SCORES_NAME = "scores.json"


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


def direction(metric: str) -> bool:
    """Whether a higher value of a metric is better.

    Errors:
        InputError: there is no such metric.
    """
    check_metrics([metric])
    return METRICS[metric].higher_is_better


def check_metrics(names: Sequence[str]) -> None:
    """Raise `InputError` for a name that is no metric."""
    for name in names:
        if name not in METRICS:
            raise InputError(f"There is no metric {name!r}; there are {', '.join(METRICS)}.")


def applicable(
    names: Sequence[str], spec: FrameSpec, samples: int, settings: MetricSettings
) -> tuple[dict[str, Metric], dict[str, str]]:
    """Metrics that can be computed, and the reasons why others cannot."""
    check_metrics(names)
    metrics: dict[str, Metric] = {}
    reasons: dict[str, str] = {}
    for name in names:
        reason = METRICS[name].applies_to(spec, samples, settings)
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
    memory_gib: float = MEMORY_GIB,
    seed: int = 1,
    title: str | None = None,
) -> Scores:
    """Forecast windows in order and score them.

    The random numbers of a window follow from the seed and its own number in its split: neither
    the batch nor the memory nor the number of processes changes a forecast. Of several processes
    that are `joined`, each scores a part of the windows, and all give the scores of the whole.

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
        memory_gib: what forecasts and their scores may take at once, in GiB; a window at least is
            forecast whole.
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
    )
    tally = Tally({}, reasons, [])
    chosen = evenly(len(windows), len(windows) if count is None else count)
    own = share(chosen)

    def forecast(numbers: Tensor, batch: Batch) -> Forecast:
        return model.forecast(
            batch.context,
            len(batch.target),
            samples=drawn,
            substeps=substeps,
            solver=solver,
            generator=streams_of(numbers, seed),
        ).to("cpu")

    silent = title is None or not sys.stderr.isatty() or not is_main()
    with tqdm(total=len(own), desc=title, unit="window", disable=silent) as bar:
        for numbers, batch in slices_within(
            memory_gib, windows, own, samples=drawn, batch_size=batch_size
        ):
            # Nothing here holds a forecast while the next one is made.
            restored = windows.restore(forecast(numbers, batch), batch)
            tally = tally.with_batch(computed, *restored, context=batch.context)
            del restored
            bar.update(len(batch))
    sums, reasons, lead_times = together(gathered(tally))
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


def evaluate(
    model: Forecaster,
    data: DataSource,
    *,
    name: str = "model",
    protocol: str | None = None,
    split: Split = "test",
    metrics: tuple[str, ...] = ("mse", "psnr", "ssim", "crps"),
    samples: int = 100,
    batch_size: int = 16,
    max_windows: int | None = None,
    substeps: int | None = None,
    solver: SolverName | None = None,
    baselines: tuple[str, ...] = ("persistence",),
    studies: tuple[str, ...] = (),
    lpips_weights: str | None = None,
    fvd_weights: str | None = None,
    allow_download: bool = False,
    thresholds: tuple[float, ...] = (),
    memory_gib: float = MEMORY_GIB,
    seed: int = 1,
) -> dict[str, Any]:
    """Scores of a model and of baselines on the same windows, with their protocol.

    Args:
        model: the trained model.
        data: where the windows come from.
        name: of the model, in the result.
        protocol: name of a protocol (`statecast list`) that sets split, horizon and samples, and
            whose metrics are computed before others; by default the options below hold.
        split: `test`, `validation` or `train`.
        metrics: names of metrics; one that does not apply is named in the result with the reason.
        samples: futures per window; a deterministic model gives one.
        batch_size: windows at once, at most.
        max_windows: score so many windows, evenly spaced; by default all.
        substeps: steps of the solver per frame; by default the model's own.
        solver: of the transition's differential equation; by default the model's own.
        baselines: scored beside the model, of `persistence`, which always is, `climatology`,
            `linear` and `dmd`; fitted on training windows where they need it.
        studies: names of studies to make besides; one that does not apply is named in the result
            with the reason.
        lpips_weights: file of the network behind LPIPS, or a folder that holds it; by default
            it is sought in `STATECAST_LPIPS_WEIGHTS`, the cache, and the folder of PyTorch's hub.
        fvd_weights: TorchScript file of the I3D network behind FVD, or a folder that holds it; by
            default it is sought in `STATECAST_FVD_I3D` and the cache. It is code, and it is run.
        allow_download: fetch the published weights of LPIPS where they are not found.
        thresholds: of the Brier score; by default the middle of the data's range.
        memory_gib: what forecasts and their scores may take at once, in GiB, beside the model;
            fewer windows are forecast at once where they would take more. Changes no score.
        seed: of the samples.

    Returns:
        `protocol`, `lead_times`, and `forecasters`: for each of them, metric and selection, the
        score at each lead time and its mean, with the half widths of their 95 % intervals;
        `studies`: what each of them found.

    Errors:
        InputError: an unknown metric or baseline, an option that does not fit, or data that do not
            satisfy the protocol.
        FileError: a file of weights that was named is missing, or one cannot be fetched.
        CorruptionError: a file of weights is not the published one.
    """
    if samples < 1 or batch_size < 1 or (max_windows is not None and max_windows < 1):
        raise InputError(
            "samples, batch_size and max_windows must be at least 1, got "
            f"{samples}, {batch_size} and {max_windows}."
        )
    terms = terms_of(protocol, data, split=split, samples=samples, metrics=metrics)
    settings = MetricSettings(
        lpips_weights=lpips_weights,
        fvd_weights=fvd_weights,
        allow_download=allow_download,
        thresholds=tuple(thresholds),
        device=device_of(model),
    )

    def scores_of(forecaster: Forecaster, title: str) -> Scores:
        return score_windows(
            forecaster,
            terms.windows,
            metrics=terms.metrics,
            samples=terms.samples,
            batch_size=batch_size,
            count=max_windows,
            substeps=substeps if forecaster is model else None,
            solver=solver if forecaster is model else None,
            settings=settings,
            memory_gib=memory_gib,
            seed=seed,
            title=title,
        )

    # Before the model is scored, which takes longer: a wrong name is found at once.
    beside = fitted_baselines(
        tuple(dict.fromkeys(("persistence", *baselines))), model, data, seed=seed
    )
    scored = {name: scores_of(model, name)}
    scored |= {key: scores_of(baseline, key) for key, baseline in beside.items()}
    own = scored[name]
    found, reasons = make_studies(
        studies,
        model,
        data,
        split=terms.split,
        windows=max_windows,
        batch_size=batch_size,
        seed=seed,
    )
    return {
        "protocol": {
            "name": protocol,
            "data": data.card,
            "split": terms.split,
            "windows": own.windows,
            "available_windows": len(terms.windows),
            "context": model.spec.context,
            "horizon": len(own.lead_times),
            "samples": terms.samples if model.stochastic else 1,
            "deterministic": not model.stochastic,
            "substeps": substeps,
            "solver": solver,
            "metrics": {metric: METRICS[metric].version for metric in terms.metrics},
            "metric_settings": own.protocols,
            "digest": terms.windows.digest,
            "seed": seed,
            "version": __version__,
            "commit": commit(),
            "notes": terms.notes,
        },
        "lead_times": own.lead_times,
        "forecasters": {key: as_json(value.by_metric) for key, value in scored.items()},
        "details": {key: value.details for key, value in scored.items() if value.details},
        "studies": found,
        "not_computed": terms.not_computed | own.not_computed | reasons,
    }


def make_studies(
    names: Sequence[str],
    model: Forecaster,
    data: DataSource,
    *,
    split: Split,
    windows: int | None,
    batch_size: int,
    seed: int,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Results of the studies that apply, and the reasons why others do not.

    Of several processes each makes some of the studies, and all give the results of all.

    Errors:
        InputError: there is no study of a name.
    """
    for name in names:
        if name not in STUDIES:
            raise InputError(f"There is no study {name!r}; there are {', '.join(STUDIES)}.")
    found: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name in names[rank() :: size()]:
        reason = STUDIES[name].applies_to(model, data)
        if reason is not None:
            reasons[name] = reason
            continue
        found[name] = STUDIES[name]().run(
            model, data, split=split, windows=windows, batch_size=batch_size, seed=seed
        )
    parts = gathered((found, reasons))
    every = {name: result for part, _ in parts for name, result in part.items()}
    return (
        {name: every[name] for name in names if name in every},
        {name: reason for _, part in parts for name, reason in part.items()},
    )


def as_json(scores: Mapping[str, Mapping[str, Score]]) -> dict[str, Any]:
    """Scores as numbers and lists."""
    return {
        metric: {selection: score_json(score) for selection, score in selections.items()}
        for metric, selections in scores.items()
    }


def score_json(score: Score) -> dict[str, Any]:
    """A score as numbers and lists; half widths per lead time only where there are any."""
    found = {
        "per_lead_time": score.per_lead_time.tolist(),
        "value": score.value,
        "half_width": score.half_width,
    }
    if score.half_widths is not None:
        found["half_widths"] = score.half_widths.tolist()
    return found


def write_scores(scores: Mapping[str, Any], folder: str | Path) -> Path:
    """Write `scores.json` into a folder; NaN and infinities are written as such names."""
    return write_text(Path(folder) / SCORES_NAME, json.dumps(scores, indent=1) + "\n")


def table(scores: Mapping[str, Any]) -> str:
    """The scores as lines of text: a row per metric and selection, a column per forecaster."""
    names = list(scores["forecasters"])
    single = scores["protocol"]["samples"] == 1  # then all selections are the same
    rows = [["score", *names]]
    for metric, selections in scores["forecasters"][names[0]].items():
        arrow = "↑" if METRICS[metric].higher_is_better else "↓"
        for selection in list(selections)[: 1 if single else None]:
            row = [f"{metric} {arrow}" + ("" if single else f" {selection}")]
            for name in names:
                found = scores["forecasters"][name].get(metric, {}).get(selection)
                row.append("–" if found is None else number(found))
            rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def number(score: Mapping[str, float]) -> str:
    """A score with the half width of its interval, where there is one."""
    interval = "" if math.isnan(score["half_width"]) else f" ± {score['half_width']:.2g}"
    return f"{score['value']:.4g}{interval}"
