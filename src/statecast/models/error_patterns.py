"""ErrorPatterns: how the errors of a forecast are correlated over points and leads."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.models.error_sums import spread_out

MOST, FEWEST = 32, 8  # number of patterns
LARGEST = 2**24  # values in all patterns together; more would reduce their number


def pattern_count(shape: tuple[int, ...]) -> int:
    """Number of patterns to keep for errors of this shape."""
    return max(FEWEST, min(MOST, LARGEST // math.prod(shape)))


class ErrorPatterns:
    r"""Errors of windows, summed in a fixed number of patterns.

    Each window is added to one of the patterns $Q_p$ in turn, with a random sign. The expected sum
    of $Q_p Q_p^\top$ is then the sum of $e e^\top$ over windows, and exact with at most one window
    per pattern. This is a count sketch, Charikar et al. (2002),
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
        """Add windows: errors of the reference, and the changes that the model forecasts."""
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
        """Patterns of the errors that remain with this weight of changes.

        Their squares add up to 1 at each lead and point. Where no error is known, they are equal.
        """
        left = self.errors - spread_out(weight, self.errors[0]) * self.changes
        size = left.square().sum(dim=0).sqrt()
        return torch.where(size > 0, left / size, len(left) ** -0.5)
