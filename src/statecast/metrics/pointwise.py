"""Scores of single frames, value by value: MSE, RMSE, MAE, PSNR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.metrics.base import SampleMetric, Score

LARGEST_PSNR = 100.0  # dB


class MSE(SampleMetric):
    """Mean squared error, over channels and space, then frames."""

    version, higher_is_better, unit = "1", False, "data²"

    def frame_scores(self, frames: Tensor, target: Tensor, prepared: Any) -> Tensor:
        return (frames - target).square().flatten(2).mean(dim=2)


class RMSE(MSE):
    """Root of the mean squared error over sequences, at each lead time and altogether.

    The root is taken last: a mean of roots would depend on what is averaged first. So its
    interval is that of the mean squared error, carried over by the slope of the root.
    """

    unit = "data"

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        return {name: rooted(score) for name, score in super().scores(sums).items()}

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        return {}


def rooted(score: Score) -> Score:
    """Square root of a score, with its interval to first order."""
    value = score.value**0.5
    half_width = score.half_width / (2 * value) if value else score.half_width
    return Score(score.per_lead_time.sqrt(), value, half_width)


class MAE(SampleMetric):
    """Mean absolute error, over channels and space, then frames."""

    version, higher_is_better, unit = "1", False, "data"

    def frame_scores(self, frames: Tensor, target: Tensor, prepared: Any) -> Tensor:
        return (frames - target).abs().flatten(2).mean(dim=2)


class PSNR(SampleMetric):
    r"""Peak signal-to-noise ratio: the mean of the decibels of every frame and channel.

    $$10 \log_{10} \frac{r^2}{\mathrm{MSE}}$$

    with r the range of the data. Infinite for a frame that is exact, which counts 100 dB in a mean
    over frames or sequences, so that it stays a number; otherwise as in Franceschi et al.
    (2020), https://arxiv.org/abs/2002.09219.

    Args:
        extent: size r of the data's range.
    """

    version, higher_is_better, unit = "1", True, "dB"

    def __init__(self, extent: float = 1.0) -> None:
        if extent <= 0:
            raise InputError(f"A range of values has a positive size, got {extent}.")
        self.extent = extent

    @classmethod
    def of(cls, spec: FrameSpec) -> Self:
        return cls(extent_of(spec))

    @classmethod
    def applies_to(cls, spec: FrameSpec, samples: int) -> str | None:
        return super().applies_to(spec, samples) or unbounded(spec)

    def frame_scores(self, frames: Tensor, target: Tensor, prepared: Any) -> Tensor:
        error = (frames - target).square().flatten(3).mean(dim=3)
        return 10 * (self.extent**2 / error).log10().mean(dim=2)

    def counted(self, scores: Tensor) -> Tensor:
        return scores.clamp_max(LARGEST_PSNR)


def unbounded(spec: FrameSpec) -> str | None:
    """Why a metric that needs the data's range cannot be computed; None where it is known."""
    return "the range of the data is not known" if spec.value_range is None else None


def extent_of(spec: FrameSpec) -> float:
    """Size of the data's range.

    Errors:
        InputError: it is not known.
    """
    if spec.value_range is None:
        raise InputError("This metric needs a value_range in the FrameSpec, which has none.")
    return spec.value_range[1] - spec.value_range[0]
