"""evaluate: score a model at each lead time, beside baselines, under a recorded protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from statecast.checks import typed
from statecast.data.base import DataSource, Split, Windows
from statecast.distributed import all_gather, rank, world_size
from statecast.errors import InputError
from statecast.evaluation.analyses import ANALYSES
from statecast.evaluation.analyses.base import AnalysisPlan
from statecast.evaluation.baselines import fit_statistics, fitted_baselines
from statecast.evaluation.evaluation import Evaluation, Part
from statecast.evaluation.protocol_settings import EvaluationPlan, resolve_protocol
from statecast.evaluation.scoring import Scores, model_device, score_windows
from statecast.evaluation.shift import shift_warnings
from statecast.evaluation.skill import Skill, skill_against
from statecast.evaluation.slices import MEMORY_GIB
from statecast.evaluation.subsets import Subset, subsets_of
from statecast.evaluation.subsets import area_weights as areas_of
from statecast.evaluation.window_scores import WindowScores, score_key
from statecast.frames import FrameSpec
from statecast.metrics import METRICS
from statecast.metrics.base import ROWS, MetricSettings, with_average
from statecast.models.base import Forecaster
from statecast.models.baselines import Climatology
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
    regions: dict[str, dict[str, tuple[float, float]]] | None = None,
    seasons: bool = False,
    area_weights: bool = False,
    max_memory_gib: float = MEMORY_GIB,
    seed: int = 1,
) -> Evaluation:
    """Score a model and baselines on the same windows, under a recorded protocol.

    Args:
        model: the trained model.
        data: the data source that gives the windows.
        name: name of the model in the result.
        protocol: name of a test protocol (`statecast list`). It sets the split, the horizon and
            the number of samples, and its metrics come before those in `metrics`. By default, the
            options below apply.
        split: `test`, `validation` or `train`.
        metrics: names of metrics; the result names each one that does not apply and gives the
            reason.
        samples: futures per window; a deterministic model always gives one.
        batch_size: largest number of windows to forecast at once.
        max_windows: number of windows to score, evenly spaced; all by default.
        substeps: solver steps per frame; by default the model's own number.
        solver: solver of the transition's differential equation; by default the model's own.
        baselines: baselines to score beside the model: `persistence` (always included),
            `climatology`, `damped_persistence`, `lagrangian_persistence`, `linear`, `analogue`,
            `dmd`. Those that need it are fitted on training windows. The result names each one
            that does not fit the data and gives the reason. If the model forecasts changes from a
            reference, that reference is scored too.
        analyses: names of analyses to run as well; the result names each one that does not apply
            and gives the reason.
        lpips_weights: file with the weights of the network behind LPIPS, or the folder that holds
            it. By default statecast looks in `STATECAST_LPIPS_WEIGHTS`, in its cache, and in the
            folder of PyTorch's hub.
        fvd_weights: TorchScript file of the I3D network behind FVD, or the folder that holds it.
            By default statecast looks in `STATECAST_FVD_I3D` and in its cache. The file is code,
            and scoring runs it.
        allow_download: whether to download the published weights of LPIPS if they are missing.
        thresholds: thresholds of the Brier score; by default the middle of the data's range.
        regions: regions of labelled fields to score separately: coordinate bounds by name, such
            as `{tropics: {lat: [-20, 20]}}`.
        seasons: whether to score three-month seasons separately; frames need dates.
        area_weights: whether averages over the points of labelled fields are weighted by cell
            area, or by the cosine of latitude if the fields have no cell areas.
        max_memory_gib: memory that forecasts and their scores may take at once, in GiB, in
            addition to the model. If they would take more, fewer windows are forecast at once.
            Scores do not depend on it.
        seed: seed of the samples.

    Returns:
        The scores of each forecaster with their protocol; scores of each variable if there are
        several; comparisons of the model with each baseline; and warnings if the windows differ
        from those of training.

    Errors:
        InputError: a metric, baseline or analysis is unknown, an option does not fit, or the data
            do not satisfy the protocol.
        FileError: a file of weights that was named is missing, or a download failed.
        CorruptionError: a file of weights is not the published one.
    """
    if samples < 1 or batch_size < 1 or (max_windows is not None and max_windows < 1):
        raise InputError(
            "samples, batch_size and max_windows must be at least 1, got "
            f"{samples}, {batch_size} and {max_windows}."
        )
    plan = resolve_protocol(protocol, data, split=split, samples=samples, metrics=metrics)
    spec = plan.windows.scored_spec(model.spec)
    subsets = subsets_of(plan.windows, spec, regions=regions or {}, seasons=seasons)
    score = partial(
        score_windows,
        windows=plan.windows,
        metrics=plan.metrics,
        samples=plan.samples,
        batch_size=batch_size,
        count=max_windows,
        settings=MetricSettings(
            lpips_weights=lpips_weights,
            fvd_weights=fvd_weights,
            allow_download=allow_download,
            thresholds=tuple(thresholds),
            device=str(model_device(model)),
            climatology=climatology_of(model, data, plan, seed) if "acc" in plan.metrics else None,
            weights=areas_of(plan.windows, spec.space) if area_weights else None,
        ),
        subsets=subsets,
        max_memory_gib=max_memory_gib,
        seed=seed,
    )
    # Before the model is scored, which takes longer: a wrong name is reported at once.
    fitted, unfitted = fitted_baselines(
        tuple(dict.fromkeys(("persistence", *baselines))), model, data, seed=seed
    )
    own = score(model, substeps=substeps, solver=solver, title=name)
    scored = {name: own} | {key: score(one, title=key) for key, one in fitted.items()}
    found, inapplicable = run_analyses(
        analyses, model, AnalysisPlan(data, plan.split, max_windows, batch_size, seed)
    )
    options = {
        "substeps": substeps, "solver": solver, "area_weights": area_weights, "seed": seed,
    }  # fmt: skip
    return Evaluation(
        protocol=recorded_protocol(plan, model, data, own) | options,
        lead_times=own.lead_times,
        unit=spec.unit,
        forecasters={key: scores.by_metric for key, scores in scored.items()},
        details={key: scores.details for key, scores in scored.items() if scores.details},
        skill={key: skill_of(own, scored[key], seed) for key in fitted},
        parts=parts_of(scored, subsets, spec),
        analyses=found,
        warnings=shift_warnings(data.windows("train"), plan.windows)
        if data.has_training_windows
        else [],
        not_computed=plan.not_computed | reasons_of(scored) | unfitted | inapplicable,
        windows=windows_of(scored),
    )


def recorded_protocol(
    plan: EvaluationPlan, model: Forecaster, data: DataSource, scores: Scores
) -> dict[str, Any]:
    """The settings that reproduce a model's scores and make them comparable."""
    return {
        "name": plan.protocol,
        "data": data.card,
        "split": plan.split,
        "windows": scores.windows,
        "available_windows": len(plan.windows),
        "context": model.spec.context,
        "horizon": len(scores.lead_times),
        "samples": plan.samples if model.stochastic else 1,
        "deterministic": not model.stochastic,
        "metrics": {metric: METRICS[metric].version for metric in plan.metrics},
        "metric_settings": scores.protocols,
        "digest": plan.windows.digest,
        "version": __version__,
        "commit": commit(),
        "notes": plan.notes,
    }


