"""Masks in scores: what is unknown is filled with zeros, and left out of every average."""

from __future__ import annotations

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Frames


def known_in(target: Frames) -> Tensor | None:
    """Where the target is known, in the shape of its values; None where it is everywhere."""
    if target.mask is None or bool(target.mask.all()):
        return None
    return target.mask


def filled(values: Tensor, known: Tensor | None) -> Tensor:
    """Values with zeros in place of what is unknown; they themselves where all is known.

    Args:
        values: of any shape; their last dimensions are those of `known`.
        known: where they are known.
    """
    return values if known is None else torch.where(known, values, 0.0)


def average(
    points: Tensor, known: Tensor | None, start: int, weights: Tensor | None = None
) -> Tensor:
    """Average over the known points along all dimensions from `start` on; NaN without any.

    Args:
        points: values at points (batch, time, channel, *space); a NaN that is known stays one.
        known: where they count, of that shape; by default everywhere.
        start: first dimension to average over.
        weights: of the points of space, such as their areas, (*space); by default all alike.
    """
    if weights is not None:
        counted = weights.to(points).expand(points.shape)
        counted = counted if known is None else torch.where(known, counted, 0.0)
        # Products of NaN and no weight would be NaN.
        total = torch.where(counted > 0, points * counted, 0.0).flatten(start).sum(dim=start)
        return total / counted.flatten(start).sum(dim=start)
    if known is None:
        return points.flatten(start).mean(dim=start)
    total = filled(points, known).flatten(start).sum(dim=start)
    return total / known.flatten(start).sum(dim=start)


def frames_known(known: Tensor | None) -> Tensor | None:
    """Which frames (batch, time) have a known point; None where all points are known."""
    return None if known is None else known.flatten(2).any(dim=2)


def require_whole(reason: str | None) -> None:
    """Raise `InputError` with the reason for which frames cannot be scored, where there is one."""
    if reason is not None:
        raise InputError(f"These frames cannot be scored: {reason}.")
