"""Masks in scores: unknown values are set to zero and excluded from every average."""

from __future__ import annotations

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Frames


def known_in(target: Frames) -> Tensor | None:
    """Where the target is known, in the shape of its values; None if it is known everywhere."""
    if target.mask is None or bool(target.mask.all()):
        return None
    return target.mask


def filled(values: Tensor, known: Tensor | None) -> Tensor:
    """Values with unknown ones set to zero.

    Args:
        values: a tensor whose last dimensions are those of `known`.
        known: where values are known; None if all are, which returns `values` itself.
    """
    return values if known is None else torch.where(known, values, 0.0)


def average(
    points: Tensor, known: Tensor | None, start: int, weights: Tensor | None = None
) -> Tensor:
    """Average over known points along all dimensions from `start` on; NaN if none is known.

    Args:
        points: values (batch, time, channel, *space); a NaN at a known point gives NaN.
        known: which points count, in the same shape; None for all.
        start: first dimension to average over.
        weights: weight of each point of space, such as its area, (*space); None for equal ones.
    """
    if weights is not None:
        counted = weights.to(points).expand(points.shape)
        counted = counted if known is None else torch.where(known, counted, 0.0)
        # NaN times a weight of zero would be NaN.
        total = torch.where(counted > 0, points * counted, 0.0).flatten(start).sum(dim=start)
        return total / counted.flatten(start).sum(dim=start)
    if known is None:
        return points.flatten(start).mean(dim=start)
    total = filled(points, known).flatten(start).sum(dim=start)
    return total / known.flatten(start).sum(dim=start)


def frames_known(known: Tensor | None) -> Tensor | None:
    """Which frames (batch, time) have a known point; None if all points are known."""
    return None if known is None else known.flatten(2).any(dim=2)


def require_whole(reason: str | None) -> None:
    """Raise `InputError` if there is a reason why frames cannot be scored."""
    if reason is not None:
        raise InputError(f"These frames cannot be scored: {reason}.")
