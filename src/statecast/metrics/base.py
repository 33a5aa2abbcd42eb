"""Metric: a score computed from sums that add up over batches and processes."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics.masking import known_in

Sums = dict[str, Tensor]
ROWS = ".rows"  # ending of the names of sums that hold a row per window
SEQUENCES = f"sequence{ROWS}"  # sequence number of each window, if windows share sequences
ABBREVIATIONS = re.compile(r"\b(acc|crps|fvd|lpips|mae|mse|psnr|rmse|ssim)\b")
NORMAL_95 = 1.96  # half width of a 95 % interval, in standard errors


@dataclass(frozen=True, kw_only=True)
class MetricSettings:
    """Settings of metrics; the first four are options of `evaluate`.

    Attributes:
        lpips_weights: file with the weights of the network behind LPIPS, or the folder that holds
            it.
        fvd_weights: TorchScript file of the network behind FVD. It is code, and scoring runs it.
        allow_download: whether to download the published weights of LPIPS if they are missing.
        thresholds: thresholds of the Brier score; by default the middle of the data's range.
        device: device that networks run on.
        climatology: mean training frame, (channel, *space), for the correlation of anomalies.
        weights: weight of each point of space, (*space), for metrics that average over points.
    """

    lpips_weights: str | None = None
    fvd_weights: str | None = None
    allow_download: bool = False
    thresholds: tuple[float, ...] = ()
    device: str = "cpu"
    climatology: Tensor | None = None
    whole_frames: ClassVar[bool] = False
    weights: Tensor | None = None


DEFAULTS = MetricSettings()


class Score(NamedTuple):
    """Value of a metric over a set of sequences."""

    per_lead_time: Tensor  # (time,)
    value: float  # mean over lead times
    half_width: float  # of the 95 % interval over sequences; NaN if undefined
    half_widths: Tensor | None = None  # (time,), at each lead time; None if undefined

    def to_json(self) -> dict[str, Any]:
        """Value, half width, and values at each lead time."""
        return {
            "per_lead_time": self.per_lead_time.tolist(),
            "value": self.value,
            "half_width": self.half_width,
        }


def written_out(text: str) -> str:
    """Text with the names of metrics as papers write them, such as PSNR and spread skill."""
    return ABBREVIATIONS.sub(lambda found: found[0].upper(), text.replace("_", " "))


class Metric(ABC):
    """A score of forecasts against observations, accumulated over batches.

    A NaN in a forecast or target makes the score NaN. Values that the target's mask marks as
    unknown are ignored, and so are frames without any known value.

    Class attributes:
        version: version of the definition, recorded with scores; it changes with the definition.
        higher_is_better: direction, unless there is an `ideal`.
        ideal: best value, if scores can miss it on both sides; otherwise None.
        perfect: finite value of a forecast without error, the reference of skill scores; None if
            there is none.
        unit: unit of the value: `"dB"`, `"1"`, `"data"` for the unit of the frames, or `"data²"`.
        needs_samples: smallest number of samples that it can score.
        judges_spread: whether it scores the spread of samples, which one forecast does not have.
        reductions: ways to combine samples into a score, the default first.
        fair: ways to combine samples whose score is on average independent of their number.
        selections: ways to combine samples that also give each sequence a score.
        whole_frames: whether it needs every point of a frame.

    Attributes:
        weights: weight of each point of space, (*space), in averages; None for equal weights.
            Metrics of counts, of windows of points and of whole frames ignore it.
    """

    version: ClassVar[str]
    higher_is_better: ClassVar[bool]
    ideal: ClassVar[float | None] = None
    perfect: ClassVar[float | None] = None
    unit: ClassVar[str]
    needs_samples: ClassVar[int] = 1
    judges_spread: ClassVar[bool] = False
    reductions: ClassVar[tuple[str, ...]] = ("ensemble",)
    fair: ClassVar[tuple[str, ...]] = ()
    selections: ClassVar[tuple[str, ...]] = ()
    whole_frames: ClassVar[bool] = False
    weights: Tensor | None = None

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        """The metric for frames of this kind.

        Errors:
            FileError, CorruptionError: a file that it needs is missing or damaged.
        """
        return cls()

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        """Why it cannot be computed for such frames and samples; None if it can."""
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
        """Direction of better values: ↑, ↓, or → and the ideal."""
        if cls.ideal is not None:
            return f"→{cls.ideal:g}"
        return "↑" if cls.higher_is_better else "↓"

    def why_not_scorable(self, target: Frames) -> str | None:
        """Why these frames cannot be scored; None if they can."""
        if self.whole_frames and known_in(target) is not None:
            return "it needs whole frames, but some values are unknown (masked)"
        return None

    @abstractmethod
    def sums(self, forecast: Forecast, target: Frames, *, context: Frames | None = None) -> Sums:
        """Sums over a batch, in float64. Sums of several batches are added key by key.

        A key that ends in `.rows` holds one row per sequence instead (see `rows_of`).

        Args:
            forecast: samples of the target's frames.
            target: the observations.
            context: the frames before the target; only metrics of whole videos use them.
        """

    @abstractmethod
    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        """Scores from sums, by the way samples were combined, such as `"mean"` or `"best"`."""

    @classmethod
    def of_mean(cls, mean: Tensor) -> Tensor:
        """Scores from means of rows over windows; by default the means themselves."""
        return mean

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        """Details beside the score, such as a histogram, as JSON values; none by default."""
        return {}

    def protocol(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        """Facts needed to compute it again, such as the digest of a file, as JSON values."""
        return {}

    def value(self, sums: Mapping[str, Tensor]) -> Tensor:
        """The metric's first score at each lead time, (time,)."""
        return next(iter(self.scores(sums).values())).per_lead_time


