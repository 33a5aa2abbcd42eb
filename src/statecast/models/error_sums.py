"""ErrorSums: sums of a reference's errors and a model's changes over validation windows."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from statecast.frames import Frames

SMALLEST = 1e-30  # smallest divisor
POINT_WINDOWS = 20.0  # windows that the mean over points weighs, against a point's own error


class ErrorSums(NamedTuple):
    """Sums over windows, each (lead, channel, *space), float64.

    e are the errors of the reference, d the changes in samples of the model.
    """

    counts: Tensor  # number of known values
    errors: Tensor  # sum of e²
    products: Tensor  # sum of e times the mean of d
    changes: Tensor  # sum of the squared mean of d, less its sampling variance
    variances: Tensor  # sum of the variance of d among samples

    @classmethod
    def of(
        cls,
        error: Float[Tensor, "batch time channel *space"],
        drawn: Float[Tensor, "sample batch time channel *space"],
        target: Frames,
        leads: int,
    ) -> Self:
        """Sums over a batch; 0 at leads beyond its own."""
        change, variance = drawn.mean(dim=0), torch.zeros_like(error)
        if len(drawn) > 1:
            variance = drawn.var(dim=0)
        terms = (
            torch.ones_like(error),
            error.square(),
            error * change,
            change.square() - variance / len(drawn),
            variance,
        )
        missing = [0, 0] * (error.ndim - 2) + [0, leads - error.shape[1]]
        known = (term.masked_fill(~target.known, 0).double().sum(dim=0) for term in terms)
        return cls(*(functional.pad(term, missing) for term in known))

    def __add__(self, other: ErrorSums) -> ErrorSums:  # type: ignore[override]
        return ErrorSums(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def weight(self) -> Float[Tensor, "lead channel"]:
        """The weight of the changes, in [0, 1], with the least squared error."""
        products, changes = pooled(self.products), pooled(self.changes)
        found = torch.where(changes > SMALLEST, products / changes.clamp_min(SMALLEST), 0.0)
        return held(found.clamp(0, 1), pooled(self.counts))

    def error(self, weight: Float[Tensor, "lead channel"]) -> Float[Tensor, "lead channel *space"]:
        """Mean squared error of the sample mean with this weight.

        It is the error of all points at a lead, times a factor per point: the point's error
        relative to that of all points, over all leads.
        """
        share = spread_out(weight, self.errors)
        squares = self.errors - 2 * share * self.products + share.square() * self.changes
        count = pooled(self.counts)
        every = pooled(squares) / count.clamp_min(1)
        expected = (self.counts * spread_out(every, squares)).sum(dim=0)
        own = squares.sum(dim=0) / expected.clamp_min(SMALLEST)
        windows = self.counts.amax()
        own = torch.where(expected > SMALLEST, own, 1.0)
        own = (windows * own + POINT_WINDOWS) / (windows + POINT_WINDOWS)
        return spread_out(held(every, count), squares) * own

    def variance(self, weight: Float[Tensor, "lead channel"]) -> Tensor:
        """Mean variance among samples with this weight, (lead, channel, *space)."""
        found = pooled(self.variances) / pooled(self.counts).clamp_min(1)
        return spread_out(held(found * weight.square(), pooled(self.counts)), self.errors)


def pooled(values: Float[Tensor, "lead channel *space"]) -> Float[Tensor, "lead channel"]:
    """Sum over all points."""
    return values.flatten(2).sum(dim=2)


def spread_out(values: Float[Tensor, "lead channel"], like: Tensor) -> Tensor:
    """Values of each lead and channel, shaped and typed to broadcast over points."""
    return values.view(*values.shape, *[1] * (like.ndim - 2)).to(like)


def held(
    values: Float[Tensor, "lead channel"], count: Float[Tensor, "lead channel"]
) -> Float[Tensor, "lead channel"]:
    """Values; a lead without any known value repeats the lead before it."""
    result = values.clone()
    for lead in range(1, len(values)):
        result[lead] = torch.where(count[lead] > 0, values[lead], result[lead - 1])
    return result
