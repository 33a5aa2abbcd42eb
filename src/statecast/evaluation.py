"""evaluate: scores per lead time under a recorded protocol, beside the trivial forecasts."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from statecast.data.base import DataSource, Split, Windows, generator_of
from statecast.data.loading import ordered_batches
from statecast.errors import InputError
from statecast.files import write_text
from statecast.fitting import fitted_baselines
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import Metric, MetricSettings, Score, Sums, add
from statecast.models.base import Forecaster
from statecast.numerics.solvers import SolverName
from statecast.studies import STUDIES
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
    seed: int = 1,
    title: str | None = None,
) -> Scores:
    """Forecast windows in order and score them.

    The random numbers of a batch follow from the seed and its first window alone.

    Args:
        model: the forecaster.
        windows: context and target of each window.
        metrics: names of the metrics.
        samples: futures per window.
        batch_size: windows at once.
        count: score so many windows, evenly spaced; by default all.
        substeps: steps of the solver per frame; by default the model's own.
        solver: of the transition's differential equation; by default the model's own.
        settings: what metrics are told, such as paths of weights.
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
    sums: dict[str, Sums] = {}
    lead_times: list[float] = []
    total = len(windows) if count is None else min(count, len(windows))
    silent = title is None or not sys.stderr.isatty()
    with tqdm(total=total, desc=title, unit="window", disable=silent) as bar:
        for first, batch in ordered_batches(windows, batch_size, count=count):
            forecast = model.forecast(
                batch.context,
                len(batch.target),
                samples=drawn,
                substeps=substeps,
                solver=solver,
                generator=generator_of(seed, first),
            ).to("cpu")
            forecast, target = windows.restore(forecast, batch)
            lead_times = forecast.times.tolist()
            ensemble = forecast if model.stochastic else doubled(forecast)
            refuse(computed, reasons, target)
            for name, metric in computed.items():
                scored_as = forecast if metric.needs_samples == 1 else ensemble
                found = metric.sums(scored_as, target, context=batch.context)
                sums[name] = add(sums.get(name), found)
            bar.update(len(batch))
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
        windows=total,
    )


def device_of(model: Forecaster) -> str:
    """Name of the device where a model is, and where networks of metrics run."""
    return str(next((buffer.device for buffer in model.buffers()), "cpu"))


def refuse(computed: dict[str, Metric], reasons: dict[str, str], target: Frames) -> None:
    """Move metrics that cannot score these frames, as some are masked, to the reasons why not."""
    for name, metric in list(computed.items()):
        reason = metric.refusal(target)
        if reason is not None:
            reasons[name] = reason
            del computed[name]


def doubled(forecast: Forecast) -> Forecast:
    """A deterministic forecast as an ensemble of two equal members."""
    samples = forecast.samples.expand(2, *forecast.samples.shape[1:])
    return Forecast(samples=samples, times=forecast.times, channels=forecast.channels)


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
        batch_size: windows at once.
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

    Errors:
        InputError: there is no study of a name.
    """
    found: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name in names:
        if name not in STUDIES:
            raise InputError(f"There is no study {name!r}; there are {', '.join(STUDIES)}.")
        reason = STUDIES[name].applies_to(model, data)
        if reason is not None:
            reasons[name] = reason
            continue
        found[name] = STUDIES[name]().run(
            model, data, split=split, windows=windows, batch_size=batch_size, seed=seed
        )
    return found, reasons


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