def climatology_of(
    model: Forecaster, data: DataSource, plan: EvaluationPlan, seed: int
) -> torch.Tensor | None:
    """Mean training frame (channel, *space); None without training data or in other units."""
    other_units = type(plan.windows).to_score_units is not Windows.to_score_units
    if other_units or not data.has_training_windows:
        return None
    fitted = Climatology(model.spec)
    windows = data.windows("train")
    fit_statistics(fitted, windows, batch_size=min(32, len(windows)), seed=seed)
    return fitted.mean


def skill_of(own: Scores, baseline: Scores, seed: int) -> dict[str, dict[str, Skill]]:
    """The model's skill against a baseline, by every metric that scores single windows."""
    return {
        name: skill_against(
            METRICS[name], own.sums[name], baseline.sums[name], own.sequences, seed=seed
        )
        for name in own.by_metric
        if name in baseline.by_metric and METRICS[name].selections
    }


def parts_of(
    scored: Mapping[str, Scores], subsets: Sequence[Subset], spec: FrameSpec
) -> dict[str, dict[str, Part]]:
    """Scores of each subset, by kind and name."""
    found: dict[str, dict[str, Part]] = {}
    for subset in subsets:
        table = {key: scores.parts[subset.kind, subset.name] for key, scores in scored.items()}
        found.setdefault(subset.kind, {})[subset.name] = Part(subset.spec(spec).unit, table)
    return found


def reasons_of(scored: Mapping[str, Scores]) -> dict[str, str]:
    """Why metrics are missing for the model, and for baselines if the model has them."""
    own, *_ = scored.values()
    return own.not_computed | {
        f"{metric} of {key}": reason
        for key, scores in scored.items()
        for metric, reason in scores.not_computed.items()
        if metric not in own.not_computed
    }


def windows_of(scored: Mapping[str, Scores]) -> WindowScores:
    """Scores of single windows, averaged over lead times."""
    own, *_ = scored.values()
    values = {}
    for key, scores in scored.items():
        for metric, found in scores.by_metric.items():
            sums = scores.sums[metric]
            for selection in METRICS[metric].selections:
                if math.isnan(found[selection].value):
                    continue  # a NaN score must not be mistaken for an unknown value
                rows, known = with_average(sums[f"{selection}{ROWS}"], sums[f"known{ROWS}"])
                average = torch.where(known[:, -1], rows[:, -1], torch.nan)
                values[score_key(key, metric, selection)] = average
    return WindowScores(own.numbers, own.sequences, values)


def run_analyses(
    names: Sequence[str], model: Forecaster, plan: AnalysisPlan
) -> tuple[dict[str, Any], dict[str, str]]:
    """Run the analyses that apply; return their results, and why the others do not apply.

    Several processes share the analyses, and each returns every result.

    Errors:
        InputError: an analysis is unknown.
    """
    for name in names:
        if name not in ANALYSES:
            raise InputError(f"There is no analysis {name!r}; choose from {', '.join(ANALYSES)}.")
    found: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for name in names[rank() :: world_size()]:
        reason = ANALYSES[name].why_not_applicable(model, plan.data)
        if reason is not None:
            reasons[name] = reason
            continue
        found[name] = ANALYSES[name]().run(model, plan)
    parts = all_gather((found, reasons))
    every = {name: result for part, _ in parts for name, result in part.items()}
    return (
        {name: every[name] for name in names if name in every},
        {name: reason for _, part in parts for name, reason in part.items()},
    )
