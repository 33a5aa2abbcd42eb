"""Scores of comparable runs: table, charts against lead time, horizon of skill."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from statecast.evaluation.comparability import Scored, flat
from statecast.evaluation.comparison import (
    CALIBRATION,
    Cell,
    Column,
    Comparison,
    is_higher_better,
)
from statecast.evaluation.comparison_formats import numbered_notes, numbered_sources, shown
from statecast.evaluation.evaluation import rows_of, score_text
from statecast.evaluation.skill import Skill
from statecast.metrics import METRICS
from statecast.metrics.base import Score, written_out
from statecast.plots.curves import Chart, Line, lead_time_axis
from statecast.reports.page.charts import REFERENCE, STYLES, Picture, drawn
from statecast.reports.page.runs import Member
from statecast.reports.page.skill import skill_horizon

TRIVIAL = "persistence"
FACTS = ("name", "split", "windows", "available_windows", "context", "horizon", "samples",
         "checkpoint", "calibrated", "seed", "digest")  # fmt: skip


class ScoredMember(NamedTuple):
    """A run that has scores."""

    member: Member
    scored: Scored

    @property
    def label(self) -> str:
        """Name of the run."""
        return self.member.label

    @property
    def times(self) -> list[float]:
        """Lead times, in the unit of the data's time."""
        return self._axis[0]

    @property
    def time_label(self) -> str:
        """Label of the axis of lead times."""
        return self._axis[1]

    @property
    def _axis(self) -> tuple[list[float], str]:
        step = self.scored.protocol.get("data", {}).get("step")
        return lead_time_axis(self.scored.scores.lead_times, step)


class Course(NamedTuple):
    """A metric at each lead time, for runs and baselines."""

    column: Column
    own: dict[str, Score]  # by label of a run
    trivial: dict[str, Score]  # by name of a baseline


class TableCell(NamedTuple):
    """A cell of the table of scores."""

    text: str
    value: float | None = None
    interval: str = ""
    best: bool = False
    source: int | None = None  # number of its publication


def score_rows(found: Comparison) -> list[list[TableCell]]:
    """Rows of scores with the half widths of their intervals."""
    sources = numbered_sources(found)
    rows = []
    for index, row in enumerate(found.rows):
        source = sources[row.source] if row.kind == "published" else None
        cells = [table_cell(row.cells.get(c), best=index in found.best[c]) for c in found.columns]
        rows.append([TableCell(row.label, source=source), *cells])
    return rows


def table_cell(cell: Cell | None, *, best: bool) -> TableCell:
    """A score, or a dash if it is missing."""
    value, _, interval = shown(cell).partition(" ± ")
    return TableCell(value, None if cell is None else cell.value, interval, best)


def notes_on(members: Sequence[ScoredMember], found: Comparison) -> list[str]:
    """Sources of published scores, remarks, and reasons for missing scores."""
    notes = numbered_notes(found)
    reasons = [
        f"{name.replace('.', ', ')} was not computed: {reason}."
        for _, scored in members
        for name, reason in flat(scored.scores.not_computed).items()
    ]
    return list(dict.fromkeys([*notes, *found.remarks, *reasons]))


def courses(members: Sequence[ScoredMember], found: Comparison) -> Iterator[Course]:
    """Scores at each lead time, metric by metric."""
    for column in found.columns:
        course = Course(column, {}, {})
        for member, scored in members:
            for name, scores in scored.scores.forecasters.items():
                score = scores.get(column.metric, {}).get(column.selection or "")
                if score is None or len(score.per_lead_time) != len(scored.scores.lead_times):
                    continue
                if name == scored.model:
                    course.own[member.label] = score
                elif column.metric not in CALIBRATION:  # a single forecast cannot be calibrated
                    course.trivial.setdefault(name, score)
        if course.own:
            yield course


def title_of(column: Column) -> str:
    """A column of the table as text."""
    return written_out(column.title)


def course_chart(
    members: Sequence[ScoredMember], course: Course, folder: Path, stem: str
) -> Picture:
    """Scores against lead time: a line per run, baselines in grey, 95 % bands."""
    lines, metric = [], course.column.metric
    for found in members:
        score = course.own.get(found.label)
        if score is not None:
            line = found.member.line(found.times, score.per_lead_time.tolist())
            lines.append(line._replace(half_widths=widths_of(score)))
    for index, (name, score) in enumerate(course.trivial.items(), start=1):
        values, widths = score.per_lead_time.tolist(), widths_of(score)
        style = STYLES[index % len(STYLES)]
        lines.append(Line(name, members[0].times, values, REFERENCE, style, widths))
    chart = Chart(
        title_of(course.column),
        lines,
        members[0].time_label,
        unit_of(metric, members[0].member.run.spec.unit),
        level=1.0 if metric == "spread_skill" else None,
    )
    return drawn("-".join(filter(None, (stem, metric, course.column.selection))), chart, folder)


