"""A table of runs, their baselines, and published scores of the same protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from statecast.errors import InputError
from statecast.evaluation.comparability import (
    Scored,
    differences,
    group_label,
    groups_by_recipe,
    other_samples,
    remarks_on,
)
from statecast.evaluation.protocols import protocol_names
from statecast.evaluation.protocols.protocol import read_protocol
from statecast.evaluation.protocols.published_scores import published_for
from statecast.evaluation.significance import Difference, significant_differences
from statecast.metrics import METRICS

ELSEWHERE = {"lpips": False, "fvd": False}  # published metrics: whether higher is better
CALIBRATION = ("spread_skill", "rank_histogram", "coverage")  # needs several samples
USUAL = ("ensemble_mean", "best", "ensemble")  # selections shown unless a protocol names one
BESIDE_SINGLE = ("ensemble_mean", "ensemble")  # those that are fair to a model of one forecast
SEEDS = "mean (lowest to highest) of runs that differ only in train.seed"


class Column(NamedTuple):
    """A metric, and how its samples are combined."""

    metric: str
    selection: str | None  # None if only published scores have the metric, in one way

    @property
    def is_fair(self) -> bool:
        """Whether its scores do not depend on the number of samples, on average."""
        return self.metric in METRICS and self.selection in METRICS[self.metric].fair

    @property
    def title(self) -> str:
        """Metric, direction, selection."""
        known = METRICS.get(self.metric)
        arrow = known.arrow() if known else "↑" if is_higher_better(self.metric) else "↓"
        selection = "" if self.selection == "ensemble" else self.selection  # all samples, always
        return " ".join(filter(None, (self.metric, arrow, selection)))

    def merit(self, value: float) -> float:
        """A number that is smaller for a better score."""
        if self.metric in METRICS:
            return METRICS[self.metric].penalty(value)
        return -value if is_higher_better(self.metric) else value


class Cell(NamedTuple):
    """A score and the half width of its interval; NaN if undefined."""

    value: float
    half_width: float = math.nan
    extremes: tuple[float, float] | None = None  # of several seeds, whose mean is the value


class Row(NamedTuple):
    """A forecaster and its scores."""

    label: str
    kind: str  # run, seeds, baseline, or published
    cells: dict[Column, Cell]
    source: str  # run folder, or paper and table


class Comparison(NamedTuple):
    """Scores that may be compared, as a table."""

    columns: list[Column]
    rows: list[Row]
    best: dict[Column, list[int]]  # numbers of the best rows
    remarks: list[str]  # allowed differences between runs, and notes
    differences: list[Difference]  # between models, and between models and baselines
    notes: dict[str, str]  # on published scores, by their source


def compare(
    runs: Sequence[Scored],
    *,
    metrics: Sequence[str] = (),
    published: bool = True,
    sort: str | None = None,
) -> Comparison:
    """Compare runs with each other, with their baselines, and with published scores.

    Args:
        runs: the runs to compare.
        metrics: columns, such as `psnr` or `psnr.best`; by default the columns of the protocol,
            then all others.
        published: whether to add published scores of the same protocol.
        sort: column to order the rows by, best first; by default the order of `runs`.

    Errors:
        InputError: the runs' protocols differ (the message names every field), or no run has a
            column.
    """
    found = differences(runs)
    if found:
        raise InputError(f"These runs cannot be compared: {'; '.join(found)}.")
    names = list(dict.fromkeys(n for run in runs if (n := run.protocol.get("name"))))
    protocol = names[0] if len(names) == 1 and names[0] in protocol_names() else None
    columns = chosen_columns(runs, protocol, metrics, published=published)
    groups = groups_by_recipe(runs)
    several = [group for group in groups if len(group) > 1]
    rows = [
        group_row(group, [cells_of(run, run.model, columns) for run in group])
        for group in [*([run] for run in runs), *several]
    ]
    baselines = baseline_rows(runs, columns)
    rows += baselines
    remarks = [f"{group_label(group)}: {SEEDS}" for group in several] + remarks_on(runs)
    notes = {}
    if published and protocol is not None:
        rows += published_rows(protocol, columns)
        notes = published_notes(protocol, columns)
    if sort is not None:
        key = named_columns([sort], columns)[0]
        rows.sort(key=lambda row: merit(row, key))
    best = {c: [i for i in best_rows(rows, c) if rows[i].kind != "seeds"] for c in columns}
    shared = [row.label for row in baselines]
    tested = significant_differences(groups, columns, shared)
    return Comparison(columns, rows, best, remarks, tested, notes)


def chosen_columns(
    runs: Sequence[Scored], protocol: str | None, metrics: Sequence[str], *, published: bool
) -> list[Column]:
    """Columns of the table: those named, or those of the protocol's metrics and then of others.

    Without a name, each metric has the selection of the protocol, or else the mean of samples and
    the best one; where a model of a single forecast stands beside others, the mean of samples
    alone, which is fair to both. If runs have different numbers of samples, only columns that do
    not depend on that number are left.

    Errors:
        InputError: no run has a column.
    """
    offered = offered_columns(runs, protocol if published else None)
    if other_samples(runs):
        offered = [column for column in offered if column.is_fair]
    if metrics:
        return named_columns(metrics, offered)
    rules = read_protocol(protocol).metrics if protocol else {}
    single = [run.protocol.get("samples") == 1 for run in runs]
    mixed = any(single) and not all(single)
    chosen: list[Column] = []
    for metric in dict.fromkeys([*rules, *(c.metric for c in offered)]):
        same = [column for column in offered if column.metric == metric]
        named = (rules[metric].selection,) if metric in rules else () if mixed else USUAL
        wanted = (*named, *BESIDE_SINGLE) if mixed else named
        chosen += [column for column in same if column.selection in wanted] or same[:1]
    if all(single):  # then all selections are the same
        first: dict[str, Column] = {}
        for column in chosen:
            first.setdefault(column.metric, column)
        return list(first.values())
    return chosen


def offered_columns(runs: Sequence[Scored], protocol: str | None) -> list[Column]:
    """Columns with a score of some run, or with a published score of a protocol."""
    offered: dict[Column, None] = {}
    for run in runs:
        for metric, selections in run.scores.forecasters[run.model].items():
            offered |= {Column(metric, selection): None for selection in selections}
    for score in published_for(protocol) if protocol else []:
        if score.selection is not None or score.metric not in {c.metric for c in offered}:
            offered[Column(score.metric, score.selection)] = None
    return list(offered)


def named_columns(names: Sequence[str], offered: Sequence[Column]) -> list[Column]:
    """Columns by name: `psnr.best`, or `psnr` for all columns of that metric.

    Errors:
        InputError: no column has the name.
    """
    found: dict[Column, None] = {}
    for name in names:
        metric, _, selection = name.partition(".")
        fitting = [
            c for c in offered if c.metric == metric and selection in ("", c.selection or "")
        ]
        if not fitting:
            every = ", ".join(".".join(filter(None, column)) for column in offered)
            raise InputError(f"There is no score {name!r}; choose from {every}.")
        found |= dict.fromkeys(fitting)
    return list(found)


def baseline_rows(runs: Sequence[Scored], columns: Sequence[Column]) -> list[Row]:
    """A row per baseline; runs share a row if all scores of the baseline agree."""
    found: dict[str, dict[tuple[tuple[Column, float], ...], Row]] = {}
    for run in runs:
        for name in list(run.scores.forecasters)[1:]:
            cells = cells_of(run, name, columns)
            key = tuple((column, round(cell.value, 9)) for column, cell in cells.items())
            row = Row(f"{name} ({run.label})", "baseline", cells, str(run.folder))
            found.setdefault(name, {}).setdefault(key, row)
    return [
        row if len(versions) > 1 else row._replace(label=name)
        for name, versions in found.items()
        for row in versions.values()
    ]


def cells_of(run: Scored, forecaster: str, columns: Sequence[Column]) -> dict[Column, Cell]:
    """The scores that a forecaster has."""
    scores = run.scores.forecasters[forecaster]
    single = forecaster != run.model or run.protocol.get("deterministic", False)
    found = {}
    for column in columns:
        if single and column.metric in CALIBRATION:
            continue
        score = scores.get(column.metric, {}).get(column.selection or "")
        if score is not None:
            found[column] = Cell(score.value, score.half_width)
    return found


def published_rows(
    protocol: str, columns: Sequence[Column], *, analysis: str | None = None
) -> list[Row]:
    """A row per model and source of the published scores of a protocol."""
    rows: dict[tuple[str, str], Row] = {}
    for score in published_for(protocol, analysis=analysis):
        fitting = [c for c in columns if c.metric == score.metric]
        chosen = [c for c in fitting if score.selection in (None, c.selection)][:1]
        row = rows.setdefault(
            (score.model, score.source), Row(score.model, "published", {}, score.source)
        )
        for column in chosen:
            width = math.nan if score.half_width is None else score.half_width
            row.cells[column] = Cell(score.value, width)
    return [row for row in rows.values() if row.cells]


def published_notes(
    protocol: str, columns: Sequence[Column], *, analysis: str | None = None
) -> dict[str, str]:
    """Notes of the published tables shown, by their source."""
    shown = {column.metric for column in columns}
    notes: dict[str, dict[str, None]] = {}
    for score in published_for(protocol, analysis=analysis):
        if score.note and score.metric in shown:
            notes.setdefault(score.source, {})[score.note] = None
    return {source: " ".join(each) for source, each in notes.items()}


def is_higher_better(metric: str) -> bool:
    """Direction of a metric of ours, or of a published one."""
    return METRICS[metric].higher_is_better if metric in METRICS else ELSEWHERE.get(metric, False)


def merit(row: Row, column: Column) -> float:
    """A number that is smaller for a better score in a column; infinite without a score."""
    cell = row.cells.get(column)
    return math.inf if cell is None or math.isnan(cell.value) else column.merit(cell.value)


def best_rows(rows: Sequence[Row], column: Column) -> list[int]:
    """Numbers of the rows with the best score of a column; empty if no row has a score."""
    merits = [merit(row, column) for row in rows]
    best = min(merits, default=math.inf)
    return [] if best == math.inf else [i for i, m in enumerate(merits) if m == best]


def group_row(group: Sequence[Scored], each: Sequence[dict[Column, Cell]]) -> Row:
    """One row for a group of runs: the mean of their scores, with the lowest and the highest.

    Args:
        group: one run, or runs that differ only in the seed of their training.
        each: the cells of each run.
    """
    cells, kind = each[0], "run"
    if len(group) > 1:
        cells, kind = {}, "seeds"
        for column in each[0]:
            values = [found[column].value if column in found else math.nan for found in each]
            mean = sum(values) / len(values)
            cells[column] = Cell(mean, extremes=(min(values), max(values)))
    return Row(group_label(group), kind, cells, ", ".join(str(run.folder) for run in group))
