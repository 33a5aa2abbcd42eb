"""Proper scores of an ensemble, which judge the whole forecast distribution."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics.base import (
    DEFAULTS,
    Metric,
    MetricSettings,
    Score,
    Sums,
    check_matching,
    rows_of,
    score_of,
)
from statecast.metrics.masking import average, filled, frames_known, known_in
from statecast.metrics.pointwise import extent_of


class Ensemble(NamedTuple):
    """Samples and truth of a batch, with zeros where the truth is unknown."""

    samples: Tensor  # (sample, batch, time, channel, *space)
    truth: Tensor  # (batch, time, channel, *space)
    known: Tensor | None  # where the truth is known; None if it is known everywhere


class EnsembleMetric(Metric):
    """A metric of all samples together, with a single score called `ensemble`."""

    needs_samples = 2
    copied_bytes: ClassVar[int] = 2**26  # of samples copied at once

    def parts(self, forecast: Forecast, target: Frames) -> Iterator[Ensemble]:
        """Samples and truth in parts of a few frames each, to bound the memory of copies.

        Errors:
            InputError: forecast and target do not match, or there are too few samples.
        """
        check_matching(forecast, target)
        if len(forecast.samples) < self.needs_samples:
            raise InputError(
                f"{type(self).__name__} needs at least {self.needs_samples} samples, got "
                f"{len(forecast.samples)}. Raise `samples`."
            )
        known = known_in(target)
        samples = forecast.samples
        length = max(1, self.copied_bytes // (samples[:, :, :1].numel() * samples.element_size()))
        for start in range(0, samples.shape[2], length):
            part = slice(start, start + length)
            where = None if known is None else known[:, part]
            yield Ensemble(
                filled(samples[:, :, part], where), filled(target.values[:, part], where), where
            )


class FrameEnsembleMetric(EnsembleMetric):
    """A metric with one value per frame, averaged over frames."""

    selections = ("ensemble",)

    @abstractmethod
    def frame_scores(self, ensemble: Ensemble) -> Tensor:
        """Scores (batch, time); any value for a frame without a known point."""

    def sums(self, forecast: Forecast, target: Frames, *, context: Frames | None = None) -> Sums:
        frames = torch.cat([self.frame_scores(e) for e in self.parts(forecast, target)], dim=1)
        known = frames_known(known_in(target))
        return rows_of({"ensemble": frames}, known)

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        return {"ensemble": score_of("ensemble", sums)}


class CRPS(FrameEnsembleMetric):
    """Fair continuous ranked probability score, averaged over channels and space."""

    version, higher_is_better, unit = "1", False, "data"
    perfect, fair = 0.0, ("ensemble",)

    def frame_scores(self, ensemble: Ensemble) -> Tensor:
        return average(crps(ensemble.samples, ensemble.truth), ensemble.known, 2, self.weights)


class FairMSE(FrameEnsembleMetric):
    r"""Squared error of the mean of the distribution that the M samples are drawn from.

    $$(\bar x - y)^2 - \frac{s^2}{M}$$

    with the unbiased variance s² of the samples. The second term estimates the sampling variance
    of their mean, so on average the score does not depend on M.

    Reference: Ferro (2014), https://doi.org/10.1002/qj.2270, on fair scores of ensembles.
    """

    version, higher_is_better, unit = "1", False, "data²"
    perfect, fair = 0.0, ("ensemble",)

    def frame_scores(self, ensemble: Ensemble) -> Tensor:
        error = (ensemble.samples.mean(dim=0) - ensemble.truth).square()
        scatter = ensemble.samples.var(dim=0) / len(ensemble.samples)
        return average(error - scatter, ensemble.known, 2, self.weights)


def crps(
    samples: Float[Tensor, "sample *shape"], target: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    r"""Fair continuous ranked probability score of an ensemble, at each point.

    $$\frac{1}{M}\sum_i |x_i - y| - \frac{1}{2M(M-1)}\sum_{i,j} |x_i - x_j|$$

    The double sum is computed from sorted samples, so memory grows as M, not as M².

    Errors:
        InputError: there are fewer than 2 samples.

    Reference: Zamo and Naveau (2018), https://doi.org/10.1007/s11004-017-9709-7.
    """
    members = len(samples)
    if members < 2:
        raise InputError(f"CRPS needs at least 2 samples, got {members}. Raise `samples`.")
    error = torch.zeros_like(target)
    for sample in samples:  # one at a time, so that no tensor of the ensemble's size is made
        error += (sample - target).abs()
    # The i-th smallest, from 0, is the larger of i pairs and the smaller of M − 1 − i pairs.
    weights = 2 * torch.arange(members, device=samples.device, dtype=samples.dtype) - members + 1
    spread = torch.einsum("m,m...->...", weights, ordered(samples))
    return error / members - spread / (members * (members - 1))


def ordered(samples: Float[Tensor, "sample *shape"]) -> Float[Tensor, "sample *shape"]:
    """Samples in increasing order at each point, NaN last."""
    if samples.device.type == "cpu" and samples.dtype == torch.float32:
        # NumPy sorts many short columns six times as fast.
        return torch.from_numpy(np.sort(samples.detach().numpy(), axis=0))
    return samples.sort(dim=0).values


class Energy(FrameEnsembleMetric):
    r"""Fair energy score of whole frames, divided by the root of their number d of values.

    $$\frac{1}{\sqrt d}\left(\frac{1}{M}\sum_i \|x_i - y\| -
    \frac{1}{2M(M-1)}\sum_{i,j} \|x_i - x_j\|\right)$$

    Unlike the CRPS of single points, it also judges the dependence between points.

    Reference: Gneiting and Raftery (2007), https://doi.org/10.1198/016214506000001437.
    """

    version, higher_is_better, unit = "1", False, "data"
    perfect, fair = 0.0, ("ensemble",)

    def frame_scores(self, ensemble: Ensemble) -> Tensor:
        # Unknown values are zero in samples and truth, so they add nothing to distances.
        samples, truth = ensemble.samples.flatten(3), ensemble.truth.flatten(2)
        shares = torch.ones_like(ensemble.truth[:1, :1])
        if self.weights is not None:
            shares = shares * self.weights.to(truth)
        root = shares.flatten(2).sqrt()
        samples, truth = samples * root, truth * root
        members = len(samples)
        error = sum((sample - truth).norm(dim=-1) for sample in samples) / members
        # (batch, time, sample, sample): distances of all pairs of samples of a frame.
        folded = samples.permute(1, 2, 0, 3)
        exact = "donot_use_mm_for_euclid_dist"  # differences, not products that cancel
        pairs = torch.cdist(folded, folded, compute_mode=exact).sum(dim=(2, 3))
        scores = error - pairs / (2 * members * (members - 1))
        size = shares if ensemble.known is None else shares * ensemble.known
        return scores / size.flatten(2).sum(dim=2).sqrt()


class Brier(EnsembleMetric):
    """Brier score of the event that a value exceeds a threshold, averaged over thresholds.

    `details` holds the score of each threshold, and the reliability over all thresholds: how often
    each probability 0, 1/M, … 1 was forecast, and how often the event then happened.

    Reference: Brier (1950),
    https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2.

    Args:
        thresholds: values that the event exceeds; `of` takes the middle of the data's range by
            default.
    """

    version, higher_is_better, unit = "1", False, "1"
    needs_samples, perfect = 1, 0.0
    selections = ("ensemble",)

    def __init__(self, *thresholds: float) -> None:
        if not thresholds or not all(math.isfinite(threshold) for threshold in thresholds):
            raise InputError(
                f"The Brier score needs finite thresholds, got {thresholds}. Set `thresholds`."
            )
        self.thresholds = thresholds

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        if settings.thresholds:
            return cls(*settings.thresholds)
        extent_of(spec)
        low, high = spec.value_range or (0.0, 1.0)
        return cls(0.5 * (low + high))

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        reason = super().why_not_applicable(spec, samples, settings)
        if reason is None and not settings.thresholds and spec.value_range is None:
            return "the range of the data is not known; set `thresholds`"
        return reason

    def event_scores(self, ensemble: Ensemble, threshold: float) -> Tensor:
        """Scores (batch, time) of the event that values exceed a threshold."""
        members = len(ensemble.samples)
        probability = sum(above(sample, threshold) for sample in ensemble.samples) / members
        error = (probability - above(ensemble.truth, threshold)).square()
        return average(error, ensemble.known, 2, self.weights)

    def sums(self, forecast: Forecast, target: Frames, *, context: Frames | None = None) -> Sums:
        check_matching(forecast, target)
        known = frames_known(known_in(target))
        # (event, batch, time)
        events = torch.cat(
            [
                torch.stack([self.event_scores(ensemble, value) for value in self.thresholds])
                for ensemble in self.parts(forecast, target)
            ],
            dim=2,
        )
        single = {f"event.{i}": event for i, event in enumerate(events)} if len(events) > 1 else {}
        tables = [
            reliability_table(ensemble, value)
            for ensemble in self.parts(forecast, target)
            for value in self.thresholds
        ]
        return {
            **rows_of({"ensemble": events.mean(dim=0), **single}, known),
            "reliability": torch.stack(tables).sum(dim=0),
        }

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        return {"ensemble": score_of("ensemble", sums)}

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        issued, happened = sums["reliability"]
        reliability = {
            "issued": (issued / issued.sum()).tolist(),
            "observed": (happened / issued).tolist(),
        }
        if len(self.thresholds) == 1:
            return reliability
        found = [score_of(f"event.{i}", sums) for i in range(len(self.thresholds))]
        return reliability | {
            "thresholds": list(self.thresholds),
            "values": [score.value for score in found],
            "per_lead_time": [score.per_lead_time.tolist() for score in found],
        }

    def protocol(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        return {"thresholds": list(self.thresholds)}


def reliability_table(ensemble: Ensemble, threshold: float) -> Float[Tensor, "2 probability"]:
    """Number of points at which 0 … M samples exceed a threshold, and of those the truth exceeds.

    Points with NaN are ignored here; the score shows them.
    """
    members = len(ensemble.samples)
    count = torch.zeros_like(ensemble.truth)
    for sample in ensemble.samples:
        count += above(sample, threshold)
    truth = above(ensemble.truth, threshold)
    counted = ~(count.isnan() | truth.isnan())
    if ensemble.known is not None:
        counted &= ensemble.known
    shares, happened = count[counted].long(), truth[counted].double()
    length = members + 1
    issued = torch.bincount(shares, minlength=length).double()
    return torch.stack([issued, torch.bincount(shares, happened, minlength=length)])


def above(values: Tensor, threshold: float) -> Tensor:
    """1 where values exceed a threshold, else 0; NaN stays NaN."""
    return torch.where(values.isnan(), values, (values > threshold).to(values.dtype))