def unit_of(metric: str, unit: str) -> str:
    """Unit of a metric for data in a unit; empty if it has none."""
    own = METRICS[metric].unit if metric in METRICS else "1"
    found = {"data": unit, "data²": "1" if unit == "1" else f"({unit})²"}.get(own, own)
    return "" if found == "1" else found


def widths_of(score: Score) -> list[float] | None:
    """Half widths of a score's intervals at each lead time; None if undefined."""
    return None if score.half_widths is None else score.half_widths.tolist()


def skill_statement(member: ScoredMember, course: Course) -> str:
    """Lead times at which a run beats persistence, and which are significant; a dash if unknown."""
    if member.label not in course.own:
        return "–"
    own = member.scored.scores.forecasters.get(TRIVIAL, {}).get(course.column.metric, {})
    reference = own.get(course.column.selection or "", course.trivial[TRIVIAL])
    higher = is_higher_better(course.column.metric)
    means = skill_horizon(
        member.times,
        course.own[member.label].per_lead_time.tolist(),
        reference.per_lead_time.tolist(),
        higher_is_better=higher,
    )
    found = skill_of(member, course.column)
    if found is None or not means.better:
        return means.statement
    bounds = found.difference.lows if higher else found.difference.highs
    sure = skill_horizon(member.times, bounds, [0.0] * len(bounds), higher_is_better=higher)
    if sure.better == means.better:
        return f"{means.statement}, all significant"
    return f"{means.statement}, significant at {sure.ranges or 'none of them'}"


def skill_of(member: ScoredMember, column: Column) -> Skill | None:
    """Skill of a run against persistence by a metric; None if unknown."""
    found = member.scored.scores.skill.get(TRIVIAL, {}).get(column.metric, {})
    return found.get(column.selection or "")


def skill_charts(
    members: Sequence[ScoredMember], columns: Sequence[Column], folder: Path, stem: str
) -> Iterator[Picture]:
    """Charts of the skill score against persistence, or else of the difference, with bands."""
    for column in columns:
        lines, scored_as = [], "skill"
        for member in members:
            found = skill_of(member, column)
            if found is None or not member.scored.scores.lead_times:
                continue
            scored_as = "difference" if found.skill is None else "skill"
            shown = found.skill or found.difference
            line = member.member.line(member.times, shown.per_lead_time)
            lines.append(line._replace(band=(shown.lows, shown.highs)))
        if lines:
            title = f"{title_of(column)} against {TRIVIAL}"
            chart = Chart(title, lines, members[0].time_label, scored_as, level=0.0)
            name = "-".join(filter(None, (stem, "skill", column.metric, column.selection)))
            yield drawn(name, chart, folder)


def part_tables(members: Sequence[ScoredMember]) -> Iterator[tuple[str, list[str], list[Any]]]:
    """Scores of variables, regions and seasons: title, forecasters, and rows of each."""
    for found in members:
        for kind, parts in found.scored.scores.parts.items():
            for name, part in parts.items():
                unit = "" if part.unit == "1" else f" / {part.unit}"
                title = f"{found.label}: {kind} {name}{unit}"
                head, *rows = rows_of(title, part.forecasters, score_text, single=False)
                yield title, head, rows


def summaries(members: Sequence[ScoredMember], courses: Sequence[Course]) -> list[str]:
    """A sentence per run that compares its CRPS, or else its first score, with persistence's."""
    told = []
    beside = [course for course in courses if TRIVIAL in course.trivial]
    # Errors of single samples would count the spread of a good ensemble against it.
    course = min(beside, key=lambda course: course.column.metric != "crps", default=None)
    for member in members:
        if course is None or member.label not in course.own:
            continue
        unit = member.time_label.rpartition(" ")[2]
        own, trivial = (
            "unknown" if math.isnan(score.value) else f"{score.value:.4g}"
            for score in (course.own[member.label], course.trivial[TRIVIAL])
        )
        windows, better = member.scored.protocol.get("windows"), skill_statement(member, course)
        told.append(
            f"{member.label}: {title_of(course.column)} {own}, against {trivial} for {TRIVIAL}, "
            f"over {windows} test windows; {better} (lead times in {unit})."
        )
    return told


def protocol_rows(members: Sequence[ScoredMember]) -> list[list[Any]]:
    """Rows of the protocols of the scores, with a column per run."""
    protocols = [scored.protocol for _, scored in members]
    rows = [
        [
            "protocol" if fact == "name" else fact.replace("_", " "),
            *(p.get(fact) for p in protocols),
        ]
        for fact in FACTS
        if any(protocol.get(fact) is not None for protocol in protocols)
    ]
    versions = [", ".join(f"{m} {v}" for m, v in p.get("metrics", {}).items()) for p in protocols]
    return [*rows, ["metrics and their versions", *versions]]


def scored_members(members: Sequence[Member], labels: Sequence[str]) -> list[ScoredMember]:
    """The runs with these labels, if they have scores."""
    return [ScoredMember(m, m.scored) for m in members if m.scored and m.label in labels]
