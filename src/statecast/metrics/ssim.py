"""Structural similarity of images."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.metrics.base import DEFAULTS, MetricSettings
from statecast.metrics.masking import average
from statecast.metrics.per_sample import SampleMetric
from statecast.metrics.pointwise import extent_of, unbounded

SIDE, SIGMA = 11, 1.5  # of the Gaussian window, Wang et al. (2004)
UNIFORM_SIDE = 7  # of scikit-image's window
FLOAT_RANGE = 2.0  # that scikit-image assumes for floating-point images
K1, K2 = 0.01, 0.03


def gaussian_window() -> Float[Tensor, " offset"]:
    """Weights of the Gaussian window along one side."""
    offsets = torch.arange(SIDE, dtype=torch.float64) - SIDE // 2
    weights = torch.exp(-0.5 * (offsets / SIGMA).square())
    return weights / weights.sum()


class Moments(NamedTuple):
    """Local mean and variance of images."""

    mean: Tensor
    variance: Tensor


class SSIM(SampleMetric):
    r"""Structural similarity, averaged over channels and frames; 1 is best.

    $$\frac{(2\mu_x\mu_y + c_1)(2\sigma_{xy} + c_2)}
    {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}$$

    Means, variances and covariances are taken in a Gaussian window, 11×11 with σ = 1.5, at all
    positions where it fits and covers no unknown value. $c_i = (k_i r)^2$ with k = 0.01, 0.03 and
    the size r of the data's range. The lower end of that range is subtracted first, so that kelvin
    and degrees Celsius give the same score. As in Franceschi et al. (2020),
    https://arxiv.org/abs/2002.09219; defined by Wang et al. (2004),
    https://doi.org/10.1109/TIP.2003.819861.

    Args:
        extent: size r of the data's range.
        low: lower end of that range.
    """

    version, higher_is_better, unit = "1", True, "1"
    perfect = 1.0
    window: ClassVar[Tensor] = gaussian_window()
    sample_factor: ClassVar[float] = 1.0  # of variances and covariances

    def __init__(self, extent: float = 1.0, low: float = 0.0) -> None:
        if extent <= 0:
            raise InputError(f"The size of a range must be positive, got {extent}.")
        self.low = low
        self.constants = (K1 * extent) ** 2, (K2 * extent) ** 2

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        low, _ = spec.value_range or (0.0, 1.0)
        return cls(extent_of(spec), low)

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        side = len(cls.window)
        if len(spec.space) != 2 or min(spec.space) < side:
            return f"it needs images of at least {side}×{side} pixels, got space {spec.space}"
        return super().why_not_applicable(spec, samples, settings) or unbounded(spec)

    def prepare(self, target: Tensor, known: Tensor | None = None) -> Moments:
        images = target.flatten(0, 2) - self.low
        mean = smooth(images, self.window)
        squares = smooth(images.square(), self.window)
        return Moments(mean, (squares - mean.square()) * self.sample_factor)

    def frame_scores(
        self, frames: Tensor, target: Tensor, prepared: Any, known: Tensor | None = None
    ) -> Tensor:
        c1, c2 = self.constants
        images, other = frames.flatten(0, 2) - self.low, target.flatten(0, 2) - self.low
        own = self.prepare(frames)
        products = smooth(images * other, self.window)
        covariance = (products - own.mean * prepared.mean) * self.sample_factor
        numerator = (2 * own.mean * prepared.mean + c1) * (2 * covariance + c2)
        denominator = (own.mean.square() + prepared.mean.square() + c1) * (
            own.variance + prepared.variance + c2
        )
        places = (numerator / denominator).unflatten(0, target.shape[:3])
        if known is None:
            return average(average(places, None, 3), None, 2)
        whole = self.whole_windows(known)
        return average(average(places, whole, 3), whole.flatten(3).any(dim=3), 2)

    def scorable(self, known: Tensor | None) -> Tensor | None:
        return None if known is None else self.whole_windows(known).flatten(2).any(dim=2)

    def whole_windows(self, known: Tensor) -> Tensor:
        """Positions (n, time, channel, y, x) at which the whole window is known."""
        unknown = (~known).flatten(0, 2).unsqueeze(1).float()
        touched = nn.functional.max_pool2d(unknown, len(self.window), stride=1)
        return (touched == 0).squeeze(1).unflatten(0, known.shape[:3])


class SkimageSSIM(SSIM):
    """Structural similarity as scikit-image computes it for floating-point images in [0, 1].

    It takes a uniform window of 7×7 where it fits, sample covariances (divided by n − 1), and a
    range of 2: scikit-image takes the range from the type, not from the values. SVG and OpenSTL
    use it. It gives higher values than `ssim`: 0.92 to 0.98 where `ssim` gives 0.70 to 0.87.

    Reference: Tan et al. (2023), https://arxiv.org/abs/2306.11249.

    Args:
        extent: size of the data's range, which is mapped to [0, 1].
        low: lower end of that range.
    """

    window = torch.full((UNIFORM_SIDE,), 1 / UNIFORM_SIDE, dtype=torch.float64)
    sample_factor = UNIFORM_SIDE**2 / (UNIFORM_SIDE**2 - 1)

    def __init__(self, extent: float = 1.0, low: float = 0.0) -> None:
        super().__init__(FLOAT_RANGE * extent, low)


def smooth(
    images: Float[Tensor, "many y x"], window: Float[Tensor, " offset"]
) -> Float[Tensor, "many inner_y inner_x"]:
    """Weighted average of images at the positions where a window fits."""
    # Two products with band matrices are faster than two convolutions, up to some hundred pixels.
    rows, columns = (band(size, window, images) for size in images.shape[1:])
    return rows @ images @ columns.transpose(0, 1)


def band(size: int, window: Tensor, like: Tensor) -> Tensor:
    """Matrix whose rows hold the window at each position along a side."""
    positions = torch.arange(size - len(window) + 1)[:, None]
    columns = positions + torch.arange(len(window))
    matrix = torch.zeros(len(positions), size, dtype=torch.float64)
    return matrix.scatter_(1, columns, window.expand(len(positions), -1)).to(like)
