"""Significance of differences between scores, paired by window and corrected by Holm."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from functools import reduce
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from statecast.evaluation.bootstrap import TAIL, Interval, bootstrap, holm
from statecast.evaluation.comparability import Scored, group_label
from statecast.evaluation.text_tables import rounded
from statecast.evaluation.window_scores import WindowScores, score_key
from statecast.metrics import METRICS
from statecast.metrics.base import NORMAL_95

LEVEL = 0.05  # largest probability of any false rejection in a table
DRAWS, DRAWS_EACH = 10_000, 200  # resamplings: at least, and per difference of a table
SMALLEST_P = 1e-4  # smaller p-values are told as such
ANGLES = 20_001  # points of the integral of Student's t

Array = np.ndarray[Any, np.dtype[Any]]
Way = tuple[str, str | None]  # metric, and how samples are combined


class Side(NamedTuple):
    """A forecaster and the scores of its windows: one training, several, or a baseline."""

    label: str
    forecaster: str
    windows: Sequence[WindowScores]  # of each training
    trained: bool = True

    @property
    def seeds(self) -> int:
        """Number of trainings; 0 for a baseline."""
        return len(self.windows) if self.trained else 0

    def keyed(self, metric: str, way: str) -> list[tuple[str, WindowScores]]:
        """The key of a score, with the windows of each training."""
        key = score_key(self.forecaster, metric, way)
        return [(key, windows) for windows in self.windows]

    def has(self, metric: str, way: str) -> bool:
        """Whether all its windows have a score."""
        return all(key in windows.values for key, windows in self.keyed(metric, way))


class Difference(NamedTuple):
    """Score of one forecaster minus that of another, over the windows that both were scored on.

    The score of a model that was trained with several seeds is the mean over its trainings.
    """

    metric: str
    selection: str
    one: str
    other: str
    value: float
    low: float
    high: float
    p_value: float  # corrected for all differences of the table; NaN with too few sequences
    windows: int
    seeds: tuple[int, int] = (1, 1)  # trainings of each, 0 for a baseline

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at 95 %."""
        return self.p_value < LEVEL

    @property
    def score(self) -> str:
        """The metric, its direction, and how samples are combined."""
        way = "" if self.selection == "ensemble" else f" {self.selection}"
        return f"{self.metric} {METRICS[self.metric].arrow()}{way}"

    @property
    def interval(self) -> str:
        """The value and its 95 % interval, if there is one."""
        value, low, high = rounded([self.value, self.low, self.high], (self.high - self.low) / 2)
        return value if math.isnan(self.p_value) else f"{value} [{low}, {high}]"

    @property
    def verdict(self) -> str:
        """Which forecaster is better, if the difference is significant."""
        if math.isnan(self.p_value):
            few = "seeds" if 1 in self.seeds and max(self.seeds) > 1 else "sequences"
            return f"too few {few} for an interval"
        metric = METRICS[self.metric]
        better = self.one if (self.value > 0) == metric.higher_is_better else self.other
        found = "differ" if metric.ideal is not None else f"{better} is better"
        small = self.p_value < SMALLEST_P
        told = f"p < {SMALLEST_P}" if small else f"p = {self.p_value:.2g}"
        return f"{told}: {found if self.significant else 'not significant'}"

    def __str__(self) -> str:
        end = "; " if math.isnan(self.p_value) else ", "
        return f"{self.score}: {self.one} minus {self.other} = {self.interval}{end}{self.verdict}"


def significant_differences(
    groups: Sequence[Sequence[Scored]], ways: Sequence[Way], shared: Collection[str] = ()
) -> list[Difference]:
    """Differences of every model from every other model and from its own baselines.

    p-values come from a paired bootstrap over sequences, with the spread over seeds added where a
    model was trained several times, see `over_seeds`. Holm's procedure corrects them for all
    differences of the list together.

    Args:
        groups: comparable runs, in each group those that differ only in the seed of their training;
            runs without scores of single windows are skipped.
        ways: metrics, and how samples are combined.
        shared: baselines with the same scores in all runs.
    """
    pairs = list(pairs_of(groups, shared))
    most = len(pairs) * len(ways)
    found = [d for pair in pairs for d in compared(*pair, ways, max(DRAWS, DRAWS_EACH * most))]
    corrected = holm([difference.p_value for difference in found])
    return [d._replace(p_value=p) for d, p in zip(found, corrected, strict=True)]


def pairs_of(
    groups: Sequence[Sequence[Scored]], shared: Collection[str]
) -> Iterator[tuple[Side, Side]]:
    """Pairs of models, then pairs of a model and one of its baselines."""
    own: list[tuple[Side, Scored]] = []
    for group in groups:
        windows = [run.scores.windows for run in group if run.scores.windows is not None]
        if windows:
            own.append((Side(group_label(group), group[0].model, windows), group[0]))
    yield from combinations([side for side, _ in own], 2)
    for side, first in own:
        for name in list(first.scores.forecasters)[1:]:
            label = name if name in shared else f"{name} ({first.label})"
            yield side, Side(label, name, side.windows[:1], trained=False)


