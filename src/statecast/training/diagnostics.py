"""Diagnostics of a training: what its model reports at each validation, and warnings."""

from __future__ import annotations

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
STREAM = 3  # of random numbers, apart from those of training and of its statistics
ACTIVE = 0.01  # smallest variance of an active unit, Burda et al. (2016), arXiv 1509.00519
WARM_UP = 0.1  # share of the steps in which a model is not worried about


class Diagnostics:
    """Table of the diagnostics of one training, a row per validation.

    Args:
        model: the model in training; it is left as it is.
        windows: what it is looked at with.
        folder: of the run.
        start: step that the training starts from; rows of later ones are removed.
        steps: of the whole training. Warnings are given after the first tenth of them.
        batch_size: windows at once.
        count: use this many windows, evenly spaced.
        seed: of the random draws, which are apart from those of training.
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
        self.model, self.windows, self.path = model, windows, folder / DIAGNOSTICS_NAME
        self.steps, self.batch_size, self.count, self.seed = steps, batch_size, count, seed
        self.warned = False
        if is_main():
            drop_rows_after(self.path, start)

    def record(self, step: int) -> str | None:
        """Write the row of a step; return a warning where one is due for the first time.

        All processes must call it; the main one writes and warns.
        """
        found = diagnose(
            self.model,
            self.windows,
            batch_size=self.batch_size,
            count=self.count,
            seed=self.seed,
        )
        if not found or not is_main():
            return None
        # Where a step is validated again, after a signal, the new row counts.
        known = drop_rows_after(self.path, step - 1)
        head = ["step", *found]
        lines = self.path.read_text() if known == head else ",".join(head) + "\n"
        row = [str(step), *(f"{value:.6g}" for value in found.values())]
        write_text(self.path, lines + ",".join(row) + "\n")
        warning = None if self.warned else self.model.training_warning(found)
        if warning is None or step < WARM_UP * self.steps:
            return None
        self.warned = True
        return f"warning at step {step}: {warning}"


def diagnose(
    model: Forecaster, windows: Windows, *, batch_size: int, count: int | None = None, seed: int = 1
) -> dict[str, float]:
    """Diagnostics of a model over windows.

    Values per window become their mean. Vectors of units become `NAME_active`, the number of units
    whose variance over windows (and frames, where they have some) exceeds 0.01, and
    `NAME_variance`, the mean of these variances. Of several processes, each looks
    at some of the batches, and all give the diagnostics of the whole.

    Args:
        model: the model; it is left as it is.
        windows: what to look at.
        batch_size: windows at once.
        count: use this many windows, evenly spaced; by default all.
        seed: of the random draws; those of a batch follow from it and its first window alone.
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
