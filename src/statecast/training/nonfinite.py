"""Finds the windows behind a loss that is not finite."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from statecast.data.base import seeded_generator
from statecast.distributed import world_size
from statecast.frames import Batch
from statecast.models.base import Forecaster, evaluation_mode
from statecast.training.precision import autocast

NAMED = 24  # windows in a message, at most
SECONDS = 20.0  # for trying single windows, at most


def describe_batch(numbers: Tensor | None, step: int, seed: int, batch: Batch) -> str:
    """Describe the windows of a batch, and which of them hold values that are not finite.

    Args:
        numbers: numbers of its windows in the training split; None if the windows were generated
            for this step.
        step: step that the batch was drawn for, from 0.
        seed: seed of the training.
        batch: the batch.
    """
    if numbers is None:
        held = f"The batch held fresh windows, training_batch({step}, {len(batch)}, seed={seed})"
    else:
        held = f"The batch held the windows {listed(numbers)} of the training split"
    bad = not_finite(batch)
    if len(bad) == 0:
        return f"{held}; all their values are finite."
    verb = "has" if len(bad) == 1 else "have"
    return f"{held}; {windows(bad, numbers)} {verb} values that are not finite."


def not_finite(batch: Batch) -> Tensor:
    """Positions in a batch of the windows with known values that are not finite."""
    bad = ~batch.values.isfinite()
    if batch.mask is not None:
        bad &= batch.mask
    return bad.flatten(1).any(dim=1).nonzero()[:, 0].cpu()


def find_nonfinite_windows(
    model: Forecaster, batch: Batch, numbers: Tensor | None, *, precision: str, seed: int, step: int
) -> str:
    """A sentence that names the windows whose own loss or gradient is not finite.

    Each window is tried alone, in evaluation mode, for 20 seconds in total. The sentence is empty
    if the batch has one window, or if several processes share the batch: then no process can try
    its windows alone.

    Args:
        model: the model; its gradients are lost.
        batch: the batch, on the device of the model.
        numbers: numbers of its windows in the training split, if they have any.
        precision: precision of the training.
        seed: seed of the noise.
        step: step of the training.
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
        return f"Alone, each of {tried} windows has a finite loss." if tried > 1 else ""
    which = windows(torch.tensor(found), numbers)
    verb = "has" if len(found) == 1 else "have"
    return f"Alone, {which} {verb} a loss or gradient that is not finite."


def _finite_alone(model: Forecaster, window: Batch, precision: str, seed: int, step: int) -> bool:
    model.zero_grad()
    try:
        with autocast(precision, window.context.values.device):
            total = model.loss(window, step=step, generator=seeded_generator(seed))["total"]
    except (RuntimeError, ValueError):  # the model may not take a single window
        return True
    if not bool(total.isfinite()):
        return False
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return all(bool(gradient.isfinite().all()) for gradient in gradients)


def windows(places: Tensor, numbers: Tensor | None) -> str:
    """Windows at these positions of a batch, in words."""
    one, many = ("the window at position", "the windows at positions")
    if numbers is not None:
        one, many, places = "window", "windows", numbers[places]
    return f"{one if len(places) == 1 else many} {listed(places)}"


def listed(numbers: Tensor) -> str:
    """Numbers as text, at most the first `NAMED`."""
    words = ", ".join(str(number) for number in numbers[:NAMED].tolist())
    return words if len(numbers) <= NAMED else f"{words} and {len(numbers) - NAMED} more"
