"""A metric is a value computed from sums, and sums of batches, chunks or processes add up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Forecast, Frames, FrameSpec

Sums = dict[str, Tensor]
NORMAL_95 = 1.96  # half width of a 95 % interval in standard errors, as published


class Score(NamedTuple):
    """Value of a metric over a set of sequences."""

    per_lead_time: Tensor  # (time,)
    value: float  # mean over lead times
    half_width: float  # of the 95 % interval over sequences; NaN where there is none


class Metric(ABC):
    """A score of forecasts against what came, accumulated over batches.

    A NaN in a forecast or a target makes the score NaN.

    Class attributes:
        version: changes when the definition does; recorded with scores.
        higher_is_better: direction.
        unit: unit of the value: `"dB"`, `"1"`, or `"data"` for the unit of the frames.
        needs_samples: fewest samples of a forecast that it can score.
    """

    version: ClassVar[str]
    higher_is_better: ClassVar[bool]
    unit: ClassVar[str]
    needs_samples: ClassVar[int] = 1

    @classmethod
    def of(cls, spec: FrameSpec) -> Self:
        """The metric for frames of this kind."""
        return cls()

    @classmethod
    def applies_to(cls, spec: FrameSpec, samples: int) -> str | None:
        """Why it cannot be computed for such frames and samples; None where it can."""
        if samples < cls.needs_samples:
            return f"it needs at least {cls.needs_samples} samples, got {samples}"
        return None

    @abstractmethod
    def sums(self, forecast: Forecast, target: Frames) -> Sums:
        """Sums over the batch, float64. Sums of several batches are added key by key."""

    @abstractmethod
    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        """Scores from added sums, by how samples were combined, such as `"mean"` or `"best"`."""

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        """What a score cannot say, such as a histogram (JSON values); nothing by default."""
        return {}

    def value(self, sums: Mapping[str, Tensor]) -> Tensor:
        """The metric's first score at each lead time, (time,)."""
        return next(iter(self.scores(sums).values())).per_lead_time


def add(left: Mapping[str, Tensor] | None, right: Mapping[str, Tensor]) -> Sums:
    """Sums of two disjoint sets of sequences, added."""
    if left is None:
        return dict(right)
    return {name: left[name] + right[name] for name in right}


def moments(name: str, frames: Tensor) -> Sums:
    """Sums of scores (batch, time) over sequences: per lead time, of their averages and squares."""
    frames = frames.double()
    average = frames.mean(dim=1)
    return {
        f"{name}.frames": frames.sum(dim=0),
        f"{name}.total": average.sum(),
        f"{name}.squares": average.square().sum(),
    }


def count_of(frames: Tensor) -> Tensor:
    """Number of sequences in scores (batch, …), to be added up."""
    return torch.tensor(float(len(frames)), dtype=torch.float64)


def score_of(name: str, sums: Mapping[str, Tensor]) -> Score:
    """The score that `moments` accumulated under `name`, with its interval over sequences."""
    count = sums["count"]
    mean = sums[f"{name}.total"] / count
    # Unbiased variance over sequences; rounding must not make it negative.
    spread = (sums[f"{name}.squares"] / count - mean.square()).clamp_min(0) * count / (count - 1)
    half_width = NORMAL_95 * (spread / count).sqrt()
    return Score(sums[f"{name}.frames"] / count, float(mean), float(half_width))


class SampleMetric(Metric):
    """A metric that scores every frame of every sample by itself.

    Scores, by how samples are combined:
        mean: average over samples;
        best, worst: of each sequence, the sample with the best or worst average over its frames
            (best of N, Franceschi et al. 2020, https://arxiv.org/abs/2002.09219, section 4);
        ensemble_mean: the mean over samples, scored as one forecast.

    `details` holds the best-of-N curve: what the best of 1, 2, … samples would score on average.
    """

    @abstractmethod
    def frame_scores(self, frames: Tensor, target: Tensor, prepared: Any) -> Tensor:
        """Scores (n, time) of frames (n, time, channel, *space) against a target of that shape."""

    def prepare(self, target: Tensor) -> Any:
        """What depends on the target alone, computed once for all samples."""
        return None

    def counted(self, scores: Tensor) -> Tensor:
        """What scores of frames count in a mean; they themselves by default."""
        return scores

    def sums(self, forecast: Forecast, target: Frames) -> Sums:
        check_matching(forecast, target)
        prepared = self.prepare(target.values)

        def scored(frames: Tensor) -> Tensor:
            return self.counted(self.frame_scores(frames, target.values, prepared))

        members = torch.stack(
            [scored(sample) for sample in forecast.samples]
        ).double()  # (sample, batch, time)
        averages = members.mean(dim=2)
        # A NaN sample must not hide behind better ones, nor be passed over: NaN sorts last as the
        # highest, so the rank of every sequence that has one is made NaN altogether.
        broken = averages.isnan().any(dim=0)
        order = averages.argsort(dim=0, descending=self.higher_is_better)
        sequences = torch.arange(members.shape[1], device=members.device)
        best, worst = members[order[0], sequences], members[order[-1], sequences]
        best[broken], worst[broken] = torch.nan, torch.nan
        mean_forecast = members[0] if len(members) == 1 else scored(forecast.samples.mean(dim=0))
        return {
            "count": count_of(best),
            **moments("mean", members.mean(dim=0)),
            **moments("best", best),
            **moments("worst", worst),
            **moments("ensemble_mean", mean_forecast),
            "curve": best_of(averages.gather(0, order)).sum(dim=1),
        }

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        return {name: score_of(name, sums) for name in ("mean", "best", "worst", "ensemble_mean")}

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        if len(sums["curve"]) == 1:
            return {}
        return {"best_of_n": (sums["curve"] / sums["count"]).tolist()}


def best_of(ranked: Tensor) -> Tensor:
    r"""Expected best of n of M samples drawn without replacement, for n = 1 … M.

    The sample of rank r (best first, from 0) is the best of n with probability
    $\binom{M-1-r}{n-1} / \binom{M}{n}$.

    Args:
        ranked: scores (sample, batch), best first.

    Returns:
        (n, batch); NaN for a sequence with a NaN.
    """
    count = len(ranked)
    chance = torch.zeros(count, count, dtype=torch.float64)
    for n in range(1, count + 1):
        share = n / count  # probability of rank 0; the next follow by ratios
        for rank in range(count - n + 1):
            chance[n - 1, rank] = share
            share *= (count - n - rank) / (count - 1 - rank) if rank < count - 1 else 0.0
    return chance.to(ranked.device) @ ranked.double()


def check_matching(forecast: Forecast, target: Frames) -> None:
    """Raise `InputError` unless the forecast covers exactly the target's frames."""
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
