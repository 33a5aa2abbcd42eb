"""evaluate: scores per lead time under a recorded protocol, beside the trivial forecasts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
        max_windows: score this many windows, evenly spaced; by default all.
        substeps: steps of the solver per frame; by default the model's own.
        solver: of the transition's differential equation; by default the model's own.
        baselines: scored beside the model: `persistence` (always), `climatology`,
            `damped_persistence`, `linear`, `analogue`, `dmd`; fitted on training windows where they
            need it. One that does not fit the data is named in the result with the reason. The
            reference of a model that has one is scored as well, as samples of the same kind.
        analyses: names of analyses to add; one that does not apply is named in the result
            with the reason.
        lpips_weights: file of the network behind LPIPS, or a folder that holds it; by default
            it is looked for in `STATECAST_LPIPS_WEIGHTS`, the cache, and the folder of PyTorch's
            hub.
        fvd_weights: TorchScript file of the I3D network behind FVD, or a folder that holds it; by
            default it is looked for in `STATECAST_FVD_I3D` and the cache. It is code, and it is
            run.
        allow_download: fetch the published weights of LPIPS where they are not found.
        thresholds: of the Brier score; by default the middle of the data's range.
        regions: regions of labelled fields to score as well: coordinate bounds by name, such as
            `{tropics: {lat: [-20, 20]}}`.
        seasons: whether to score seasons of three months as well, for frames with dates.
        area_weights: whether averages over the points of labelled fields are weighted by cell
            areas, where there are any, or else by the cosine of latitude.
        max_memory_gib: what forecasts and their scores may take at once, in GiB, beside the model;
            fewer windows are forecast at once where they would take more. Changes no score.
        seed: of the samples.

    Returns:
        The scores of each forecaster with their protocol, those of each variable where there are
        several, how the model compares with each baseline, and how the windows differ from those of
        training.

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
    plan = resolve_protocol(protocol, data, split=split, samples=samples, metrics=metrics)
    spec = plan.windows.scored_spec(model.spec)
    settings = MetricSettings(
        lpips_weights=lpips_weights,
        fvd_weights=fvd_weights,
        allow_download=allow_download,
        thresholds=tuple(thresholds),
        device=str(model_device(model)),
        climatology=climatology_of(model, data, plan, seed) if "acc" in plan.metrics else None,
        weights=areas_of(plan.windows, spec.space) if area_weights else None,
    )

    subsets = subsets_of(plan.windows, spec, regions=regions or {}, seasons=seasons)

    def scores_of(forecaster: Forecaster, title: str) -> Scores:
        return score_windows(
            forecaster,
            plan.windows,
            metrics=plan.metrics,
            samples=plan.samples,
            batch_size=batch_size,
            count=max_windows,
            substeps=substeps if forecaster is model else None,
            solver=solver if forecaster is model else None,
            settings=settings,
            subsets=subsets,
            max_memory_gib=max_memory_gib,
            seed=seed,
            title=title,
        )

    # Before the model is scored, which takes longer: a wrong name is found at once.
    beside, left_out = fitted_baselines(
        tuple(dict.fromkeys(("persistence", *baselines))), model, data, seed=seed
    )
    scored = {name: scores_of(model, name)}
    scored |= {key: scores_of(baseline, key) for key, baseline in beside.items()}
    own = scored[name]
    found, reasons = run_analyses(
        analyses, model, AnalysisPlan(data, plan.split, max_windows, batch_size, seed)
    )
    return Evaluation(
        protocol={
            "name": protocol,
            "data": data.card,
            "split": plan.split,
            "windows": own.windows,
            "available_windows": len(plan.windows),
            "context": model.spec.context,
            "horizon": len(own.lead_times),
            "samples": plan.samples if model.stochastic else 1,
            "deterministic": not model.stochastic,
            "substeps": substeps,
            "solver": solver,
            "metrics": {metric: METRICS[metric].version for metric in plan.metrics},
            "metric_settings": own.protocols,
            "area_weights": area_weights,
            "digest": plan.windows.digest,
            "seed": seed,
            "version": __version__,
            "commit": commit(),
            "notes": plan.notes,
        },
        lead_times=own.lead_times,
        unit=spec.unit,
        forecasters={key: scores.by_metric for key, scores in scored.items()},
        details={key: scores.details for key, scores in scored.items() if scores.details},
        skill={key: skill_of(own, scored[key], seed) for key in beside},
        parts=parts_of(scored, subsets, spec),
        analyses=found,
        warnings=shift_warnings(data.windows("train"), plan.windows)
        if data.has_training_windows
        else [],
        not_computed=plan.not_computed | reasons_of(scored) | left_out | reasons,
        windows=windows_of(scored),
    )


def climatology_of(
    model: Forecaster, data: DataSource, plan: EvaluationPlan, seed: int
) -> torch.Tensor | None:
    """Mean of training frames (channel, *space); None without any, or for scores in other units."""
    other_units = type(plan.windows).to_score_units is not Windows.to_score_units
    if other_units or not data.has_training_windows:
        return None
    fitted = Climatology(model.spec)
    windows = data.windows("train")
    fit_statistics(fitted, windows, batch_size=min(32, len(windows)), seed=seed)
    return fitted.mean


def skill_of(own: Scores, baseline: Scores, seed: int) -> dict[str, dict[str, Skill]]:
    """How a model compares with a baseline, by every metric that scores single windows."""
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
    """Scores of subsets, by their kind and name."""
    found: dict[str, dict[str, Part]] = {}
    for subset in subsets:
        table = {key: scores.parts[subset.kind, subset.name] for key, scores in scored.items()}
        found.setdefault(subset.kind, {})[subset.name] = Part(subset.spec(spec).unit, table)
    return found


def reasons_of(scored: Mapping[str, Scores]) -> dict[str, str]:
    """Why metrics are missing: of the model, and of baselines where the model has them."""
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
                    continue  # NaN among them must not pass for what is not known
                rows, known = with_average(sums[f"{selection}{ROWS}"], sums[f"known{ROWS}"])
                average = torch.where(known[:, -1], rows[:, -1], torch.nan)
                values[score_key(key, metric, selection)] = average
    return WindowScores(own.numbers, own.sequences, values)


def run_analyses(
    names: Sequence[str], model: Forecaster, plan: AnalysisPlan
) -> tuple[dict[str, Any], dict[str, str]]:
    """Results of the analyses that apply, and the reasons why others do not.

    With several processes, each makes some of the analyses, and all return every result.

    Errors:
        InputError: an unknown analysis.
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
