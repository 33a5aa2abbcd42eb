"""Scores of single samples: their mean, their best and worst, and the best-of-N curve."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from statecast.frames import Forecast, Frames
from statecast.metrics.base import (
    Metric,
    Score,
    Sums,
    average_of,
    check_matching,
    count_in,
    half_width_of,
    rows_of,
    score_of,
)
from statecast.metrics.masking import filled, frames_known, known_in, require_whole


class SampleMetric(Metric):
    """A metric that scores every frame of every sample separately.

    Scores, by how samples are combined:

    - `mean`: average over samples;
    - `best`, `worst`: for each sequence, the sample with the best or worst average over frames
      (best of N, Franceschi et al. 2020, https://arxiv.org/abs/2002.09219, section 4);
    - `ensemble_mean`: the score of the mean over samples, as one forecast.

    `details` holds the best-of-N curve: the expected score of the best of 1, 2, … samples, with
    the half widths of its 95 % intervals over sequences.
    """

    fair = ("mean",)
    selections = reductions = ("mean", "best", "worst", "ensemble_mean")

    @abstractmethod
    def frame_scores(
        self, frames: Tensor, target: Tensor, prepared: Any, known: Tensor | None = None
    ) -> Tensor:
        """Scores (n, time) of frames (n, time, channel, *space) against a target of that shape.

        Args:
            frames: frames of one sample; zero where the target is unknown.
            target: the observations; zero where unknown.
            prepared: the result of `prepare`.
            known: where the target is known, in its shape; None if it is known everywhere.
                Scores of frames that are not `scorable` are ignored.
        """

    def prepare(self, target: Tensor, known: Tensor | None = None) -> Any:
        """The part that depends on the target alone, computed once for all samples."""
        return None

    def scorable(self, known: Tensor | None) -> Tensor | None:
        """Which frames (n, time) have enough known points to be scored; None for all of them."""
        return frames_known(known)

    def counted(self, scores: Tensor) -> Tensor:
        """Scores of frames as they enter a mean; unchanged by default."""
        return scores

    def all_scores(self, samples: Sequence[Tensor], target: Tensor, known: Tensor | None) -> Tensor:
        """Scores (sample, n, time) of several samples."""
        prepared = self.prepare(target, known)
        return torch.stack(
            [self.frame_scores(filled(s, known), target, prepared, known) for s in samples]
        )

    def sums(self, forecast: Forecast, target: Frames, *, context: Frames | None = None) -> Sums:
        check_matching(forecast, target)
        require_whole(self.why_not_scorable(target))
        known = known_in(target)
        scores = self.all_scores(with_mean(forecast), filled(target.values, known), known)
        return self.combined(scores, self.scorable(known))

    def combined(self, scores: Tensor, known: Tensor | None) -> Sums:
        """Sums of scores (sample, batch, time); the last sample is the ensemble mean.

        Args:
            scores: scores of the samples and of their mean, or of a single sample.
            known: which frames (batch, time) count; None for all.
        """
        scores = self.counted(scores).double()
        single = len(scores) == 1
        members, middle = (scores, scores[0]) if single else (scores[:-1], scores[-1])
        averages = average_of(members, known)
        # Sorting would hide a NaN sample behind better ones, so a sequence that has one gets NaN.
        broken = averages.isnan().any(dim=0)
        order = averages.argsort(dim=0, descending=self.higher_is_better)
        sequences = torch.arange(members.shape[1], device=members.device)
        best, worst = members[order[0], sequences], members[order[-1], sequences]
        best[broken], worst[broken] = torch.nan, torch.nan
        # Sequences that do not count average to zero and add nothing to the curve.
        curve = best_of(averages.gather(0, order))
        return {
            **rows_of(
                {
                    "mean": members.mean(dim=0),
                    "best": best,
                    "worst": worst,
                    "ensemble_mean": middle,
                },
                known,
            ),
            "curve": curve.sum(dim=1),
            "curve_squares": curve.square().sum(dim=1),
        }

    def scores(self, sums: Mapping[str, Tensor]) -> dict[str, Score]:
        return {name: score_of(name, sums) for name in self.selections}

    def details(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        if len(sums["curve"]) == 1:
            return {}
        count = count_in(sums)
        half_widths = half_width_of(sums["curve"], sums["curve_squares"], count)
        return {
            "best_of_n": (sums["curve"] / count).tolist(),
            "best_of_n_half_widths": half_widths.tolist(),
        }


def with_mean(forecast: Forecast) -> list[Tensor]:
    """The samples of a forecast and their mean, each (batch, time, channel, *space).

    A single sample is its own mean and is not repeated.
    """
    samples = list(forecast.samples)
    return samples if len(samples) == 1 else [*samples, forecast.samples.mean(dim=0)]


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
        share = n / count  # probability of rank 0; ratios give the next ones
        for rank in range(count - n + 1):
            chance[n - 1, rank] = share
            share *= (count - n - rank) / (count - 1 - rank) if rank < count - 1 else 0.0
    return chance.to(ranked.device) @ ranked.double()
