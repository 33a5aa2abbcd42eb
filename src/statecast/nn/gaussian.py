"""Diagonal Gaussians from network outputs: draw, density, divergence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.nn.random import standard_normal

SMALLEST_STD = 1e-8  # added to each standard deviation, as published


class DiagonalGaussian(NamedTuple):
    """Independent normal variables along the last dimension."""

    mean: Float[Tensor, "*shape"]
    std: Float[Tensor, "*shape"]

    @classmethod
    def from_output(cls, output: Float[Tensor, "*batch twice"]) -> DiagonalGaussian:
        """Means from the first half of the last axis, deviations by softplus of the second half."""
        mean, raw = widened(output).chunk(2, dim=-1)
        return cls(mean, torch.nn.functional.softplus(raw) + SMALLEST_STD)

    @classmethod
    def stack(cls, gaussians: Sequence[DiagonalGaussian], dim: int) -> DiagonalGaussian:
        """Stack Gaussians along a new axis."""
        means, stds = zip(*gaussians, strict=True)
        return cls(torch.stack(means, dim=dim), torch.stack(stds, dim=dim))

    def draw(
        self, generator: torch.Generator | None, samples: int | None = None
    ) -> Float[Tensor, "*shape"]:
        """One reparameterised draw, or `samples` of them along a new first axis.

        The Gaussian has shape (sample, batch, …), or (batch, …) if `samples` is given.
        """
        shape = self.mean.shape if samples is None else (samples, *self.mean.shape)
        return self.at(standard_normal(tuple(shape), self.mean, generator))

    def at(self, standard: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The values that lie `standard` standard deviations from the mean."""
        return self.mean + self.std * standard

    def log_density(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*batch"]:
        """Log-density at `values`, summed over the last axis."""
        standard = (values - self.mean) / self.std
        density = -0.5 * standard.square() - self.std.log() - 0.5 * math.log(2 * math.pi)
        return density.sum(dim=-1)

    def divergence(self, other: DiagonalGaussian) -> Float[Tensor, "*batch"]:
        r"""Kullback–Leibler divergence from `other` in nats, summed over the last axis.

        $$\sum_i \tfrac12\left(r_i + \frac{(\mu_i - m_i)^2}{s_i^2} - 1 - \ln r_i\right),
        \qquad r_i = \frac{\sigma_i^2}{s_i^2}$$
        """
        ratio = (self.std / other.std).square()
        distance = ((self.mean - other.mean) / other.std).square()
        return 0.5 * (ratio + distance - 1 - ratio.log()).sum(dim=-1)

    def divergence_from_standard(self) -> Float[Tensor, "*batch"]:
        """Kullback–Leibler divergence from N(0, I) in nats, summed over the last axis."""
        standard = DiagonalGaussian(torch.zeros_like(self.mean), torch.ones_like(self.std))
        return self.divergence(standard)


def negative_log_density(
    values: Float[Tensor, "*shape"], mean: Float[Tensor, "*shape"], std: float
) -> Float[Tensor, "*shape"]:
    """−ln N(values; mean, std²) of each value, including the constant ½ ln 2π."""
    constant = math.log(std) + 0.5 * math.log(2 * math.pi)
    return 0.5 * ((values - mean) / std).square() + constant


def widened(values: Tensor) -> Tensor:
    """Values in float32 or more, since half precision suits matrix products, not statistics."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
