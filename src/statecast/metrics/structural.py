"""Structural similarity of images."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.metrics.base import SampleMetric
from statecast.metrics.pointwise import extent_of, unbounded

SIDE, SIGMA = 11, 1.5  # of the Gaussian window, Wang et al. (2004)
K1, K2 = 0.01, 0.03


class Moments(NamedTuple):
    """Local mean and variance of images."""

    mean: Tensor
    variance: Tensor


class SSIM(SampleMetric):
    r"""Structural similarity of each channel and frame, averaged.

    $$\frac{(2\mu_x\mu_y + c_1)(2\sigma_{xy} + c_2)}
    {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}$$

    Gaussian window 11×11, σ 1.5, at positions where it fits; $c_i = (k_i r)^2$ with k = 0.01, 0.03
    and r the range of the data. As in Franceschi et al. (2020), https://arxiv.org/abs/2002.09219.

    Args:
        extent: size r of the data's range.
    """

    version, higher_is_better, unit = "1", True, "1"

    def __init__(self, extent: float = 1.0) -> None:
        if extent <= 0:
            raise InputError(f"A range of values has a positive size, got {extent}.")
        self.constants = (K1 * extent) ** 2, (K2 * extent) ** 2

    @classmethod
    def of(cls, spec: FrameSpec) -> Self:
        return cls(extent_of(spec))

    @classmethod
    def applies_to(cls, spec: FrameSpec, samples: int) -> str | None:
        if len(spec.space) != 2 or min(spec.space) < SIDE:
            return f"it needs images of at least {SIDE}×{SIDE} pixels, got space {spec.space}"
        return super().applies_to(spec, samples) or unbounded(spec)

    def prepare(self, target: Tensor) -> Moments:
        images = target.flatten(0, 2)
        mean = smooth(images)
        return Moments(mean, smooth(images.square()) - mean.square())

    def frame_scores(self, frames: Tensor, target: Tensor, prepared: Any) -> Tensor:
        c1, c2 = self.constants
        images, other = frames.flatten(0, 2), target.flatten(0, 2)
        own = self.prepare(frames)
        covariance = smooth(images * other) - own.mean * prepared.mean
        numerator = (2 * own.mean * prepared.mean + c1) * (2 * covariance + c2)
        denominator = (own.mean.square() + prepared.mean.square() + c1) * (
            own.variance + prepared.variance + c2
        )
        return (numerator / denominator).mean(dim=(1, 2)).view(target.shape[:3]).mean(dim=2)


def smooth(images: Tensor) -> Tensor:
    """Gaussian average of images (many, y, x) at positions where the window fits.

    A Gaussian in two dimensions is a product of two in one, so it is two products with band
    matrices: 22 multiplications a pixel instead of 121.
    """
    rows, columns = (band(size, images) for size in images.shape[1:])
    return rows @ images @ columns.transpose(0, 1)


def band(size: int, like: Tensor) -> Tensor:
    """Matrix (size − 10, size) whose rows hold the window at each position."""
    offsets = torch.arange(SIDE, dtype=torch.float64) - SIDE // 2
    weights = torch.exp(-0.5 * (offsets / SIGMA).square())
    weights = weights / weights.sum()
    matrix = torch.zeros(size - SIDE + 1, size, dtype=torch.float64)
    for row in range(len(matrix)):
        matrix[row, row : row + SIDE] = weights
    return matrix.to(like)
