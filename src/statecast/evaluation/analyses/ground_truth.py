"""True latents of a batch as targets of probes, whatever the order of its objects."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.frames import Batch

FIRST = "position"  # the truth that sorts objects, if it is known


def quantities(batch: Batch, frame: int) -> dict[str, Float[Tensor, "window component"]]:
    """Known quantities of each window, at one of its frames.

    Truths are floating point: (window, time, …) over all frames of the window, or constant
    (window, …). For a truth with an axis of objects, (window, time, object, component), the result
    holds

    - with one object, the truth itself: `position`;
    - with several, which are exchangeable, their mean, `position_mean`, and the list of objects
      sorted by x, then y, then the other truths: `position_sorted`.
    """
    found = at_frame(batch, frame)
    objects = {name: value for name, value in found.items() if value.ndim == 3}
    result = {name: value.flatten(1) for name, value in found.items() if value.ndim != 3}
    if not objects:
        return result
    names = sorted(objects, key=lambda name: (name != FIRST, name))
    order = order_of(torch.cat([objects[name] for name in names], dim=-1))
    for name, value in objects.items():
        if value.shape[1] == 1:
            result[name] = value[:, 0]
            continue
        result[f"{name}_mean"] = value.mean(dim=1)
        ordered = value.gather(1, order[..., None].expand_as(value))
        result[f"{name}_sorted"] = ordered.flatten(1)
    return result


def at_frame(batch: Batch, frame: int) -> dict[str, Tensor]:
    """Floating-point truths at one frame: (window, component) or (window, object, component)."""
    length = len(batch.context) + len(batch.target)
    found = {}
    for name, value in batch.latents.items():
        if not value.is_floating_point():
            continue
        varies = value.ndim > 1 and value.shape[1] == length
        chosen = value[:, frame] if varies else value
        found[name] = chosen[:, None] if chosen.ndim == 1 else chosen
    return found


def moving(batch: Batch, names: Iterable[str]) -> set[str]:
    """Names from `quantities` whose truths change in time."""
    length = len(batch.context) + len(batch.target)
    known = {name for name, v in batch.latents.items() if v.ndim > 1 and v.shape[1] == length}
    ends = ("", "_mean", "_sorted")
    return {name for name in names if any(name.removesuffix(end) in known for end in ends)}


def order_of(keys: Float[Tensor, "window object key"]) -> Tensor:
    """Order of the objects of each window by their first key, then by the next ones."""
    order = torch.arange(keys.shape[1]).expand(keys.shape[:2])
    for index in reversed(range(keys.shape[2])):
        by = keys[..., index].gather(1, order)
        order = order.gather(1, by.argsort(dim=1, stable=True))
    return order


def labels(batch: Batch) -> dict[str, Tensor]:
    """Classes of each window, (window, object), whole numbers from 0."""
    return {
        name: value.reshape(len(value), -1).long()
        for name, value in batch.latents.items()
        if not value.is_floating_point()
    }


def counts_of(classes: Tensor, number: int) -> Float[Tensor, "window class"]:
    """Number of objects of each class in each window."""
    counts = torch.zeros(len(classes), number, dtype=torch.float64)
    return counts.scatter_add_(1, classes, torch.ones(classes.shape, dtype=torch.float64))


def share_found(estimates: Float[Tensor, "window class"], counts: Tensor) -> float:
    """Share of objects whose class is among those with the highest estimated counts.

    For each object of a window, the class with the highest estimate is named and its estimate
    lowered by 1, so a class can be named twice. With one object this is the accuracy.
    """
    named, left = torch.zeros_like(counts), estimates.clone()
    rows = torch.arange(len(counts))
    objects = round(float(counts[0].sum()))
    for _ in range(objects):
        best = left.argmax(dim=1)
        named[rows, best] += 1
        left[rows, best] -= 1
    return float(torch.minimum(named, counts).sum() / counts.sum())
