"""Bootstrap over sequences: intervals of scores and of paired differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statecast.data.base import seeded_generator

DRAWS = 2000  # resamplings, by default
FEWEST_SEQUENCES = 8  # for an interval
CHUNK = 2**22  # weights in memory at once
TAIL = 0.025  # excluded on either side of a 95 % interval


class Interval(NamedTuple):
    """A value with its 95 % interval; the bounds are NaN if there are too few sequences."""

    value: Float[Tensor, " column"]
    low: Float[Tensor, " column"]
    high: Float[Tensor, " column"]
    p_value: Float[Tensor, " column"]  # two-sided, of the hypothesis that the value is zero


def bootstrap(
    statistic: Callable[[Float[Tensor, "*draw column"]], Float[Tensor, "*draw result"]],
    scores: Float[Tensor, "window column"],
    known: Bool[Tensor, "window column"],
    sequences: Int[Tensor, " window"],
    *,
    draws: int = DRAWS,
    seed: int = 1,
) -> Interval:
    r"""A statistic of means over windows, with its percentile interval.

    Each resampling draws sequences with replacement, together with all their windows. All columns
    use the same draws, so comparisons are paired. Deviations from the value are scaled by
    $\sqrt{G/(G-1)}$, because resampling G sequences underestimates the variance by the factor
    $(G-1)/G$.

    Args:
        statistic: function of the mean of each column.
        scores: scores of the windows.
        known: which scores count.
        sequences: number of the sequence that each window was cut from.
        draws: number of resamplings.
        seed: seed of the resamplings.

    Reference: Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapters 8 and 13.
    """
    _, places = sequences.unique(return_inverse=True)
    groups = int(places.max()) + 1
    filled = torch.where(known, scores.double(), 0.0)
    totals = filled.new_zeros(groups, filled.shape[1]).index_add_(0, places, filled)
    counts = torch.zeros_like(totals).index_add_(0, places, known.double())
    value = statistic(totals.sum(dim=0) / counts.sum(dim=0))
    if groups < FEWEST_SEQUENCES:
        nothing = torch.full_like(value, torch.nan)
        return Interval(value, nothing, nothing, nothing)
    found = torch.cat(
        [statistic((w @ totals) / (w @ counts)) for w in resampled(groups, draws, seed)]
    )
    found = value + (found - value) * (groups / (groups - 1)) ** 0.5
    low, high = found.quantile(torch.tensor([TAIL, 1 - TAIL], dtype=found.dtype), dim=0)
    # One extra draw is counted, so that no p-value is 0.
    tails = torch.stack([(found <= 0).sum(dim=0), (found >= 0).sum(dim=0)]).amin(dim=0)
    p_value = (2 * (tails + 1) / (draws + 1)).clamp_max(1)
    return Interval(value, low, high, torch.where(low.isnan(), torch.nan, p_value))


def resampled(groups: int, draws: int, seed: int) -> Iterator[Float[Tensor, "draw group"]]:
    """How often each resampling draws each group, in blocks of resamplings."""
    generator = seeded_generator(seed, groups)
    for chunk in torch.arange(draws).split(max(1, CHUNK // groups)):
        chosen = torch.randint(groups, (len(chunk), groups), generator=generator)
        weights = torch.zeros(chosen.shape, dtype=torch.float64)
        yield weights.scatter_add_(1, chosen, torch.ones_like(weights))


def holm(p_values: list[float]) -> list[float]:
    """p-values corrected for multiple comparisons by Holm's procedure, in the same order.

    Rejecting every hypothesis below 0.05 keeps the probability of any false rejection below 0.05.
    NaN stays NaN and is not counted.

    Reference: Holm (1979), https://www.jstor.org/stable/4615733.
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if not math.isnan(p))
    corrected, largest = [math.nan] * len(p_values), 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[place] = largest
    return corrected