def compared(one: Side, other: Side, ways: Sequence[Way], draws: int) -> Iterator[Difference]:
    """Uncorrected differences of two models by all metrics that both have.

    Selections of samples with the same scores, as of single forecasts, give one difference.
    """
    every = [*one.windows, *other.windows]
    numbers = reduce(common, [windows.numbers for windows in every])
    places = [places_in(windows.numbers, numbers) for windows in every]
    found: dict[tuple[str, bytes], tuple[str, Tensor]] = {}
    for metric, way in ways:
        if (
            metric in METRICS
            and way is not None
            and one.has(metric, way)
            and other.has(metric, way)
        ):
            values = [w.values[k] for s in (one, other) for k, w in s.keyed(metric, way)]
            columns = torch.stack([v[p] for v, p in zip(values, places, strict=True)], dim=1)
            found.setdefault((metric, columns.numpy().tobytes()), (way, columns))
    if not found or not len(numbers):
        return
    metrics, count = [metric for metric, _ in found], len(one.windows)
    scores = torch.cat([columns for _, columns in found.values()], dim=1).double()
    known, sequences = ~scores.isnan(), every[0].sequences[places[0]]

    def minus(mean: Tensor) -> Tensor:
        each = each_training(mean, metrics)
        return each[..., :count].mean(dim=-1) - each[..., count:].mean(dim=-1)

    interval = bootstrap(minus, scores, known, sequences, draws=draws)
    if max(one.seeds, other.seeds) > 1:
        means = torch.where(known, scores, 0.0).sum(dim=0) / known.sum(dim=0)
        each = each_training(means, metrics)
        trained = [each[:, :count], each[:, count:]][: 2 if other.trained else 1]
        interval = over_seeds(interval, trained, len(sequences.unique()))
    for i, (metric, (way, _)) in enumerate(zip(metrics, found.values(), strict=True)):
        value, low, high, p_value = (float(bound[i]) for bound in interval)
        yield Difference(
            metric, way, one.label, other.label, value, low, high, p_value, len(numbers),
            (one.seeds, other.seeds),
        )  # fmt: skip


def each_training(mean: Float[Tensor, "*draw column"], metrics: Sequence[str]) -> Tensor:
    """Scores (*draw, metric, training) from the means of all columns, metric by metric."""
    columns = mean.unflatten(-1, (len(metrics), -1)).unbind(-2)
    scores = [METRICS[m].of_mean(c) for m, c in zip(metrics, columns, strict=True)]
    return torch.stack(scores, dim=-2)


def over_seeds(
    found: Interval, trained: Sequence[Float[Tensor, "metric training"]], sequences: int
) -> Interval:
    r"""The interval and p-value of a difference, with the spread over seeds added.

    The variance over windows, from the bootstrap, and those of the means over seeds, $s^2 / n$ of
    $n$ trainings, add up; Student's t has the degrees of freedom of Welch and Satterthwaite. NaN
    if a model was trained once.

    Args:
        found: the difference and its interval over windows.
        trained: scores of each training of both models, or of one that is compared with a baseline.
        sequences: number of sequences of the bootstrap.

    Reference: Welch (1947), https://doi.org/10.2307/2332510.
    """
    nothing = torch.full_like(found.value, torch.nan)
    if any(each.shape[1] < 2 for each in trained):
        return Interval(found.value, nothing, nothing, nothing)
    spread = [each.var(dim=1) / each.shape[1] for each in trained]
    parts = torch.stack([((found.high - found.low) / (2 * NORMAL_95)) ** 2, *spread])
    free = torch.tensor([sequences, *(each.shape[1] for each in trained)]) - 1
    variance = parts.sum(dim=0)
    degrees = variance**2 / (parts**2 / free.unsqueeze(1)).sum(dim=0)
    half_width, p_value = nothing.clone(), nothing.clone()
    for i, freedom in enumerate(degrees.tolist()):
        if math.isnan(freedom):  # no interval over windows, or no difference at all
            continue
        sizes, tails = students_t(freedom)
        error = float(variance[i].sqrt())
        half_width[i] = error * np.interp(-2 * TAIL, -tails, sizes)
        p_value[i] = np.interp(abs(float(found.value[i])) / error, sizes, tails)
    return Interval(found.value, found.value - half_width, found.value + half_width, p_value)


def students_t(freedom: float) -> tuple[Array, Array]:
    """Increasing sizes, and the probability that Student's t exceeds each of them in size."""
    angles = np.linspace(0, np.pi / 2, ANGLES)  # t = √ν tan(angle)
    density = np.cos(angles) ** (freedom - 1)
    inside = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    return math.sqrt(freedom) * np.tan(angles), 1 - inside / inside[-1]


def common(one: Int[Tensor, " window"], other: Int[Tensor, " window"]) -> Int[Tensor, " shared"]:
    """Numbers of windows in both lists, in the order of the first."""
    return one[torch.isin(one, other)]


def places_in(numbers: Tensor, wanted: Tensor) -> Tensor:
    """Positions of some numbers in a list that holds them."""
    order = numbers.argsort()
    return order[torch.searchsorted(numbers[order], wanted)]
