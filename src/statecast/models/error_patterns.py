"""ErrorPatterns: how errors of a forecast go together, from point to point and lead to lead."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.models.error_sums import spread_out

MOST, FEWEST = 32, 8  # patterns
LARGEST = 2**24  # values of all patterns, of which there may be fewer for that


def pattern_count(shape: tuple[int, ...]) -> int:
    """Number of patterns that are kept of errors of this shape."""
    return max(FEWEST, min(MOST, LARGEST // math.prod(shape)))


class ErrorPatterns:
    r"""Errors of windows, added up in a number of patterns that does not grow with the windows.

    Each window is added to one of the patterns $Q_p$ in turn, with a random sign: so the sum of
    $Q_p Q_p^\top$ is on average that of $e e^\top$ over windows, and exactly for as many windows as
    there are patterns: a count sketch, Charikar et al. (2002),
    https://doi.org/10.1007/3-540-45465-9_59.

    Args:
        shape: (lead, channel, *space) of an error.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.errors = torch.zeros(pattern_count(shape), *shape)
        self.changes = torch.zeros_like(self.errors)
        self.windows = 0
        self.signs = torch.Generator().manual_seed(0)

    def add(
        self,
        error: Float[Tensor, "batch time channel *space"],
        change: Float[Tensor, "batch time channel *space"],
        known: Bool[Tensor, "batch time channel *space"],
    ) -> None:
        """Add windows: errors of the reference, and the changes that a model forecasts."""
        count, leads = error.shape[:2]
        slots = torch.arange(self.windows, self.windows + count) % len(self.errors)
        signs = torch.randint(0, 2, (count,), generator=self.signs) * 2.0 - 1
        signs = signs.view(-1, *[1] * (error.ndim - 1))
        for kept, values in ((self.errors, error), (self.changes, change)):
            kept[:, :leads].index_add_(0, slots, signs * values.masked_fill(~known, 0).to(kept))
        self.windows += count

    def remaining(
        self, weight: Float[Tensor, "lead channel"]
    ) -> Float[Tensor, "pattern lead channel *space"]:
        """Patterns of what errors remain with this weight of changes.

        Their squares add up to 1 at each lead and point. Where no error is known, all are equal.
        """
        left = self.errors - spread_out(weight, self.errors[0]) * self.changes
        size = left.square().sum(dim=0).sqrt()
        return torch.where(size > 0, left / size, len(left) ** -0.5)
