"""Gaussians of plain systems: draws, densities and divergences."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor


class Gaussian(NamedTuple):
    """Independent normal variables along the last dimension."""

    mean: Tensor
    std: Tensor

    def draw(self, noise: Tensor) -> Tensor:
        """As many standard deviations from the mean."""
        return self.mean + self.std * noise

    def log_density(self, values: Tensor) -> Tensor:
        """Logarithm of the density, summed over the last dimension."""
        squares = ((values - self.mean) / self.std).square() + math.log(2 * math.pi)
        return -(squares / 2 + self.std.log()).sum(-1)

    def divergence(self, other: Gaussian) -> Tensor:
        """Kullback–Leibler divergence, summed over the last dimension."""
        ratio = (self.std / other.std).square()
        distance = ((self.mean - other.mean) / other.std).square()
        return (ratio + distance - 1 - ratio.log()).sum(-1) / 2

    def divergence_from_standard(self) -> Tensor:
        """The same from N(0, I)."""
        squares = self.mean.square() + self.std.square()
        return (squares - 1 - 2 * self.std.log()).sum(-1) / 2
