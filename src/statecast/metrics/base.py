"""A metric is a value computed from sums, and sums of batches, chunks or processes add up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Forecast, Frames

Sums = dict[str, Tensor]
NORMAL_95 = 1.96  # half width of a 95 % interval in standard errors, as published


class Score(NamedTuple):
    """Value of a metric over a set of sequences."""

    per_lead_time: Tensor  # (time,)
    value: float  # mean over lead times
    half_width: float  # of the 95 % interval over sequences; NaN for a single sequence


class Metric(ABC):
    """A score of forecasts against what came, accumulated over batches.

    Class attributes:
        version: changes when the definition does; recorded with scores.
        higher_is_better: direction.
        unit: unit of the value: `"dB"`, `"1"`, or `"data"` for the unit of the frames.
    """

    version: ClassVar[str]
    higher_is_better: ClassVar[bool]
    unit: ClassVar[str]

    @abstractmethod
    def sums(self, forecast: Forecast, target: Frames) -> Sums:
        """Sums over the batch, float64. Sums of several batches are added key by key."""

    @abstractmethod
    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        """Scores from added sums, by how samples were combined, such as `"mean"` or `"best"`."""

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
    """

    @abstractmethod
    def frame_scores(self, frames: Tensor, target: Tensor) -> Tensor:
        """Scores (n, time) of frames (n, time, channel, *space) against a target of that shape."""

    def sums(self, forecast: Forecast, target: Frames) -> Sums:
        check_matching(forecast, target)
        members = torch.stack([self.frame_scores(s, target.values) for s in forecast.samples])
        rank = members.mean(dim=2)  # (sample, batch)
        if not self.higher_is_better:
            rank = -rank
        sequences = torch.arange(members.shape[1], device=members.device)
        mean_forecast = (
            members[0]
            if len(members) == 1
            else self.frame_scores(forecast.samples.mean(dim=0), target.values)
        )
        return {
            "count": torch.tensor(float(members.shape[1]), dtype=torch.float64),
            **moments("mean", members.double().mean(dim=0)),
            **moments("best", members[rank.argmax(dim=0), sequences]),
            **moments("worst", members[rank.argmin(dim=0), sequences]),
            **moments("ensemble_mean", mean_forecast),
        }

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        return {name: score_of(name, sums) for name in ("mean", "best", "worst", "ensemble_mean")}


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
