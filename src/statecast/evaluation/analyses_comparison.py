"""A table of analyses of several runs; runs that differ only in their seed share a row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from statecast.errors import InputError
from statecast.evaluation.analyses.linear_probes import CODES
from statecast.evaluation.comparability import Scored, differences
from statecast.evaluation.comparison import (
    SEEDS,
    Cell,
    Column,
    Comparison,
    best_rows,
    group_row,
    is_higher_better,
)
from statecast.evaluation.skill import number

HIGHER = ("completeness", "disentanglement")
SWAP = "swap"
LOG_SCORE, ERROR = "log score of modes", "error of probabilities"
OVER = "over exact"  # the model's score divided by that of the exact law


class Finding(Column):
    """A number that an analysis found: its name as the metric, the code or horizon as selection."""

    @property
    def title(self) -> str:
        """Name, direction if there is one, and selection."""
        arrow = {None: "", True: "↑", False: "↓"}[self.higher_is_better]
        return " ".join(filter(None, (self.metric, arrow, self.selection)))

    @property
    def higher_is_better(self) -> bool | None:
        """Direction; None if neither is better, as for what a probe reads from either code."""
        first, *rest = self.metric.split()
        if first in HIGHER:
            return True
        if self.metric in (LOG_SCORE, ERROR) or self.selection == OVER:
            return False
        return is_higher_better(rest[0]) if first == SWAP else None

    def merit(self, value: float) -> float:
        """A number that is smaller for a better value; infinite if neither direction is better."""
        return {None: math.inf, True: -value, False: value}[self.higher_is_better]


def compare_analyses(groups: Sequence[Sequence[Scored]]) -> Comparison:
    """A row per group of runs: scores of probes, content swaps and exact answers.

    Args:
        groups: in each group, runs that differ only in the seed of their training.

    Errors:
        InputError: the runs' protocols differ, or no run has such analyses.
    """
    runs = [run for group in groups for run in group]
    found = differences(runs)
    if found:
        raise InputError(f"These runs cannot be compared: {'; '.join(found)}.")
    rows = [
        group_row(group, [dict(findings(run.scores.analyses)) for run in group]) for group in groups
    ]
    columns = list(dict.fromkeys(column for row in rows for column in row.cells))
    if not columns:
        raise InputError(
            "None of these runs has analyses. Run them: statecast evaluate RUN "
            "--evaluate.analyses '[probes, content_swap]'"
        )
    best = {column: best_rows(rows, column) for column in columns}
    return Comparison(columns, rows, best, [SEEDS] if len(runs) > len(groups) else [], [], {})


def findings(analyses: Mapping[str, Any]) -> Iterator[tuple[Column, Cell]]:
    """The numbers of a run's analyses, in the order of the table."""
    probes = analyses.get("probes", {})
    for kind, key, title in (("quantities", "r2", "R²"), ("labels", "accuracy", "accuracy")):
        for name, codes in probes.get(kind, {}).items():
            for code in CODES:
                yield Finding(f"{name} {title}", code), cell(codes[code][key])
    complete = [number(value) for value in probes.get("completeness", {}).values()]
    if known := [value for value in complete if not math.isnan(value)]:
        yield Finding("completeness", None), cell(sum(known) / len(known))
    for code, value in probes.get("disentanglement", {}).items():
        yield Finding("disentanglement", code), cell(value)
    for horizon, rows in analyses.get("content_swap", {}).get("horizons", {}).items():
        for metric, score in rows["swapped"].items():
            yield Finding(f"{SWAP} {metric}", f"t+{horizon}"), cell(score["value"])
    law = analyses.get("exact_answer", {})
    for metric, scores in law.get("scores", {}).items():
        yield Finding(metric, OVER), cell(scores["model"]["value"] / scores["exact"]["value"])
    for name, key in ((LOG_SCORE, "log_score"), (ERROR, "probability_error")):
        if "modes" in law:
            yield Finding(name, None), cell(law["modes"][key])


def cell(value: float | None) -> Cell:
    """The cell of a number of an analysis."""
    return Cell(number(value))
