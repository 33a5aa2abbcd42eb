"""evaluate: scores per lead time under a recorded protocol, beside the trivial forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from statecast.checks import typed
from statecast.data.base import DataSource, Split
from statecast.distributed import all_gather, rank, world_size
from statecast.errors import InputError
from statecast.evaluation.analyses import ANALYSES
from statecast.evaluation.baselines import fitted_baselines
from statecast.evaluation.protocol_settings import resolve_protocol
from statecast.evaluation.score_tables import as_json
from statecast.evaluation.scoring import Scores, device_of, score_windows
from statecast.evaluation.slices import MEMORY_GIB
from statecast.metrics import METRICS
from statecast.metrics.base import MetricSettings
from statecast.models.base import Forecaster
from statecast.solvers.solvers import SolverName
from statecast.version import __version__, commit


@typed
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
    analyses: tuple[str, ...] = (),
    lpips_weights: str | None = None,
    fvd_weights: str | None = None,
    allow_download: bool = False,
    thresholds: tuple[float, ...] = (),
    max_memory_gib: float = MEMORY_GIB,
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
        analyses: names of analyses to make besides; one that does not apply is named in the result
            with the reason.
        lpips_weights: file of the network behind LPIPS, or a folder that holds it; by default
            it is sought in `STATECAST_LPIPS_WEIGHTS`, the cache, and the folder of PyTorch's hub.
        fvd_weights: TorchScript file of the I3D network behind FVD, or a folder that holds it; by
            default it is sought in `STATECAST_FVD_I3D` and the cache. It is code, and it is run.
        allow_download: fetch the published weights of LPIPS where they are not found.
        thresholds: of the Brier score; by default the middle of the data's range.
        max_memory_gib: what forecasts and their scores may take at once, in GiB, beside the model;
            fewer windows are forecast at once where they would take more. Changes no score.
        seed: of the samples.

    Returns:
        `protocol`, `lead_times`, and `forecasters`: for each of them, metric and selection, the
        score at each lead time and its mean, with the half widths of their 95 % intervals;
        `analyses`: what each of them found.

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
    terms = resolve_protocol(protocol, data, split=split, samples=samples, metrics=metrics)
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
            max_memory_gib=max_memory_gib,
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
    found, reasons = run_analyses(
        analyses,
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
        "analyses": found,
        "not_computed": {
            **terms.not_computed,
            **own.not_computed,
            **{
                f"{metric} of {key}": reason
                for key, scores in scored.items()
                for metric, reason in scores.not_computed.items()
                if metric not in own.not_computed
            },
            **reasons,
        },
    }


def run_analyses(
    names: Sequence[str],
    model: Forecaster,
    data: DataSource,
    *,
    split: Split,
    windows: int | None,
    batch_size: int,
    seed: int,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Results of the analyses that apply, and the reasons why others do not.

    Of several processes each makes some of the analyses, and all give the results of all.

    Errors:
        InputError: there is no analysis of a name.
    """
    for name in names:
        if name not in ANALYSES:
            raise InputError(f"There is no analysis {name!r}; there are {', '.join(ANALYSES)}.")
    found: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name in names[rank() :: world_size()]:
        reason = ANALYSES[name].why_not_applicable(model, data)
        if reason is not None:
            reasons[name] = reason
            continue
        found[name] = ANALYSES[name]().run(
            model, data, split=split, windows=windows, batch_size=batch_size, seed=seed
        )
    parts = all_gather((found, reasons))
    every = {name: result for part, _ in parts for name, result in part.items()}
    return (
        {name: every[name] for name in names if name in every},
        {name: reason for _, part in parts for name, reason in part.items()},
    )
