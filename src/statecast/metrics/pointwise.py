"""Scores of frames, value by value: MSE, its sum and root, MAE, PSNR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.metrics.base import DEFAULTS, MetricSettings, Score, Sums
from statecast.metrics.masking import average, filled
from statecast.metrics.per_sample import SampleMetric

LARGEST_PSNR = 100.0  # dB


class MSE(SampleMetric):
    """Mean squared error over channels and space, then over frames."""

    version, higher_is_better, unit = "1", False, "data²"
    perfect = 0.0

    def frame_scores(
        self, frames: Tensor, target: Tensor, prepared: Any, known: Tensor | None = None
    ) -> Tensor:
        return average((frames - target).square(), known, 2, self.weights)


class MSESum(MSE):
    """Squared error summed over channels and space, then averaged over frames.

    The MSE of OpenSTL and PhyDNet. For a 64×64 grey frame it is 4096 times `mse`.

    Reference: Tan et al. (2023), https://arxiv.org/abs/2306.11249.
    """

    def frame_scores(
        self, frames: Tensor, target: Tensor, prepared: Any, known: Tensor | None = None
    ) -> Tensor:
        return filled((frames - target).square(), known).flatten(2).sum(dim=2)


class RMSE(MSE):
    """Root of the mean squared error over sequences, at each lead time and over all lead times.

    The root is taken last, because a mean of roots depends on the order of averaging. Its interval
    follows from that of the mean squared error by the slope of the root.
    """

    unit = "data"

    @classmethod
    def of_mean(cls, mean: Tensor) -> Tensor:
        return mean.sqrt()

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        return {name: rooted(score) for name, score in super().scores(sums).items()}

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        return {}


def rooted(score: Score) -> Score:
    """Square root of a score, with intervals to first order."""
    value, roots = score.value**0.5, score.per_lead_time.sqrt()
    half_width = score.half_width / (2 * value) if value else score.half_width
    half_widths = score.half_widths
    if half_widths is not None:
        half_widths = torch.where(roots == 0, half_widths, half_widths / (2 * roots))
    return Score(roots, value, half_width, half_widths)


class MAE(SampleMetric):
    """Mean absolute error over channels and space, then over frames."""

    version, higher_is_better, unit = "1", False, "data"
    perfect = 0.0

    def frame_scores(
        self, frames: Tensor, target: Tensor, prepared: Any, known: Tensor | None = None
    ) -> Tensor:
        return average((frames - target).abs(), known, 2, self.weights)


class PSNR(SampleMetric):
    r"""Peak signal-to-noise ratio: the mean of the decibels of every frame and channel.

    $$10 \log_{10} \frac{r^2}{\mathrm{MSE}}$$

    with the size r of the data's range. A channel without a known value is ignored. An exact frame
    would score infinity; at most 100 dB enter a mean over frames or sequences, so that it stays
    finite; `details` counts those frames. Otherwise as in Franceschi et al. (2020),
    https://arxiv.org/abs/2002.09219.

    Args:
        extent: size r of the data's range.
    """

    version, higher_is_better, unit = "1", True, "dB"

    def __init__(self, extent: float = 1.0) -> None:
        if extent <= 0:
            raise InputError(f"The size of a range must be positive, got {extent}.")
        self.extent = extent

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        return cls(extent_of(spec))

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        return super().why_not_applicable(spec, samples, settings) or unbounded(spec)

    def frame_scores(
        self, frames: Tensor, target: Tensor, prepared: Any, known: Tensor | None = None
    ) -> Tensor:
        error = average((frames - target).square(), known, 3)
        channels = None if known is None else known.flatten(3).any(dim=3)
        return 10 * average((self.extent**2 / error).log10(), channels, 2)

    def counted(self, scores: Tensor) -> Tensor:
        return scores.clamp_max(LARGEST_PSNR)

    def combined(self, scores: Tensor, known: Tensor | None) -> Sums:
        members = scores if len(scores) == 1 else scores[:-1]
        members = members if known is None else members[:, known]
        exact = (members >= LARGEST_PSNR).sum().double()
        frames = torch.full_like(exact, members.numel())
        return super().combined(scores, known) | {"exact": exact, "frames": frames}

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        found = super().details(sums)
        if sums["exact"] == 0:
            return found
        return found | {"exact_frames": int(sums["exact"]), "frames": int(sums["frames"])}


def unbounded(spec: FrameSpec) -> str | None:
    """Why a metric that needs the data's range cannot be computed; None if the range is known."""
    return "the range of the data is not known" if spec.value_range is None else None


def extent_of(spec: FrameSpec) -> float:
    """Size of the data's range.

    Errors:
        InputError: the range is not known.
    """
    if spec.value_range is None:
        raise InputError("This metric needs the data's range: set value_range of the FrameSpec.")
    return spec.value_range[1] - spec.value_range[0]
