"""Skill: a forecast's scores against those of a baseline on the same windows, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from statecast.evaluation.bootstrap import Interval, bootstrap
from statecast.metrics.base import ROWS, Metric, Sums, with_average
from statecast.models import BASELINES

ROUNDING = 1e-7  # relative difference of scores that single precision explains


def number(value: float | None) -> float:
    """A number from JSON, in which null is NaN."""
    if value is not None and not isinstance(value, int | float):
        raise TypeError(f"a score should be a number, got {value!r:.40}")
    return math.nan if value is None else float(value)


class Estimate(NamedTuple):
    """A value at each lead time and their mean, with 95 % intervals; NaN if undefined."""

    value: float
    low: float
    high: float
    per_lead_time: list[float]
    lows: list[float]
    highs: list[float]

    @classmethod
    def of(cls, found: Interval, columns: slice) -> Estimate:
        """From columns of lead times; the last column is their mean."""
        value, low, high = (bound[columns].tolist() for bound in found[:3])
        return cls(value[-1], low[-1], high[-1], value[:-1], low[:-1], high[:-1])

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Estimate:
        """The inverse of `_asdict`; null is NaN."""
        value, low, high = (number(content[name]) for name in cls._fields[:3])
        along = ([number(v) for v in content[name]] for name in cls._fields[3:])
        return cls(value, low, high, *along)


class Skill(NamedTuple):
    r"""How a forecast compares with a baseline.

    The skill score is $(S - S_b)/(S_p - S_b)$, with the scores $S$ of the forecast, $S_b$ of the
    baseline and $S_p$ of a perfect forecast: 1 is perfect, 0 means no gain over the baseline. It
    is undefined for metrics without a perfect score.
    """

    difference: Estimate  # score of the forecast minus that of the baseline
    skill: Estimate | None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        skill = None if self.skill is None else self.skill._asdict()
        return {"difference": self.difference._asdict(), "skill": skill}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Skill:
        """The inverse of `to_json`."""
        skill = content["skill"]
        return cls(
            Estimate.from_json(content["difference"]),
            None if skill is None else Estimate.from_json(skill),
        )

    def shown(self) -> str:
        """The difference with its interval and the skill; a star if the interval excludes zero."""
        d = self.difference
        text = f"{d.value:.3g}"
        if not math.isnan(d.low):
            text += f" [{d.low:.3g}, {d.high:.3g}]" + (" *" if d.low > 0 or d.high < 0 else "")
        if self.skill is None or math.isnan(self.skill.value):  # the baseline is perfect
            return text
        return f"{text} skill {round(self.skill.value, 2) + 0.0:.2f}"  # no minus zero


def skill_against(
    metric: type[Metric], own: Sums, baseline: Sums, sequences: Tensor, *, seed: int
) -> dict[str, Skill]:
    """Skill of a forecast by each selection of a metric.

    Args:
        metric: the metric that scored both.
        own: sums of the forecast.
        baseline: sums of the baseline over the same windows.
        sequences: number of the sequence that each window was cut from.
        seed: seed of the bootstrap.
    """
    found = {}
    for selection in metric.selections:
        parts = [with_average(s[f"{selection}{ROWS}"], s[f"known{ROWS}"]) for s in (own, baseline)]
        scores, known = (torch.cat(columns, dim=1) for columns in zip(*parts, strict=True))
        count = scores.shape[1] // 2

        def compared(mean: Tensor, count: int = count) -> Tensor:
            one, other = metric.of_mean(mean).split(count, dim=-1)
            gain = one - other
            gain = torch.where(gain.abs() <= ROUNDING * other.abs(), 0.0, gain)
            rest = torch.nan if metric.perfect is None else metric.perfect - other
            return torch.cat([gain, gain / rest], dim=-1)

        interval = bootstrap(compared, scores, known, sequences, seed=seed)
        skill = Estimate.of(interval, slice(count, None))
        found[selection] = Skill(
            Estimate.of(interval, slice(count)), None if metric.perfect is None else skill
        )
    return found


SMALLEST_SHARE = 0.0005  # smallest relative difference that is reported as one
ERRORS_OF_MEAN = {"fair_mse": "ensemble", "mse": "ensemble_mean", "rmse": "ensemble_mean"}
WITHOUT_SPREAD = (
    "The CRPS of a forecast without spread is its mean absolute error, so that spread alone can "
    "lower it: judge the mean by its own error."
)


def skill_lines(skill: Mapping[str, Mapping[str, Mapping[str, Skill]]]) -> list[str]:
    """Sentences that say whether a model beats each baseline, and by how much.

    They tell the error of the mean over samples, by the first of `fair_mse`, `mse` and `rmse` that
    was scored, and the CRPS, which for a baseline without spread is the mean absolute error.

    Args:
        skill: skill by baseline, metric and selection.
    """
    lines = []
    for baseline, found in skill.items():
        metric = next((name for name in ERRORS_OF_MEAN if name in found), None)
        if metric is not None:
            told = verdict(found[metric][ERRORS_OF_MEAN[metric]], f"{baseline}'s")
            lines.append(f"error of the mean ({metric}): {told}")
        if "crps" in found:
            error = " mean absolute error" if baseline in BASELINES else ""
            told = verdict(found["crps"]["ensemble"], f"{baseline}'s{error}")
            lines.append(f"CRPS: {told}")
    told_of_baselines = any("crps" in found for name, found in skill.items() if name in BASELINES)
    return lines + [WITHOUT_SPREAD] * told_of_baselines


def verdict(found: Skill, theirs: str) -> str:
    """Whether an error, at best 0, lies below another, such as "persistence's", in words."""
    difference, share = found.difference, found.skill
    if difference.value == 0:
        return f"the same as {theirs}"
    if share is not None and abs(share.value) < SMALLEST_SHARE:
        return f"the same as {theirs}, to {100 * SMALLEST_SHARE:g} %"
    order = "below" if difference.value < 0 else "ABOVE"
    if share is None or math.isnan(share.value):
        amount = f"{abs(difference.value):.3g}"
    else:
        amount = f"{100 * abs(share.value):.1f} %"
    if math.isnan(difference.low):
        return f"{amount} {order} {theirs}; too few sequences for an interval"
    interval = f"difference {difference.value:.3g} [{difference.low:.3g}, {difference.high:.3g}]"
    if difference.low <= 0 <= difference.high:
        return f"indistinguishable from {theirs}: {amount} {order.lower()}, {interval}"
    return f"{amount} {order} {theirs}, {interval}"
