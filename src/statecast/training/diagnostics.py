"""Diagnostics that a model reports at each validation, and warnings."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from statecast.data.base import Windows, seeded_generator
from statecast.data.loading import ordered_batches
from statecast.distributed import all_gather, is_main, rank, world_size
from statecast.evaluation.scoring import model_device
from statecast.io.atomic_files import write_text
from statecast.models.base import Forecaster, evaluation_mode
from statecast.training.logs import drop_rows_after

DIAGNOSTICS_NAME = "diagnostics.csv"
STREAM = 3  # stream of random numbers, separate from those of training and statistics
ACTIVE = 0.01  # smallest variance of an active unit, Burda et al. (2016), arXiv 1509.00519
WARM_UP, FEWEST = 0.1, 200  # first share of the steps, and first steps, without warnings


class Diagnostics:
    """Table of the diagnostics of one training, a row per validation.

    Args:
        model: the model in training; it is not changed.
        windows: the windows to run it on.
        folder: the run folder.
        start: step that the training starts from; rows of later steps are removed.
        steps: number of steps of the whole training. Warnings start after the first tenth, and not
            before step 200.
        batch_size: windows per batch.
        count: number of windows to use, evenly spaced.
        seed: seed of the random draws, which are separate from those of training.
    """

    def __init__(
        self,
        model: Forecaster,
        windows: Windows,
        folder: Path,
        *,
        start: int,
        steps: int,
        batch_size: int,
        count: int,
        seed: int,
    ) -> None:
        self.model, self.path, self.steps = model, folder / DIAGNOSTICS_NAME, steps
        self.diagnose = partial(
            diagnose, model, windows, batch_size=batch_size, count=count, seed=seed
        )
        self.warned = False
        if is_main():
            drop_rows_after(self.path, start)

    def record(self, step: int) -> str | None:
        """Write the row of a step; return a warning the first time that one is due.

        All processes must call it; the main process writes and warns.
        """
        found = self.diagnose()
        if not found or not is_main():
            return None
        # A step may be validated again after a signal; the new row replaces the old one.
        known = drop_rows_after(self.path, step - 1)
        head = ["step", *found]
        lines = self.path.read_text() if known == head else ",".join(head) + "\n"
        row = [str(step), *(f"{value:.6g}" for value in found.values())]
        write_text(self.path, lines + ",".join(row) + "\n")
        warning = None if self.warned else self.model.training_warning(found)
        if warning is None or step < max(WARM_UP * self.steps, FEWEST):
            return None
        self.warned = True
        return f"warning at step {step}: {warning}"


def diagnose(
    model: Forecaster, windows: Windows, *, batch_size: int, count: int | None = None, seed: int = 1
) -> dict[str, float]:
    """Diagnostics of a model over windows.

    A value per window gives its mean. A vector of units gives `NAME_active`, the number of units
    whose variance over windows (and frames, if it has a time axis) exceeds 0.01, and
    `NAME_variance`, the mean of these variances. Several processes share the batches, and each
    returns the diagnostics of all of them.

    Args:
        model: the model; it is not changed.
        windows: the windows to run it on.
        batch_size: windows per batch.
        count: number of windows to use, evenly spaced; all by default.
        seed: seed of the random draws; those of a batch depend only on it and on the batch's
            first window.
    """
    device = model_device(model)
    own: dict[int, dict[str, Tensor]] = {}  # by the number of the batch's first window
    turns = slice(rank(), None, world_size())
    with evaluation_mode(model) as evaluated, torch.no_grad():
        for first, batch in ordered_batches(windows, batch_size, count=count, taken=turns):
            found = evaluated.diagnostics(batch.to(device), seeded_generator(seed, STREAM, first))
            own[first] = {name: moments_of(values) for name, values in found.items()}
    moments: dict[str, Tensor] = {}
    for _, batch_moments in sorted(item for part in all_gather(own) for item in part.items()):
        for name, values in batch_moments.items():
            moments[name] = moments.get(name, 0) + values
    result: dict[str, float] = {}
    for name, (number, total, squares) in moments.items():
        mean = total / number
        if mean.ndim == 0:
            result[name] = float(mean)
            continue
        variance = squares / number - mean.square()
        result[f"{name}_active"] = float((variance > ACTIVE).sum())
        result[f"{name}_variance"] = float(variance.mean())
    return result


def moments_of(values: Tensor) -> Tensor:
    """Number, sum and sum of squares of values (batch,) or (batch, …, unit), in float64."""
    values = values.double().cpu()
    values = values if values.ndim == 1 else values.flatten(0, -2)
    return torch.stack(
        [torch.full_like(values[0], len(values)), values.sum(dim=0), values.square().sum(dim=0)]
    )
