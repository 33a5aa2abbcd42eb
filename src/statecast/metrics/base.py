"""A metric is a value computed from sums, and sums of batches, chunks or processes add up."""

from __future__ import annotations

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
ROWS = ".rows"  # ends the names of what has a row per window
SEQUENCES = f"sequence{ROWS}"  # number of the sequence of each window, where some share one
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
        climatology: mean of training frames, (channel, *space), for the correlation of anomalies.
        weights: of the points of space, (*space), for the metrics that average over points.
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
    half_widths: Tensor | None = None  # (time,), the same at each lead time, where there is one


class Metric(ABC):
    """A score of forecasts against observations, accumulated over batches.

    A NaN in a forecast or a target makes the score NaN, except for values that the target's mask
    calls unknown: they count nowhere, and a frame without a known value counts at no lead time.

    Class attributes:
        version: changes when the definition does; recorded with scores.
        higher_is_better: direction, where there is no `ideal`.
        ideal: value that is best, from both sides; None where the best has no bound to miss.
        perfect: value of a forecast without error, from which skill is counted; None where there
            is none, or no such value is finite.
        unit: unit of the value: `"dB"`, `"1"`, or `"data"` for the unit of the frames.
        needs_samples: fewest samples of a forecast that it can score.
        judges_spread: whether it judges how samples differ, which a single forecast cannot show.
        reductions: ways to combine samples into its score, the usual one first.
        fair: ways to combine samples whose score does not depend on their number, on average.
        selections: ways to combine samples in which single sequences have scores as well.
        whole_frames: whether it needs every point of a frame.

    Attributes:
        weights: of the points of space, (*space), in averages over them; None for all alike.
            Metrics of counts, of windows of points and of whole frames leave them out.
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
        if self.whole_frames and known_in(target) is not None:
            return "it needs whole frames, and some of their values are unknown (masked)"
        return None

    @abstractmethod
    def sums(self, forecast: Forecast, target: Frames, *, context: Frames | None = None) -> Sums:
        """Sums over the batch, float64. Sums of several batches are added key by key.

        A key that ends in `.rows` holds a row of each sequence instead (see `rows_of`).

        Args:
            forecast: samples of the target's frames.
            target: the observations.
            context: the frames before; only metrics of whole videos look at them.
        """

    @abstractmethod
    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        """Scores from added sums, by how samples were combined, such as `"mean"` or `"best"`."""

    @classmethod
    def of_mean(cls, mean: Tensor) -> Tensor:
        """Scores of sequences from the mean of the rows of each; by default the mean itself."""
        return mean

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
    """Sums of two disjoint sets of sequences, added; rows are concatenated."""
    if left is None:
        return dict(right)
    return {
        name: torch.cat([left[name], value]) if name.endswith(ROWS) else left[name] + value
        for name, value in right.items()
    }


def rows_of(
    scores: Mapping[str, Tensor], known: Tensor | None = None
) -> dict[str, Float[Tensor, "batch time"]]:
    """A row of each sequence of a batch, of scores by name, and which of them count.

    Args:
        scores: by name, each (batch, time).
        known: which of them count (batch, time); by default all. A sequence without any does not.
    """
    rows = {f"{name}{ROWS}": frames.double() for name, frames in scores.items()}
    if known is None:
        known = torch.ones_like(next(iter(rows.values())), dtype=torch.bool)
    return {**rows, f"known{ROWS}": known}


def average_of(frames: Tensor, known: Tensor | None) -> Tensor:
    """Average (…,) over the frames that count of scores (…, time); zero where none does."""
    if known is None:
        return frames.mean(dim=-1)
    total = torch.where(known, frames, 0.0).sum(dim=-1)
    return total / known.sum(dim=-1).clamp_min(1)


def count_in(sums: Mapping[str, Tensor]) -> Tensor:
    """Number of sequences that count in sums."""
    return sums[f"known{ROWS}"].any(dim=1).sum().double()


def score_of(name: str, sums: Mapping[str, Tensor]) -> Score:
    """The score whose rows are called `name`, with its intervals over sequences."""
    scores, known = with_average(sums[f"{name}{ROWS}"], sums[f"known{ROWS}"])
    means = torch.where(known, scores, 0.0).sum(dim=0) / known.sum(dim=0)
    widths = half_widths(scores, known, sums.get(SEQUENCES))
    return Score(means[:-1], float(means[-1]), float(widths[-1]), widths[:-1])


def with_average(frames: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (window, time) with their average over known frames as a last column; which count."""
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

    with the sums $S_g$ and numbers $n_g$ of known scores in each of G sequences, as windows of one
    sequence are not independent. Liang and Zeger (1986), https://doi.org/10.1093/biomet/73.1.13.

    Args:
        scores: of windows.
        known: which of them count.
        sequences: number of the sequence of each window; by default each has its own.
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
    # A single sequence has no spread, though rounding may leave some to be divided by 0.
    return torch.where(groups > 1, width, torch.nan)


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
