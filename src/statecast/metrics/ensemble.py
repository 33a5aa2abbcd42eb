"""Scores of a whole ensemble: is the distribution right, and not only its best member?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics.base import Metric, Score, Sums, check_matching, count_of, moments, score_of
from statecast.metrics.pointwise import extent_of, unbounded

LEVELS = (0.5, 0.9)  # of central intervals


class EnsembleMetric(Metric):
    """A metric of all samples together; its one score is called `ensemble`."""

    needs_samples = 2

    def check(self, forecast: Forecast, target: Frames) -> None:
        """Raise `InputError` unless there are enough samples of the target's frames."""
        check_matching(forecast, target)
        if len(forecast.samples) < self.needs_samples:
            raise InputError(
                f"{type(self).__name__} needs at least {self.needs_samples} samples, got "
                f"{len(forecast.samples)}. Raise `samples`."
            )


class CRPS(EnsembleMetric):
    """Fair continuous ranked probability score, averaged over channels and space."""

    version, higher_is_better, unit = "1", False, "data"

    def sums(self, forecast: Forecast, target: Frames) -> Sums:
        self.check(forecast, target)
        points = crps(forecast.samples, target.values)
        frames = points.flatten(2).mean(dim=2)
        return {"count": count_of(frames), **moments("ensemble", frames)}

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        return {"ensemble": score_of("ensemble", sums)}


