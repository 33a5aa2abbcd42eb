"""Chooses the reference forecast for `reference: auto`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.data.base import DataSource, InferredOption, Split
from statecast.errors import InputError
from statecast.evaluation.baselines import fit_baseline
from statecast.evaluation.bootstrap import bootstrap
from statecast.evaluation.scoring import Scores, score_windows
from statecast.metrics.base import ROWS
from statecast.models.baselines import Baseline
from statecast.models.change import REFERENCES

WINDOWS = 256  # scored in each split
MARGIN = 0.01  # relative gain over persistence that another reference needs
SMALLEST = 1e-30  # of errors, to divide by


def choose_reference(data: DataSource, *, batch_size: int, seed: int) -> InferredOption:
    """The reference with the lowest error on validation windows, averaged over lead times.

    If validation windows cannot separate it from others, for example because there are few of
    them, training windows decide between those. Errors are taken relative to persistence at each
    lead time; otherwise the last ones, which are largest, would decide alone. All references are
    fitted on training windows.

    Args:
        data: the data source that gives the windows.
        batch_size: windows at once.
        seed: seed of the draw of training windows.
    """
    models = fitted_references(data, seed)
    scores = scores_on("validation", models, data, batch_size)
    ratios, rivals = ratios_of(scores), rivals_of(scores, seed)
    told = f"by mean squared error on validation windows, relative to persistence: {listed(ratios)}"
    if len(rivals) > 1:
        ratios = ratios_of(scores_on("train", models, data, batch_size))
        ratios = {name: ratios[name] for name in rivals}
        told += f"; too close to call there, so on training windows: {listed(ratios)}"
    best = min(ratios, key=lambda name: ratios[name])
    if ratios[best] > 1 - MARGIN:
        best = "persistence"
    return InferredOption("reference", f"{best}, {told}", "reference", best)


def fitted_references(data: DataSource, seed: int) -> dict[str, Baseline]:
    """The references that apply to these data, fitted on training windows."""
    found: dict[str, Baseline] = {}
    for name, build in REFERENCES.items():
        try:
            model = build(data.spec)
            fit_baseline(model, data, seed=seed)
        except InputError:  # such as a motion where frames are no maps
            continue
        found[name] = model
    return found


def scores_on(
    split: Split, models: Mapping[str, Baseline], data: DataSource, batch_size: int
) -> dict[str, Scores]:
    """Scores of the references on windows of a split."""
    return {
        name: score_windows(
            model, data.windows(split), metrics=["mse"], batch_size=batch_size, count=WINDOWS
        )
        for name, model in models.items()
    }


def ratios_of(scores: Mapping[str, Scores]) -> dict[str, float]:
    """Mean squared errors divided by persistence's, as geometric means over lead times."""
    errors = {
        name: next(iter(s.by_metric["mse"].values())).per_lead_time for name, s in scores.items()
    }
    usual = errors["persistence"].clamp_min(SMALLEST)
    return {name: float((error / usual).log().mean().exp()) for name, error in errors.items()}


def rivals_of(scores: Mapping[str, Scores], seed: int) -> list[str]:
    """References whose error does not differ significantly from the lowest, that one included.

    With too few sequences for an interval, only the reference with the lowest error.
    """
    names = list(scores)
    sums = [scores[name].sums["mse"] for name in names]
    rows = torch.cat([found[f"mean{ROWS}"] for found in sums], dim=1)
    known = torch.cat([found[f"known{ROWS}"] for found in sums], dim=1)
    ratios = ratios_of(scores)
    best = names.index(min(names, key=lambda name: ratios[name]))

    def worse_by(means: Float[Tensor, "*draw column"]) -> Float[Tensor, "*draw reference"]:
        errors = means.clamp_min(SMALLEST).unflatten(-1, (len(names), -1)).log().mean(dim=-1)
        return errors - errors[..., best : best + 1]

    one = next(iter(scores.values()))
    low = bootstrap(worse_by, rows, known.bool(), one.sequences, seed=seed).low
    return [name for i, name in enumerate(names) if i == best or bool(low[i] <= 0)]


def listed(ratios: Mapping[str, float]) -> str:
    """Ratios as text, the lowest first."""
    return ", ".join(f"{n} {r:.3g}" for n, r in sorted(ratios.items(), key=lambda item: item[1]))
