"""Evaluation: scores of a model and of baselines on the same windows, with their protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from statecast.evaluation.bootstrap import FEWEST_SEQUENCES
from statecast.evaluation.labelled_scores import Table, labelled_scores
from statecast.evaluation.skill import Skill, number
from statecast.evaluation.text_tables import aligned, with_interval
from statecast.evaluation.window_scores import WindowScores
from statecast.io.atomic_files import write_text
from statecast.io.sealed_json import sealed
from statecast.metrics import METRICS
from statecast.metrics.base import Score

if TYPE_CHECKING:
    import xarray

SCORES_NAME = "scores.json"
MEAN_FORECAST = "ensemble_mean"  # selection: the mean over samples, as one forecast


class Part(NamedTuple):
    """Scores of one part of the data, such as a variable."""

    unit: str
    forecasters: Table


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores of a model and of baselines, and everything that they depend on.

    Attributes:
        protocol: settings that determine the scores: data, split, windows, samples, versions, …
        lead_times: lead times of the scores, in frame intervals.
        unit: unit of the scored values; several units are separated by commas.
        forecasters: scores by forecaster (the model first), metric and selection. The selection
            says how samples are combined.
        details: results that are not a score, such as a histogram, by forecaster and metric.
        skill: comparison of the model with each baseline, by baseline, metric and selection.
        parts: scores of parts, by kind (`variable`, `region`, `season`) and name.
        analyses: result of each analysis.
        warnings: how the windows differ from those of training.
        not_computed: reasons why metrics, baselines or analyses are missing, by name.
        windows: scores of single windows; None if they are not kept.
    """

    protocol: dict[str, Any]
    lead_times: list[float]
    unit: str = "1"
    forecasters: Table
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    skill: dict[str, dict[str, dict[str, Skill]]] = field(default_factory=dict)
    parts: dict[str, dict[str, Part]] = field(default_factory=dict)
    analyses: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    not_computed: dict[str, str] = field(default_factory=dict)
    windows: WindowScores | None = None

    @property
    def model(self) -> str:
        """Name of the model; baselines follow."""
        return next(iter(self.forecasters))

    def to_json(self) -> dict[str, Any]:
        """Everything but scores of single windows, as JSON values."""
        return {
            "protocol": self.protocol,
            "lead_times": self.lead_times,
            "unit": self.unit,
            "forecasters": each_score(self.forecasters, score_json),
            "details": self.details,
            "skill": each_score(self.skill, Skill.to_json),
            "parts": {
                kind: {
                    name: {
                        "unit": part.unit,
                        "forecasters": each_score(part.forecasters, score_json),
                    }
                    for name, part in parts.items()
                }
                for kind, parts in self.parts.items()
            },
            "analyses": self.analyses,
            "warnings": self.warnings,
            "not_computed": self.not_computed,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_json`; null is NaN.

        Errors:
            KeyError, TypeError, ValueError, AttributeError: the content has another form.
        """
        made = cls(
            protocol=dict(content["protocol"]),
            lead_times=[float(time) for time in content["lead_times"]],
            unit=str(content.get("unit", "1")),
            forecasters=each_score(content["forecasters"], score_from),
            details=dict(content.get("details", {})),
            skill=each_score(content.get("skill", {}), Skill.from_json),
            parts={
                kind: {
                    name: Part(str(part["unit"]), each_score(part["forecasters"], score_from))
                    for name, part in parts.items()
                }
                for kind, parts in content.get("parts", {}).items()
            },
            analyses=dict(content.get("analyses", {})),
            warnings=list(map(str, content.get("warnings", []))),
            not_computed=dict(content.get("not_computed", {})),
        )
        if not made.forecasters:
            raise ValueError("there are no forecasters")
        return made

    @property
    def is_empty(self) -> bool:
        """Whether no requested metric (without metrics: no requested analysis) gave a result."""
        scored = any(self.forecasters.values())
        return not scored if self.protocol.get("metrics") else not (scored or self.analyses)

    def save(self, folder: str | Path) -> Path:
        """Write `scores.json` and the scores of single windows into a folder."""
        content = self.to_json()
        if self.windows is not None:
            content["window_scores"] = self.windows.save(folder)
        return write_text(Path(folder) / SCORES_NAME, sealed(content))

    def table(self) -> str:
        """The scores as text: a row per metric and selection, a column per forecaster.

        Of values with a unit, as of fields, a metric of samples shows only their mean's score.
        Intervals are left out where there are too few sequences for them.
        """
        single = self.protocol.get("samples") == 1  # then all selections are the same
        rows = partial(rows_of, single=single, only_mean=self.unit != "1")
        few = self.windows and len(self.windows.sequences.unique()) < FEWEST_SEQUENCES
        score_cell = value_text if few else score_text
        blocks = [rows(with_unit("score", self.unit), self.forecasters, score_cell)]
        for kind, parts in self.parts.items():
            for name, part in parts.items():
                title = with_unit(f"{kind} {name}", part.unit)
                blocks.append(rows(title, part.forecasters, score_cell))
        if self.skill:
            blocks.append(rows(f"{self.model} minus", self.skill, Skill.shown))
        text = "\n\n".join("\n".join(aligned(block)) for block in blocks)
        notes = ["* the 95 % interval excludes zero"] * ("] *" in text)
        correlations = [
            found["acc"]["ensemble"] for found in self.forecasters.values() if "acc" in found
        ]
        if any(math.isnan(score.value) for score in correlations):
            notes.append("acc is nan for a forecast that is the climatology: its anomaly is 0")
        for forecaster, details in self.details.items():
            exact = details.get("psnr", {}).get("exact_frames")
            if exact:
                frames = details["psnr"]["frames"]
                notes.append(
                    f"psnr of {forecaster}: {exact} of {frames} frames are exact and count 100 dB "
                    "each, which raises the mean; judge by mse or crps"
                )
        return "\n".join([text, *notes])

    def to_xarray(self) -> xarray.Dataset:
        """A variable (forecaster, selection, lead_time) for each metric and for its half width.

        Each kind of part adds a dimension, such as `variable`; its first entry, `all`, holds the
        scores of all parts together.

        Errors:
            MissingExtraError: xarray is not installed.
        """
        found = labelled_scores(self.forecasters, self.parts, self.lead_times, self.unit)
        protocol = json.dumps(self.protocol, ensure_ascii=False)
        return found.assign_attrs(model=self.model, unit=self.unit, protocol=protocol)


def each_score(table: Mapping[str, Any], function: Callable[[Any], Any]) -> dict[str, Any]:
    """A table with a function applied to each of its scores."""
    return {
        forecaster: {
            metric: {selection: function(score) for selection, score in selections.items()}
            for metric, selections in metrics.items()
        }
        for forecaster, metrics in table.items()
    }


def score_json(score: Score) -> dict[str, Any]:
    """A score as numbers and lists."""
    widths = {} if score.half_widths is None else {"half_widths": score.half_widths.tolist()}
    return score.to_json() | widths


def score_from(content: Mapping[str, Any]) -> Score:
    """The inverse of `score_json`; null is NaN."""

    def numbers(values: list[float | None]) -> torch.Tensor:
        return torch.tensor([number(value) for value in values], dtype=torch.float64)

    widths = content.get("half_widths")
    return Score(
        numbers(content["per_lead_time"]),
        number(content["value"]),
        number(content.get("half_width")),
        None if widths is None else numbers(widths),
    )


def with_unit(title: str, unit: str) -> str:
    """A title with the unit of the values, if they have one."""
    return title if unit == "1" else f"{title} / {unit}"


def rows_of(
    title: str,
    table: Mapping[str, Any],
    shown: Callable[[Any], str],
    *,
    single: bool,
    only_mean: bool = False,
) -> Iterator[list[str]]:
    """A row per metric and selection, a column per forecaster.

    Args:
        title: head of the first column.
        table: scores by forecaster, metric and selection.
        shown: text of a score.
        single: whether all selections are the same, so that one is shown, without its name.
        only_mean: whether to leave out the selections of single samples.
    """
    names = list(table)
    yield [title, *names]
    for metric, selections in table[names[0]].items():
        chosen = list(selections)[: 1 if single else None]
        if only_mean and MEAN_FORECAST in chosen:
            chosen = [MEAN_FORECAST]
        for selection in chosen:
            arrow = METRICS[metric].arrow() if metric in METRICS else ""
            row = [f"{metric} {arrow}" + ("" if single else f" {selection}")]
            for name in names:
                found = table[name].get(metric, {}).get(selection)
                row.append("–" if found is None else shown(found))
            yield row


def value_text(score: Score) -> str:
    """A score without its interval."""
    return with_interval(score.value, math.nan)


def score_text(score: Score) -> str:
    """A score with the half width of its interval, if it has one."""
    return with_interval(score.value, score.half_width)