def crps(
    samples: Float[Tensor, "sample *shape"], target: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    r"""Fair continuous ranked probability score of an ensemble, at each point.

    $$\frac{1}{M}\sum_i |x_i - y| - \frac{1}{2M(M-1)}\sum_{i,j} |x_i - x_j|$$

    The double sum is computed from sorted samples, so memory grows as M and not as M².

    Reference: Zamo and Naveau (2018), https://doi.org/10.1007/s11004-017-9709-7.
    """
    members = len(samples)
    if members < 2:
        raise InputError(f"CRPS needs at least 2 samples, got {members}. Raise `samples`.")
    error = torch.zeros_like(target)
    for sample in samples:  # one at a time: no difference of the ensemble's size is stored
        error += (sample - target).abs()
    # The i-th smallest is the larger of i pairs and the smaller of M − 1 − i.
    weights = 2 * torch.arange(members, device=samples.device, dtype=samples.dtype) - members + 1
    spread = torch.einsum("m,m...->...", weights, samples.sort(dim=0).values)
    return error / members - spread / (members * (members - 1))


class Energy(EnsembleMetric):
    r"""Fair energy score of whole frames, divided by the root of their number of values.

    $$\frac{1}{\sqrt d}\left(\frac{1}{M}\sum_i \|x_i - y\| -
    \frac{1}{2M(M-1)}\sum_{i,j} \|x_i - x_j\|\right)$$

    Unlike the CRPS of each point, it notices when points do not move together as they should.

    Reference: Gneiting and Raftery (2007), https://doi.org/10.1198/016214506000001437.
    """

    version, higher_is_better, unit = "1", False, "data"

    def sums(self, forecast: Forecast, target: Frames) -> Sums:
        self.check(forecast, target)
        samples, truth = forecast.samples.flatten(3), target.values.flatten(2)
        members, dimension = len(samples), truth.shape[-1]
        error = sum((sample - truth).norm(dim=-1) for sample in samples) / members
        # (batch, time, sample, sample): distances of all pairs of samples of a frame.
        folded = samples.permute(1, 2, 0, 3)
        exact = "donot_use_mm_for_euclid_dist"  # differences, not products that cancel
        pairs = torch.cdist(folded, folded, compute_mode=exact).sum(dim=(2, 3))
        frames = (error - pairs / (2 * members * (members - 1))) / dimension**0.5
        return {"count": count_of(frames), **moments("ensemble", frames)}

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        return {"ensemble": score_of("ensemble", sums)}


class SpreadSkill(EnsembleMetric):
    r"""Ratio of an ensemble's spread to the error of its mean; 1 where it knows what it knows not.

    $$\sqrt{\frac{M+1}{M} \frac{\overline{s^2}}{\overline{(\bar x - y)^2}}}$$

    with $s^2$ the unbiased variance over samples, and means over sequences, channels and space.
    Below 1 a forecast is too sure of itself. Better is nearer to 1, not higher.

    Reference: Fortin et al. (2014), https://doi.org/10.1175/JHM-D-14-0008.1.
    """

    version, higher_is_better, unit = "1", True, "1"

    def sums(self, forecast: Forecast, target: Frames) -> Sums:
        self.check(forecast, target)
        samples = forecast.samples.double()
        members = len(samples)
        spread = samples.var(dim=0).flatten(2).mean(dim=2) * (members + 1) / members
        error = (samples.mean(dim=0) - target.values).square().flatten(2).mean(dim=2)
        return {"spread": spread.sum(dim=0), "error": error.sum(dim=0)}

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        ratio = (sums["spread"] / sums["error"]).sqrt()
        whole = (sums["spread"].sum() / sums["error"].sum()).sqrt()
        return {"ensemble": Score(ratio, float(whole), float("nan"))}


class RankHistogram(EnsembleMetric):
    r"""How far the ranks of the truth among the samples are from being all as frequent.

    The score is the total variation $\frac12\sum_r |p_r - \frac{1}{M+1}|$: 0 for a calibrated
    ensemble, up to 1. A truth equal to some samples counts in equal parts for all its ranks.
    `details` holds the histogram at each lead time.

    Reference: Hamill (2001),
    https://doi.org/10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2.
    """

    version, higher_is_better, unit = "1", False, "1"

    def sums(self, forecast: Forecast, target: Frames) -> Sums:
        self.check(forecast, target)
        samples, truth = forecast.samples, target.values
        ranks = len(samples) + 1
        below, equal = torch.zeros_like(truth), torch.zeros_like(truth)
        broken = truth.isnan()
        for sample in samples:
            below += sample < truth
            equal += sample == truth
            broken |= sample.isnan()
        histogram = torch.zeros(truth.shape[1], ranks, dtype=torch.float64)
        for time in range(truth.shape[1]):
            low = below[:, time].flatten().long()
            share = 1 / (equal[:, time].flatten().double() + 1)
            # A share for each rank from `low` to `low + equal`: by differences, then summed up.
            steps = torch.zeros(ranks + 1, dtype=torch.float64)
            steps.index_add_(0, low, share)
            steps.index_add_(0, low + equal[:, time].flatten().long() + 1, -share)
            histogram[time] = steps.cumsum(dim=0)[:-1]
            if bool(broken[:, time].any()):
                histogram[time] = torch.nan
        return {"histogram": histogram}

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        histogram = sums["histogram"]
        per_lead_time = _distance(histogram)
        whole = _distance(histogram.sum(dim=0, keepdim=True))
        return {"ensemble": Score(per_lead_time, float(whole), float("nan"))}

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        histogram = sums["histogram"]
        return {"histogram": (histogram / histogram.sum(dim=1, keepdim=True)).tolist()}


def _distance(histogram: Tensor) -> Tensor:
    frequency = histogram / histogram.sum(dim=1, keepdim=True)
    return 0.5 * (frequency - 1 / histogram.shape[1]).abs().sum(dim=1)


class Coverage(EnsembleMetric):
    """How often the truth lies in the central interval of the samples, against how often it should.

    The score is the mean absolute difference over the 50 % and 90 % intervals; `details` holds
    the share of truths inside each. An interval of M samples at level p leaves out
    (1 − p)(M + 1)/2 ranks on either side, interpolated, so that a calibrated ensemble of any size
    covers p.
    """

    version, higher_is_better, unit = "1", False, "1"

    def sums(self, forecast: Forecast, target: Frames) -> Sums:
        self.check(forecast, target)
        ordered, truth = forecast.samples.sort(dim=0).values, target.values
        sums: Sums = {"count": torch.tensor(float(truth[:, 0].numel()), dtype=torch.float64)}
        broken = (ordered.isnan().any(dim=0) | truth.isnan()).flatten(2).any(dim=2).any(dim=0)
        for level in LEVELS:
            inside = covered(ordered, truth, level).double()
            total = inside.movedim(1, 0).flatten(1).sum(dim=1)
            total[broken] = torch.nan
            sums[f"inside.{level}"] = total
        return sums

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        shares = [(sums[f"inside.{level}"] / sums["count"], level) for level in LEVELS]
        per_lead_time = torch.stack([(share - level).abs() for share, level in shares]).mean(dim=0)
        whole = sum(abs(float(share.mean()) - level) for share, level in shares) / len(LEVELS)
        return {"ensemble": Score(per_lead_time, whole, float("nan"))}

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        return {
            f"inside_{level}": (sums[f"inside.{level}"] / sums["count"]).tolist()
            for level in LEVELS
        }


def covered(ordered: Tensor, truth: Tensor, level: float) -> Tensor:
    """Weight with which each truth lies inside the central interval of sorted samples.

    Ranks at the rim of the interval count in part, as far as the interval reaches into them.
    """
    ranks = len(ordered) + 1
    outside = (1 - level) / 2 * ranks  # ranks left out on either side
    below = (ordered < truth).sum(dim=0)
    equal = (ordered == truth).sum(dim=0)
    weights = torch.tensor(
        [max(0.0, min(r + 1, ranks - outside) - max(r, outside)) for r in range(ranks)],
        dtype=torch.float64,
        device=truth.device,
    )
    sums = torch.cat([weights.new_zeros(1), weights.cumsum(dim=0)])
    return (sums[below + equal + 1] - sums[below]) / (equal + 1)


class Brier(EnsembleMetric):
    """Brier score of the event that a value lies above the middle of the data's range.

    Reference: Brier (1950),
    https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    Args:
        threshold: value above which the event happens.
    """

    version, higher_is_better, unit = "1", False, "1"
    needs_samples = 1

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = threshold

    @classmethod
    def of(cls, spec: FrameSpec) -> Self:
        extent_of(spec)
        low, high = spec.value_range or (0.0, 1.0)
        return cls(0.5 * (low + high))

    @classmethod
    def applies_to(cls, spec: FrameSpec, samples: int) -> str | None:
        return super().applies_to(spec, samples) or unbounded(spec)

    def sums(self, forecast: Forecast, target: Frames) -> Sums:
        self.check(forecast, target)
        probability = sum(self._event(sample) for sample in forecast.samples) / len(
            forecast.samples
        )
        frames = (probability - self._event(target.values)).square().flatten(2).mean(dim=2)
        return {"count": count_of(frames), **moments("ensemble", frames)}

    def _event(self, values: Tensor) -> Tensor:
        return torch.where(values.isnan(), values, (values > self.threshold).to(values.dtype))

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        return {"ensemble": score_of("ensemble", sums)}
