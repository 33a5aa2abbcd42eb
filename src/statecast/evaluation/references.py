"""Which reference forecast is best on windows that were not trained on: `reference: auto`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.data.base import DataSource, InferredOption, Split
from statecast.evaluation.baselines import fit_statistics
from statecast.evaluation.bootstrap import bootstrap
from statecast.evaluation.scoring import Scores, score_windows
from statecast.metrics.base import ROWS
from statecast.models.baselines import Baseline
from statecast.models.change import REFERENCES

WINDOWS = 256  # of each split, that references are scored on
MARGIN = 0.01  # share of the error by which another reference must be better than persistence
SMALLEST = 1e-30  # of errors that are divided by


def choose_reference(data: DataSource, *, batch_size: int, seed: int) -> InferredOption:
    """The reference with the lowest error on validation windows, averaged over leads.

    Where others cannot be told from it there, as in a short validation part, training windows
    decide between them. Errors are those relative to persistence at each lead, so that the last
    ones, which are largest, do not decide alone. All are fitted on training windows.

    Args:
        data: where windows come from.
        batch_size: windows at once.
        seed: of the training windows drawn.
    """
    training = data.windows("train")
    models = {name: build(data.spec) for name, build in REFERENCES.items()}
    for model in models.values():
        fit_statistics(model, training, batch_size=min(32, len(training)), seed=seed)
    scores = scores_on("validation", models, data, batch_size)
    ratios, rivals = ratios_of(scores), rivals_of(scores, seed)
    told = f"by the mean squared error on validation windows over persistence's: {listed(ratios)}"
    if len(rivals) > 1:
        ratios = ratios_of(scores_on("train", models, data, batch_size))
        ratios = {name: ratios[name] for name in rivals}
        told += f"; where these are too close to tell, on training windows: {listed(ratios)}"
    best = min(ratios, key=lambda name: ratios[name])
    if ratios[best] > 1 - MARGIN:
        best = "persistence"
    return InferredOption("reference", f"{best}, {told}", "reference", best)


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
    """Mean squared errors over persistence's, geometric means over leads."""
    errors = {
        name: next(iter(s.by_metric["mse"].values())).per_lead_time for name, s in scores.items()
    }
    usual = errors["persistence"].clamp_min(SMALLEST)
    return {name: float((error / usual).log().mean().exp()) for name, error in errors.items()}


def rivals_of(scores: Mapping[str, Scores], seed: int) -> list[str]:
    """References whose error cannot be told from the lowest; only that one for few sequences."""
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
    """Ratios in order."""
    return ", ".join(f"{n} {r:.3g}" for n, r in sorted(ratios.items(), key=lambda item: item[1]))
