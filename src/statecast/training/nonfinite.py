"""A loss that is not finite: which windows it came from, looked for once training has stopped."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from statecast.data.base import seeded_generator
from statecast.distributed import world_size
from statecast.frames import Batch
from statecast.models.base import Forecaster, evaluation_mode
from statecast.training.precision import autocast

NAMED = 24  # windows named in a message, at most
SECONDS = 20.0  # spent on looking at single windows, at most


def describe_batch(numbers: Tensor | None, step: int, seed: int, batch: Batch) -> str:
    """Windows of a batch in words, and which of their values are not finite.

    Args:
        numbers: of its windows in the training split; None where they were made for this step.
        step: it was drawn for, from 0.
        seed: of the training.
        batch: the batch.
    """
    if numbers is None:
        held = f"The batch held fresh windows, training_batch({step}, {len(batch)}, seed={seed})"
    else:
        held = f"The batch held the windows {listed(numbers)} of the training split"
    bad = not_finite(batch)
    if len(bad) == 0:
        return f"{held}, all of whose values are finite."
    return f"{held}, of which {windows(bad, numbers)} has values that are not finite."


def not_finite(batch: Batch) -> Tensor:
    """Positions in a batch of the windows with known values that are not finite."""
    bad = ~batch.values.isfinite()
    if batch.mask is not None:
        bad &= batch.mask
    return bad.flatten(1).any(dim=1).nonzero()[:, 0].cpu()


def find_nonfinite_windows(
    model: Forecaster, batch: Batch, numbers: Tensor | None, *, precision: str, seed: int, step: int
) -> str:
    """Which windows by themselves have a loss or gradient that is not finite; "" where none is.

    Each is tried alone, in evaluation mode, for 20 seconds at most; where processes share the
    batch, none of them can look at its windows alone.

    Args:
        model: the model; its gradients are lost.
        batch: on the device of the model.
        numbers: of its windows.
        precision: of the training.
        seed: of the noise.
        step: of the training.
    """
    if world_size() > 1:
        return ""
    started, found, tried = time.monotonic(), [], 0
    with evaluation_mode(model) as evaluated:
        for place in range(len(batch)):
            if time.monotonic() - started > SECONDS:
                break
            tried += 1
            one = batch.select(slice(place, place + 1))
            if not _finite_alone(evaluated, one, precision, seed, step):
                found.append(place)
    model.zero_grad()
    if not found:
        return f"Each of {tried} windows by itself has a finite loss." if tried > 1 else ""
    which = windows(torch.tensor(found), numbers)
    return f"By itself, {which} has a loss or gradient that is not finite."


def _finite_alone(model: Forecaster, window: Batch, precision: str, seed: int, step: int) -> bool:
    model.zero_grad()
    try:
        with autocast(precision, window.context.values.device):
            total = model.loss(window, step=step, generator=seeded_generator(seed))["total"]
    except (RuntimeError, ValueError):  # a model that takes no single window
        return True
    if not bool(total.isfinite()):
        return False
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return all(bool(gradient.isfinite().all()) for gradient in gradients)


def windows(places: Tensor, numbers: Tensor | None) -> str:
    """Windows at these places of a batch, in words."""
    one, many = ("that at place", "each at the places")
    if numbers is not None:
        one, many, places = "window", "each of the windows", numbers[places]
    return f"{one if len(places) == 1 else many} {listed(places)}"


def listed(numbers: Tensor) -> str:
    """Numbers in words, the first of them where there are many."""
    words = ", ".join(str(number) for number in numbers[:NAMED].tolist())
    return words if len(numbers) <= NAMED else f"{words} and {len(numbers) - NAMED} more"