def add(left: Mapping[str, Tensor] | None, right: Mapping[str, Tensor]) -> Sums:
    """Add the sums of two disjoint sets of sequences; concatenate their rows."""
    if left is None:
        return dict(right)
    return {
        name: torch.cat([left[name], value]) if name.endswith(ROWS) else left[name] + value
        for name, value in right.items()
    }


def rows_of(
    scores: Mapping[str, Tensor], known: Tensor | None = None
) -> dict[str, Float[Tensor, "batch time"]]:
    """Rows for the sums of a batch: scores of each sequence, and which of them count.

    Args:
        scores: scores (batch, time) by name.
        known: which scores count, (batch, time); all by default. A sequence without any score
            that counts is ignored.
    """
    rows = {f"{name}{ROWS}": frames.double() for name, frames in scores.items()}
    if known is None:
        known = torch.ones_like(next(iter(rows.values())), dtype=torch.bool)
    return {**rows, f"known{ROWS}": known}


def average_of(frames: Tensor, known: Tensor | None) -> Tensor:
    """Average of scores (…, time) over the frames that count; zero if none counts."""
    if known is None:
        return frames.mean(dim=-1)
    total = torch.where(known, frames, 0.0).sum(dim=-1)
    return total / known.sum(dim=-1).clamp_min(1)


def count_in(sums: Mapping[str, Tensor]) -> Tensor:
    """Number of sequences that count."""
    return sums[f"known{ROWS}"].any(dim=1).sum().double()


def score_of(name: str, sums: Mapping[str, Tensor]) -> Score:
    """The score whose rows have this name, with its intervals over sequences."""
    scores, known = with_average(sums[f"{name}{ROWS}"], sums[f"known{ROWS}"])
    means = torch.where(known, scores, 0.0).sum(dim=0) / known.sum(dim=0)
    widths = half_widths(scores, known, sums.get(SEQUENCES))
    return Score(means[:-1], float(means[-1]), float(widths[-1]), widths[:-1])


def with_average(frames: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (window, time) with their average over known frames as last column; which count."""
    average = average_of(torch.where(known, frames, 0.0), known)
    return (
        torch.cat([frames, average[:, None]], dim=1),
        torch.cat([known, known.any(dim=1, keepdim=True)], dim=1),
    )


def half_widths(
    scores: Float[Tensor, "window column"],
    known: Bool[Tensor, "window column"],
    sequences: Int[Tensor, " window"] | None = None,
) -> Float[Tensor, " column"]:
    r"""Half widths of the 95 % intervals of means over windows; NaN for a single sequence.

    $$1.96 \sqrt{\frac{G}{G-1} \sum_g (S_g - n_g \bar x)^2} \Big/ \sum_g n_g$$

    with the sum $S_g$ and number $n_g$ of known scores in each of G sequences: windows of one
    sequence are not independent. Liang and Zeger (1986), https://doi.org/10.1093/biomet/73.1.13.

    Args:
        scores: scores of the windows.
        known: which scores count.
        sequences: number of the sequence that each window was cut from; by default each window
            has its own.
    """
    filled, counts = torch.where(known, scores, 0.0), known.to(scores.dtype)
    mean = filled.sum(dim=0) / counts.sum(dim=0)
    rest = filled - counts * mean
    if sequences is not None:
        _, places = sequences.unique(return_inverse=True)
        size = int(places.max()) + 1
        rest = rest.new_zeros(size, rest.shape[1]).index_add_(0, places, rest)
        counts = counts.new_zeros(size, counts.shape[1]).index_add_(0, places, counts)
    groups = (counts > 0).sum(dim=0).to(rest.dtype)
    variance = rest.square().sum(dim=0) * (groups / (groups - 1))
    width = NORMAL_95 * variance.sqrt() / counts.sum(dim=0)
    # A single sequence has no spread, but rounding may leave one to divide by 0.
    return torch.where(groups > 1, width, torch.nan)


def half_width_of(total: Tensor, squares: Tensor, count: Tensor) -> Tensor:
    """Half width of a mean's 95 % interval, from sums of values and squares; NaN for one value."""
    mean = total / count
    # Unbiased variance over sequences; rounding must not make it negative.
    spread = (squares / count - mean.square()).clamp_min(0) * count / (count - 1)
    return NORMAL_95 * (spread / count).sqrt()


def check_matching(forecast: Forecast, target: Frames) -> None:
    """Raise `InputError` unless the forecast covers exactly the target's frames."""
    if not isinstance(forecast, Forecast) or not isinstance(target, Frames):
        raise InputError(
            f"A metric compares a Forecast with Frames; got {type(forecast).__name__} and "
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
            f"Forecast and target must have the same lead times, got {forecast.times.tolist()} and "
            f"{target.times.tolist()}."
        )
