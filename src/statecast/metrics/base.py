"""A metric is a value computed from sums, and sums of batches, chunks or processes add up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Forecast, Frames, FrameSpec

Sums = dict[str, Tensor]
NORMAL_95 = 1.96  # half width of a 95 % interval in standard errors, as published


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    """Settings of metrics; the first four are options of `evaluate`.

    Attributes:
        lpips_weights: file of the network behind LPIPS, or a folder that holds it.
        fvd_weights: TorchScript file of the network behind FVD. It is code, and it is run.
        allow_download: fetch the published weights of LPIPS where they are not found.
        thresholds: of the Brier score; by default the middle of the data's range.
        device: where networks run.
    """

    lpips_weights: str | None = None
    fvd_weights: str | None = None
    allow_download: bool = False
    thresholds: tuple[float, ...] = ()
    device: str = "cpu"


DEFAULTS = MetricSettings()


class Score(NamedTuple):
    """Value of a metric over a set of sequences."""

    per_lead_time: Tensor  # (time,)
    value: float  # mean over lead times
    half_width: float  # of the 95 % interval over sequences; NaN where there is none
    half_widths: Tensor | None = None  # (time,), the same at each lead time, where there is one


class Metric(ABC):
    """A score of forecasts against what came, accumulated over batches.

    A NaN in a forecast or a target makes the score NaN, but for values that the target's mask
    calls unknown: they count nowhere, and a frame without a known value counts at no lead time.

    Class attributes:
        version: changes when the definition does; recorded with scores.
        higher_is_better: direction, where there is no `ideal`.
        ideal: value that is best, from both sides; None where the best has no bound to miss.
        unit: unit of the value: `"dB"`, `"1"`, or `"data"` for the unit of the frames.
        needs_samples: fewest samples of a forecast that it can score.
        judges_spread: whether it judges how samples differ, of which a single forecast has none.
        selections: ways of combining samples that it scores, the usual one first.
    """

    version: ClassVar[str]
    higher_is_better: ClassVar[bool]
    ideal: ClassVar[float | None] = None
    unit: ClassVar[str]
    needs_samples: ClassVar[int] = 1
    judges_spread: ClassVar[bool] = False
    selections: ClassVar[tuple[str, ...]] = ("ensemble",)

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        """The metric for frames of this kind.

        Errors:
            FileError, CorruptionError: a file that it needs is missing or not what it should be.
        """
        return cls()

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        """Why it cannot be computed for such frames and samples; None where it can."""
        if samples < cls.needs_samples:
            return f"it needs at least {cls.needs_samples} samples, got {samples}"
        return None

    @classmethod
    def penalty(cls, value: float) -> float:
        """A number that is lower for a better value; NaN for NaN."""
        if cls.ideal is not None:
            return abs(value - cls.ideal)
        return -value if cls.higher_is_better else value

    @classmethod
    def arrow(cls) -> str:
        """Where better values are: ↑, ↓, or → and the ideal."""
        if cls.ideal is not None:
            return f"→{cls.ideal:g}"
        return "↑" if cls.higher_is_better else "↓"

    def why_not_scorable(self, target: Frames) -> str | None:
        """Why these frames cannot be scored; None where they can."""
        return None

    @abstractmethod
    def sums(self, forecast: Forecast, target: Frames, *, context: Frames | None = None) -> Sums:
        """Sums over the batch, float64. Sums of several batches are added key by key.

        Args:
            forecast: samples of the target's frames.
            target: what came.
            context: the frames before; only metrics of whole videos look at them.
        """

    @abstractmethod
    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        """Scores from added sums, by how samples were combined, such as `"mean"` or `"best"`."""

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        """Details beside the score, such as a histogram (JSON values); nothing by default."""
        return {}

    def protocol(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        """Facts needed to compute it again, such as the digest of a file (JSON values)."""
        return {}

    def value(self, sums: Mapping[str, Tensor]) -> Tensor:
        """The metric's first score at each lead time, (time,)."""
        return next(iter(self.scores(sums).values())).per_lead_time


def add(left: Mapping[str, Tensor] | None, right: Mapping[str, Tensor]) -> Sums:
    """Sums of two disjoint sets of sequences, added."""
    if left is None:
        return dict(right)
    return {name: left[name] + right[name] for name in right}


def moments(name: str, frames: Tensor, known: Tensor | None = None) -> Sums:
    """Sums of scores over sequences: per lead time, of their averages, and of the squares of both.

    Args:
        name: of what is summed; begins the keys.
        frames: scores (batch, time).
        known: which of them count (batch, time); by default all.
    """
    frames = frames.double()
    if known is not None:
        frames = torch.where(known, frames, 0.0)
    average = average_of(frames, known)
    return {
        f"{name}.frames": frames.sum(dim=0),
        f"{name}.frame_squares": frames.square().sum(dim=0),
        f"{name}.total": average.sum(),
        f"{name}.squares": average.square().sum(),
    }


def average_of(frames: Tensor, known: Tensor | None) -> Tensor:
    """Average (…,) over the frames that count of scores (…, time); zero where none does."""
    if known is None:
        return frames.mean(dim=-1)
    total = torch.where(known, frames, 0.0).sum(dim=-1)
    return total / known.sum(dim=-1).clamp_min(1)


def counts_of(frames: Tensor, known: Tensor | None = None) -> Sums:
    """Number of sequences in scores (batch, time), altogether and at each lead time.

    Args:
        frames: the scores.
        known: which of them count; by default all. A sequence without any does not count.
    """
    if known is None:
        known = torch.ones(frames.shape[:2], dtype=torch.bool, device=frames.device)
    return {"count": known.any(dim=1).sum().double(), "counts": known.sum(dim=0).double()}


def score_of(name: str, sums: Mapping[str, Tensor]) -> Score:
    """The score that `moments` accumulated under `name`, with its intervals over sequences."""
    count, counts = sums["count"], sums["counts"]
    mean = sums[f"{name}.total"] / count
    half_width = half_width_of(sums[f"{name}.total"], sums[f"{name}.squares"], count)
    frames = sums[f"{name}.frames"]
    half_widths = half_width_of(frames, sums[f"{name}.frame_squares"], counts)
    return Score(frames / counts, float(mean), float(half_width), half_widths)


def half_width_of(total: Tensor, squares: Tensor, count: Tensor) -> Tensor:
    """Half width of the 95 % interval of a mean, from sums of values and squares; NaN for one."""
    mean = total / count
    # Unbiased variance over sequences; rounding must not make it negative.
    spread = (squares / count - mean.square()).clamp_min(0) * count / (count - 1)
    return NORMAL_95 * (spread / count).sqrt()


def check_matching(forecast: Forecast, target: Frames) -> None:
    """Raise `InputError` unless the forecast covers exactly the target's frames."""
    if not isinstance(forecast, Forecast) or not isinstance(target, Frames):
        raise InputError(
            f"A metric compares a Forecast with Frames, got {type(forecast).__name__} and "
            f"{type(target).__name__}."
        )
    if forecast.samples.shape[1:] != target.values.shape:
        raise InputError(
            "A forecast (sample, batch, time, channel, *space) must match its target "
            f"(batch, time, channel, *space), got {tuple(forecast.samples.shape)} and "
            f"{tuple(target.values.shape)}."
        )
    if not torch.allclose(forecast.times, target.times):
        raise InputError(
            f"The forecast's lead times {forecast.times.tolist()} are not the target's "
            f"{target.times.tolist()}."
        )
