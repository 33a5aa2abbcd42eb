"""Parts of a report about scores: their table, their course in lead time, and where skill ends."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from statecast.evaluation.comparison import (
    CALIBRATION,
    Cell,
    Column,
    Comparison,
    compare,
    is_higher_better,
)
from statecast.evaluation.comparison_formats import numbered_sources, shown
from statecast.metrics import METRICS
from statecast.reports.page.charts import REFERENCE, STYLES, Chart, Line, grid_of, plain_name
from statecast.reports.page.page import (
    Html,
    code,
    element,
    escaped,
    joined,
    linked,
    paragraph,
    table,
)
from statecast.reports.page.runs import Member
from statecast.reports.page.skill import SkillHorizon, skill_horizon

LEAD_TIME = "lead time / frames"
TRIVIAL = "persistence"
FACTS = (
    "name", "split", "windows", "available_windows", "context", "horizon", "samples", "checkpoint",
    "seed", "digest",
)  # fmt: skip


class Course(NamedTuple):
    """A metric and the forecasts that have it at each lead time."""

    column: Column
    own: dict[int, dict[str, Any]]  # number of the member, and its score
    trivial: dict[str, dict[str, Any]]  # name of the trivial forecast, and its score


def protocol_part(members: Sequence[Member]) -> Html:
    """What was scored, and how: a column per run."""
    protocols = [member.scored.protocol for member in members if member.scored]
    rows = []
    for fact in FACTS:
        values = [p.get(fact) for p in protocols]
        if any(value is not None for value in values):
            cells = ["–" if v is None else code(v) if fact == "digest" else v for v in values]
            rows.append([fact.replace("_", " ").replace("name", "protocol"), *cells])
    versions = [", ".join(f"{m} {v}" for m, v in p.get("metrics", {}).items()) for p in protocols]
    rows.append(["metrics and their versions", *versions])
    head = ["", *(member.label for member in members)] if len(members) > 1 else []
    return table(head, rows, caption="Protocol of the scores.", kind="facts")


def score_table(found: Comparison) -> Html:
    """Scores with the half widths of their 95 % intervals; published ones below."""
    sources = numbered_sources(found)
    rows = []
    for index, row in enumerate(found.rows):
        label: object = row.label
        if row.kind == "published":
            label = element(
                "span",
                row.label,
                element("sup", str(sources[row.source])),
                attributes={"class": "published"},
            )
        cells = [_cell(row.cells.get(c), index in found.best[c]) for c in found.columns]
        rows.append([label, *cells])
    whole = table(
        ["", *(column.title.replace("_", " ") for column in found.columns)],
        rows,
        caption="Scores with the half width of their 95 % interval over windows. ● marks the best "
        "of each column; ↑ higher is better, ↓ lower is better.",
        kind="scores",
    )
    notes = [joined([f"[{n}] ", linked(source)], "") for source, n in sources.items()]
    notes += [linked(remark) for remark in found.remarks]
    return joined([whole, *(paragraph(note, kind="note") for note in notes)])


def _cell(cell: Cell | None, best: bool) -> Html:
    """A cell of the table, with the value in full for machines."""
    if cell is None:
        return element("td", "–")
    value, _, interval = shown(cell).partition(" ± ")
    content: list[object] = [element("data", value, attributes={"value": repr(cell.value)})]
    if interval:
        content.append(element("span", f" ± {interval}", attributes={"class": "interval"}))
    if best:
        content.append(element("span", " (best)", attributes={"class": "hidden"}))
    return element("td", *content, attributes={"class": "best"} if best else None)


def compared(members: Sequence[Member]) -> Comparison:
    """The table of a group of runs."""
    return compare([member.scored for member in members if member.scored])


def not_computed_part(members: Sequence[Member]) -> Html:
    """Metrics and studies that could not be computed, and why."""
    reasons: dict[str, None] = {}
    for member in members:
        assert member.scored is not None
        for name, reason in member.scored.scores.get("not_computed", {}).items():
            reasons[f"{name} was not computed: {reason}."] = None
    return joined([paragraph(reason, kind="note") for reason in reasons])


def courses(members: Sequence[Member], columns: Sequence[Column]) -> Iterator[Course]:
    """Scores against lead time, metric by metric."""
    for column in columns:
        own: dict[int, dict[str, Any]] = {}
        trivial: dict[str, dict[str, Any]] = {}
        for member in members:
            assert member.scored is not None
            for name, scores in member.scored.scores["forecasters"].items():
                score = scores.get(column.metric, {}).get(column.selection)
                if score is None or len(score["per_lead_time"]) != len(
                    member.scored.scores["lead_times"]
                ):
                    continue
                if name == member.scored.model:
                    own[member.number] = score
                else:
                    trivial.setdefault(name, score)
        if own:
            yield Course(column, own, trivial)


def lead_time_part(members: Sequence[Member], found: Comparison, folder: Path, stem: str) -> Html:
    """Scores against lead time: a chart per metric, a line per run, trivial forecasts in grey."""
    charts = []
    banded = False
    for course in courses(members, found.columns):
        lines = list(_lines(members, course))
        banded = banded or any(line.half_widths is not None for line in lines)
        name = "-".join(filter(None, (stem, course.column.metric, course.column.selection)))
        charts.append(
            Chart(
                name=plain_name(name),
                title=course.column.title.replace("_", " "),
                lines=lines,
                x_label=LEAD_TIME,
                y_label=unit_of(course.column.metric, members[0].run.spec.unit),
                level=1.0 if course.column.metric == "spread_skill" else None,
            )
        )
    lead = "A point is the mean over windows at one lead time."
    if banded:
        lead += " Bands are 95 % intervals."
    return joined([paragraph(lead), grid_of(charts, folder)])


def unit_of(metric: str, unit: str) -> str:
    """Unit of a metric of data in a unit; empty where it has none."""
    own = METRICS[metric].unit if metric in METRICS else "1"
    found = {"data": unit, "data²": "1" if unit == "1" else f"({unit})²"}.get(own, own)
    return "" if found == "1" else found


def _lines(members: Sequence[Member], course: Course) -> Iterator[Line]:
    for member in members:
        score = course.own.get(member.number)
        if score is not None and member.scored is not None:
            yield member.line(
                member.scored.scores["lead_times"],
                score["per_lead_time"],
                half_widths=band_of(score),
            )
    if course.column.metric in CALIBRATION:
        return  # what has no samples has no calibration
    times = next(m.scored.scores["lead_times"] for m in members if m.scored)
    for index, (name, score) in enumerate(course.trivial.items()):
        style = STYLES[(index + 1) % len(STYLES)]
        values = score["per_lead_time"]
        yield Line(name, times, values, REFERENCE, style, half_widths=band_of(score))


def band_of(score: dict[str, Any]) -> Sequence[float] | None:
    """Half widths at each lead time, where the scores have them."""
    widths = score.get("half_widths")
    if not widths or len(widths) != len(score["per_lead_time"]):
        return None
    known = [math.nan if width is None else float(width) for width in widths]
    return known if any(math.isfinite(width) for width in known) else None


def skill_part(members: Sequence[Member], found: Comparison) -> Html:
    """The lead time at which each run stops to beat persistence, metric by metric."""
    rows = []
    for course in courses(members, found.columns):
        if course.column.metric in CALIBRATION or TRIVIAL not in course.trivial:
            continue
        told = [horizon_of(member, course) for member in members]
        statements = ["–" if horizon is None else horizon.statement for horizon in told]
        rows.append([course.column.title.replace("_", " "), *statements])
    if not rows:
        return paragraph("No run has scores beside those of persistence.", kind="missing")
    lead = paragraph(
        "The first lead time at which a forecast is no longer better than persistence, the last "
        "observed frame, by the means over windows; no test of significance."
    )
    head = ["score", *(member.label for member in members)]
    return joined([lead, table(head, rows, caption="Where each run stops beating persistence.")])


def horizon_of(member: Member, course: Course) -> SkillHorizon | None:
    """Horizon of skill of a run; None where it lacks the score."""
    if member.scored is None or member.number not in course.own:
        return None
    own = member.scored.scores["forecasters"].get(TRIVIAL, {}).get(course.column.metric, {})
    reference = own.get(course.column.selection, course.trivial[TRIVIAL])
    return skill_horizon(
        member.scored.scores["lead_times"],
        course.own[member.number]["per_lead_time"],
        reference["per_lead_time"],
        higher_is_better=is_higher_better(course.column.metric),
    )


def reasons_part(reasons: Sequence[str], first: str) -> Html:
    """Why some runs stand apart."""
    if not reasons:
        return Html("")
    items = [element("li", reason) for reason in reasons]
    lead = joined(["These scores must not be compared with those of ", escaped(first), ":"], "")
    return joined([paragraph(lead), element("ul", *items)])
