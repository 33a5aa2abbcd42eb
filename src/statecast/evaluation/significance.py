"""Significance of differences between scores, paired by window and corrected by Holm."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from statecast.evaluation.bootstrap import bootstrap, holm
from statecast.evaluation.comparability import Scored
from statecast.evaluation.window_scores import WindowScores, score_key
from statecast.metrics import METRICS

LEVEL = 0.05  # largest probability of any false rejection in a table
DRAWS, DRAWS_EACH = 10_000, 200  # resamplings: at least, and per difference of a table

Way = tuple[str, str | None]  # metric, and how samples are combined


class Forecasts(NamedTuple):
    """A forecaster of a run, and the scores of its windows."""

    label: str
    forecaster: str
    windows: WindowScores


class Difference(NamedTuple):
    """Score of one forecaster minus that of another, over the windows that both were scored on."""

    metric: str
    selection: str
    one: str
    other: str
    value: float
    low: float
    high: float
    p_value: float  # corrected for all differences of the table; NaN with too few sequences
    windows: int

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
        """The value and its 95 % interval, if there are enough sequences for one."""
        known = not math.isnan(self.p_value)
        return f"{self.value:.3g}" + (f" [{self.low:.3g}, {self.high:.3g}]" if known else "")

    @property
    def verdict(self) -> str:
        """Which forecaster is better, if the difference is significant."""
        if math.isnan(self.p_value):
            return "too few sequences for an interval"
        metric = METRICS[self.metric]
        better = self.one if (self.value > 0) == metric.higher_is_better else self.other
        found = "differ" if metric.ideal is not None else f"{better} is better"
        return f"p = {self.p_value:.2g}: {found if self.significant else 'not significant'}"

    def __str__(self) -> str:
        end = "; " if math.isnan(self.p_value) else ", "
        return f"{self.score}: {self.one} − {self.other} = {self.interval}{end}{self.verdict}"


def significant_differences(runs: Sequence[Scored], ways: Sequence[Way]) -> list[Difference]:
    """Differences of every run from every other run and from its own baselines.

    p-values come from a paired bootstrap over sequences. Holm's procedure corrects them for all
    differences of the list together.

    Args:
        runs: comparable runs; runs without scores of single windows are skipped.
        ways: metrics, and how samples are combined.
    """
    pairs = list(pairs_of(runs))
    most = len(pairs) * len(ways)
    found = [d for pair in pairs for d in compared(*pair, ways, max(DRAWS, DRAWS_EACH * most))]
    corrected = holm([difference.p_value for difference in found])
    return [d._replace(p_value=p) for d, p in zip(found, corrected, strict=True)]


def pairs_of(runs: Sequence[Scored]) -> Iterator[tuple[Forecasts, Forecasts]]:
    """Pairs of runs, then pairs of a run and one of its baselines."""
    own = [Forecasts(r.label, r.model, r.scores.windows) for r in runs if r.scores.windows]
    yield from combinations(own, 2)
    for run in runs:
        if run.scores.windows is None:
            continue
        model, *baselines = run.scores.forecasters
        for name in baselines:
            label = name if len(runs) == 1 else f"{name} ({run.label})"
            windows = run.scores.windows
            yield Forecasts(run.label, model, windows), Forecasts(label, name, windows)


def compared(
    one: Forecasts, other: Forecasts, ways: Sequence[Way], draws: int
) -> Iterator[Difference]:
    """Uncorrected differences of two forecasters by all metrics that both have."""
    _, first, second = common(one.windows.numbers, other.windows.numbers)
    shared = [
        (metric, way)
        for metric, way in ways
        if metric in METRICS
        and way is not None
        and all(score_key(f.forecaster, metric, way) in f.windows.values for f in (one, other))
    ]
    if not shared or not len(first):
        return
    columns = [
        forecasts.windows.values[score_key(forecasts.forecaster, metric, way)][rows]
        for forecasts, rows in ((one, first), (other, second))
        for metric, way in shared
    ]
    scores = torch.stack(columns, dim=1).double()
    sequences = one.windows.sequences[first]
    interval = bootstrap(
        lambda mean: minus(mean, shared), scores, ~scores.isnan(), sequences, draws=draws
    )
    for i, (metric, way) in enumerate(shared):
        value, low, high, p_value = (float(bound[i]) for bound in interval)
        yield Difference(metric, way, one.label, other.label, value, low, high, p_value, len(first))


def common(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of shared windows, and their positions in each list."""
    shared = one[torch.isin(one, other)]
    return shared, places_in(one, shared), places_in(other, shared)


def places_in(numbers: Tensor, wanted: Tensor) -> Tensor:
    """Positions of some numbers in a list that holds them."""
    order = numbers.argsort()
    return order[torch.searchsorted(numbers[order], wanted)]


def minus(mean: Tensor, ways: Sequence[tuple[str, str]]) -> Tensor:
    """Scores of the first forecaster minus those of the second, from means of all columns."""
    one, other = mean.split(len(ways), dim=-1)
    return torch.stack(
        [
            METRICS[metric].of_mean(one[..., i]) - METRICS[metric].of_mean(other[..., i])
            for i, (metric, _) in enumerate(ways)
        ],
        dim=-1,
    )
