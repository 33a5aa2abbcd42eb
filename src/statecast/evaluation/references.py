"""Which reference forecast is best on validation windows: `reference: auto`."""

from __future__ import annotations

from statecast.data.base import DataSource, InferredOption
from statecast.evaluation.baselines import fit_statistics
from statecast.evaluation.scoring import score_windows
from statecast.models.change import REFERENCES

WINDOWS = 256  # of validation, that references are scored on
MARGIN = 0.01  # share of the error by which another reference must be better than persistence


def choose_reference(data: DataSource, *, batch_size: int, seed: int) -> InferredOption:
    """The reference with the lowest validation error, averaged over leads.

    Errors are those relative to persistence at each lead, so that the last ones, which are
    largest, do not decide alone. All are fitted on training windows.

    Args:
        data: where windows come from.
        batch_size: windows at once.
        seed: of the training windows drawn.
    """
    training, validation = data.windows("train"), data.windows("validation")
    errors = {}
    for name, build in REFERENCES.items():
        model = build(data.spec)
        fit_statistics(model, training, batch_size=min(32, len(training)), seed=seed)
        scores = score_windows(
            model, validation, metrics=["mse"], batch_size=batch_size, count=WINDOWS
        )
        errors[name] = next(iter(scores.by_metric["mse"].values())).per_lead_time
    usual = errors["persistence"].clamp_min(1e-30)
    ratios = {name: float((error / usual).log().mean().exp()) for name, error in errors.items()}
    best = min(ratios, key=lambda name: ratios[name])
    if ratios[best] > 1 - MARGIN:
        best = "persistence"
    listed = ", ".join(f"{n} {r:.3g}" for n, r in sorted(ratios.items(), key=lambda item: item[1]))
    chosen = f"{best}, by the mean squared error on validation windows over persistence's: {listed}"
    return InferredOption("reference", chosen, "reference", best)
