"""Calibration of an ensemble: whether the truth behaves like one of its samples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from statecast.frames import Forecast, Frames
from statecast.metrics.base import Score, Sums
from statecast.metrics.ensemble import Ensemble, EnsembleMetric
from statecast.metrics.masking import average, filled, frames_known

LEVELS = (0.5, 0.9)  # of central intervals


class Ranks(NamedTuple):
    """Where the truth lies among the samples."""

    below: Tensor  # number of samples below the truth, in its shape
    equal: Tensor  # number of samples equal to it
    broken: Tensor  # (time,), whether samples or truth hold a NaN


def ranks_of(samples: Tensor, truth: Tensor) -> Ranks:
    """Ranks of a truth (batch, time, channel, *space) among its samples."""
    below, equal = torch.zeros_like(truth), torch.zeros_like(truth)
    broken = truth.isnan()
    for sample in samples:  # one at a time: nothing as large as the ensemble is stored
        below += sample < truth
        equal += sample == truth
        broken |= sample.isnan()
    return Ranks(below, equal, broken.transpose(0, 1).flatten(1).any(dim=1))


class CalibrationMetric(EnsembleMetric):
    """A metric of the spread of samples, with sums at each lead time."""

    judges_spread = True

    def sums(self, forecast: Forecast, target: Frames, *, context: Frames | None = None) -> Sums:
        found = [self.part_sums(ensemble) for ensemble in self.parts(forecast, target)]
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}

    @abstractmethod
    def part_sums(self, ensemble: Ensemble) -> Sums:
        """Sums over the batch at consecutive lead times."""


class SpreadSkill(CalibrationMetric):
    r"""Ratio of an ensemble's spread to the error of its mean; 1 if they match.

    $$\sqrt{\frac{M+1}{M} \frac{\overline{s^2}}{\overline{(\bar x - y)^2}}}$$

    with the unbiased variance $s^2$ over M samples, and means over sequences, channels and space.
    Below 1, the forecast is overconfident. Values closer to 1 are better.

    Reference: Fortin et al. (2014), https://doi.org/10.1175/JHM-D-14-0008.1.
    """

    version, higher_is_better, unit = "1", True, "1"
    ideal = 1.0
    fair = ("ensemble",)

    def part_sums(self, ensemble: Ensemble) -> Sums:
        samples, known = ensemble.samples.double(), ensemble.known
        members = len(samples)
        spread = average(samples.var(dim=0), known, 2, self.weights) * (members + 1) / members
        error = average((samples.mean(dim=0) - ensemble.truth).square(), known, 2, self.weights)
        frames = frames_known(known)
        if frames is not None:
            spread, error = filled(spread, frames), filled(error, frames)
        return {"spread": spread.sum(dim=0), "error": error.sum(dim=0)}

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        ratio = (sums["spread"] / sums["error"]).sqrt()
        whole = (sums["spread"].sum() / sums["error"].sum()).sqrt()
        return {"ensemble": Score(ratio, float(whole), float("nan"))}


class RankHistogram(CalibrationMetric):
    r"""Distance of the rank histogram of the truth from a flat one.

    The score is the total variation distance $\frac12\sum_r |p_r - \frac{1}{M+1}|$ between the
    frequencies $p_r$ of the ranks among M samples and equal ones: 0 for a calibrated ensemble, at
    most 1. A truth equal to some samples is shared equally by all ranks that it could take. Every
    known point counts once. `details` holds the histogram at each lead time.

    Reference: Hamill (2001),
    https://doi.org/10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2.
    """

    version, higher_is_better, unit = "1", False, "1"

    def part_sums(self, ensemble: Ensemble) -> Sums:
        samples, truth, known = ensemble
        ranks = ranks_of(samples, truth)
        weights = torch.ones_like(truth) if known is None else known
        histogram = torch.stack(
            [
                histogram_of(ranks.below[:, i], ranks.equal[:, i], weights[:, i], len(samples) + 1)
                for i in range(truth.shape[1])
            ]
        )
        histogram[ranks.broken] = torch.nan
        return {"histogram": histogram}

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        histogram = sums["histogram"]
        per_lead_time = _distance(histogram)
        whole = _distance(histogram.sum(dim=0, keepdim=True))
        return {"ensemble": Score(per_lead_time, float(whole), float("nan"))}

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        histogram = sums["histogram"]
        return {"histogram": (histogram / histogram.sum(dim=1, keepdim=True)).tolist()}


def histogram_of(below: Tensor, equal: Tensor, weights: Tensor, ranks: int) -> Tensor:
    """Weight of each rank, (rank,), from the numbers of samples below and equal to each truth."""
    low, high = below.flatten().long(), (below + equal).flatten().long()
    share = weights.flatten().double() / (high - low + 1)
    # Each rank from `low` to `high` gets a share: mark where it begins and ends, then sum.
    steps = torch.zeros(ranks + 1, dtype=torch.float64)
    steps.index_add_(0, low, share)
    steps.index_add_(0, high + 1, -share)
    return steps.cumsum(dim=0)[:-1]


def _distance(histogram: Tensor) -> Tensor:
    frequency = histogram / histogram.sum(dim=1, keepdim=True)
    return 0.5 * (frequency - 1 / histogram.shape[1]).abs().sum(dim=1)


class Coverage(CalibrationMetric):
    """Difference between observed and nominal coverage of the samples' central intervals.

    The score is the mean absolute difference over the 50 % and 90 % intervals; 0 is best.
    `details` holds the share of truths inside each interval. At level p, an interval of M samples
    excludes (1 − p)(M + 1)/2 ranks on either side, interpolated, so a calibrated ensemble of any
    size covers p. Every known point counts once.
    """

    version, higher_is_better, unit = "1", False, "1"
    fair = ("ensemble",)

    def part_sums(self, ensemble: Ensemble) -> Sums:
        samples, truth, known = ensemble
        ranks = ranks_of(samples, truth)
        weights = torch.ones_like(truth) if known is None else known
        sums: Sums = {"points": by_time(weights.double())}
        for level in LEVELS:
            total = by_time(filled(covered(ranks, len(samples), level), known))
            total[ranks.broken] = torch.nan
            sums[f"inside.{level}"] = total
        return sums

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        shares = [(sums[f"inside.{level}"] / sums["points"], level) for level in LEVELS]
        per_lead_time = torch.stack([(share - level).abs() for share, level in shares]).mean(dim=0)
        seen = sums["points"] > 0  # lead times with any known point
        whole = sum(abs(float(share[seen].mean()) - level) for share, level in shares)
        return {"ensemble": Score(per_lead_time, whole / len(LEVELS), float("nan"))}

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        return {
            f"inside_{level}": (sums[f"inside.{level}"] / sums["points"]).tolist()
            for level in LEVELS
        }


def by_time(points: Tensor) -> Tensor:
    """Sums (time,) of points (batch, time, channel, *space)."""
    return points.movedim(1, 0).flatten(1).sum(dim=1)


def covered(ranks: Ranks, members: int, level: float) -> Tensor:
    """Weight, 0 to 1, with which each truth lies inside the central interval of the samples.

    A rank at the edge of the interval counts in proportion to the part that lies inside.
    """
    outside = (1 - level) / 2 * (members + 1)  # ranks excluded on either side
    weights = torch.tensor(
        [max(0.0, min(r + 1, members + 1 - outside) - max(r, outside)) for r in range(members + 1)],
        dtype=torch.float64,
        device=ranks.below.device,
    )
    sums = torch.cat([weights.new_zeros(1), weights.cumsum(dim=0)])
    low, high = ranks.below.long(), (ranks.below + ranks.equal).long()
    return (sums[high + 1] - sums[low]) / (high - low + 1)
