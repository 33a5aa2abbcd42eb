"""The table of what analyses found of several runs; runs that differ in their seeds are one row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from statecast.errors import InputError
from statecast.evaluation.analyses.linear_probes import CODES
from statecast.evaluation.comparability import Scored, differences
from statecast.evaluation.comparison import Cell, Column, Comparison, Row, is_higher_better

HIGHER = ("completeness", "disentanglement")
SWAP = "swap"
LOG_SCORE, ERROR = "log score of modes", "error of probabilities"
OVER = "over exact"  # a score as a multiple of that of the exact law
NOTE = "mean ± half the range over runs that differ in nothing but their training's seed"


class Finding(Column):
    """A number of an analysis, and what it is of."""

    @property
    def title(self) -> str:
        """Both, and the direction where there is one."""
        direction = direction_of(self)
        arrow = {None: "", True: "↑", False: "↓"}[direction]
        return " ".join(filter(None, (self.metric, arrow, self.selection)))


def direction_of(finding: Column) -> bool | None:
    """Whether more is better; None where neither is, as of a truth in a code of either kind."""
    first, *rest = finding.metric.split()
    if first in HIGHER:
        return True
    if finding.metric in (LOG_SCORE, ERROR) or finding.selection == OVER:
        return False
    return is_higher_better(rest[0]) if first == SWAP else None


def compare_analyses(groups: Sequence[Sequence[Scored]]) -> Comparison:
    """A row per group of runs: what probes read of each truth, swaps, and exact answers.

    Args:
        groups: runs of one model, data set and training, with several seeds.

    Errors:
        InputError: the runs' protocols differ, or none has analyses of these kinds.
    """
    runs = [run for group in groups for run in group]
    found = differences(runs)
    if found:
        raise InputError(f"These runs cannot be compared: {'; '.join(found)}.")
    rows = [row_of(group) for group in groups]
    columns = list(dict.fromkeys(column for row in rows for column in row.cells))
    if not columns:
        raise InputError(
            "None of these runs has analyses. Make them: statecast evaluate RUN "
            "--evaluate.analyses '[probes, content_swap]'"
        )
    best = {column: best_rows(rows, column) for column in columns}
    return Comparison(columns, rows, best, [NOTE] if len(runs) > len(groups) else [], [])


def row_of(group: Sequence[Scored]) -> Row:
    """Means over the runs of a group, with half the range."""
    each = [dict(findings(run.scores.analyses)) for run in group]
    cells: dict[Column, Cell] = {}
    for column in each[0]:
        values = [found.get(column, math.nan) for found in each]
        half = (max(values) - min(values)) / 2 if len(values) > 1 else math.nan
        cells[column] = Cell(sum(values) / len(values), half)
    label = group[0].label if len(group) == 1 else f"{group[0].label} … ({len(group)} runs)"
    return Row(label, "run", cells, ", ".join(str(run.folder) for run in group))


def findings(analyses: Mapping[str, Any]) -> Iterator[tuple[Finding, float]]:
    """The numbers of a run's analyses, in the order of the table."""
    probes = analyses.get("probes", {})
    for kind, key, title in (("quantities", "r2", "R²"), ("labels", "accuracy", "accuracy")):
        for name, codes in probes.get(kind, {}).items():
            for code in CODES:
                yield Finding(f"{name} {title}", code), number(codes[code][key])
    known = [number(value) for value in probes.get("completeness", {}).values()]
    if complete := [value for value in known if not math.isnan(value)]:
        yield Finding("completeness", None), sum(complete) / len(complete)
    for code, value in probes.get("disentanglement", {}).items():
        yield Finding("disentanglement", code), number(value)
    for horizon, rows in analyses.get("content_swap", {}).get("horizons", {}).items():
        for metric, score in rows["swapped"].items():
            yield Finding(f"{SWAP} {metric}", f"t+{horizon}"), number(score["value"])
    law = analyses.get("exact_answer", {})
    for metric, scores in law.get("scores", {}).items():
        yield Finding(metric, OVER), scores["model"]["value"] / scores["exact"]["value"]
    for name, key in ((LOG_SCORE, "log_score"), (ERROR, "probability_error")):
        if "modes" in law:
            yield Finding(name, None), number(law["modes"][key])


def number(value: float | None) -> float:
    """A number of an analysis; JSON without NaN has null for it."""
    return math.nan if value is None else float(value)


def best_rows(rows: Sequence[Row], column: Column) -> list[int]:
    """Numbers of the rows with the best value; none where there is no better and worse."""
    direction = direction_of(column)
    values = [row.cells[column].value if column in row.cells else math.nan for row in rows]
    known = [value for value in values if not math.isnan(value)]
    if direction is None or not known:
        return []
    best = max(known) if direction else min(known)
    return [index for index, value in enumerate(values) if value == best]
