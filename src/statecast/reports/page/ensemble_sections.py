"""Parts of a report about samples: best of N, ranks, coverage, and what studies found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statecast.evaluation.analyses import STUDIES
from statecast.evaluation.comparison import CALIBRATION
from statecast.evaluation.protocols.published_scores import published_for
from statecast.reports.page.charts import Chart, Line, grid_of, plain_name
from statecast.reports.page.page import Html, code, element, joined, linked, paragraph, table
from statecast.reports.page.runs import Member
from statecast.reports.page.score_sections import LEAD_TIME, unit_of


def ensemble_part(members: Sequence[Member], folder: Path, stem: str) -> Html:
    """Best-of-N curves, rank histogram and coverage; what is missing is said with its command."""
    drawing = [m for m in members if m.scored and m.scored.protocol.get("samples", 1) > 1]
    if not drawing:
        return paragraph("These models give one forecast, so there are no samples to look into.")
    charts = [
        *best_of_n_charts(drawing, stem),
        *rank_charts(drawing, stem),
        *coverage_charts(drawing, stem),
    ]
    return joined([grid_of(charts, folder) if charts else "", *missing(drawing)])


def details(member: Member, metric: str) -> dict[str, Any]:
    """What does not fit a score of a run's own model."""
    assert member.scored is not None
    found = member.scored.scores.get("details", {}).get(member.scored.model, {})
    return dict(found.get(metric, {}))


def best_of_n_charts(members: Sequence[Member], stem: str) -> list[Chart]:
    """What the best of 1, 2, … samples scores on average, per metric."""
    lines: dict[str, list[Line]] = {}
    for member in members:
        assert member.scored is not None
        for metric in member.scored.scores["forecasters"][member.scored.model]:
            curve = details(member, metric).get("best_of_n")
            if curve:
                line = member.line(range(1, len(curve) + 1), curve)
                lines.setdefault(metric, []).append(line)
    caveat = "It grows with N for any forecast that spreads, right or wrong."
    return [
        Chart(
            name=plain_name(f"{stem}-best-of-n-{metric}"),
            title=f"{metric}, best of N samples",
            lines=found,
            x_label="N",
            y_label=unit_of(metric, members[0].run.spec.unit),
            caption="" if index else caveat,
        )
        for index, (metric, found) in enumerate(lines.items())
    ]


def rank_charts(members: Sequence[Member], stem: str) -> list[Chart]:
    """Rank of the truth among the samples, over all lead times."""
    lines, levels = [], set()
    for member in members:
        histogram = details(member, "rank_histogram").get("histogram")
        if histogram:
            mean = np.asarray(histogram, dtype=float).mean(axis=0)
            levels.add(1 / len(mean))
            lines.append(member.line(range(len(mean)), mean.tolist(), stepped=True))
    if not lines:
        return []
    return [
        Chart(
            name=f"{stem}-ranks",
            title="Rank of the truth among the samples",
            lines=lines,
            x_label="rank",
            y_label="share of values",
            level=levels.pop() if len(levels) == 1 else None,
            caption="Flat, at the dotted line, where the truth is like a sample; high at both "
            "ends where samples spread too little.",
        )
    ]


def coverage_charts(members: Sequence[Member], stem: str) -> list[Chart]:
    """Share of truths inside the central intervals of the samples, against lead time."""
    charts = []
    for level in ("0.5", "0.9"):
        lines = []
        for member in members:
            inside = details(member, "coverage").get(f"inside_{level}")
            if inside and member.scored is not None:
                lines.append(member.line(member.scored.scores["lead_times"], inside))
        if lines:
            charts.append(
                Chart(
                    name=plain_name(f"{stem}-coverage-{level.replace('.', '')}"),
                    title=f"Truths inside the central {100 * float(level):.0f} % of samples",
                    lines=lines,
                    x_label=LEAD_TIME,
                    y_label="share",
                    level=float(level),
                    caption="A calibrated forecast lies on the dotted line.",
                )
            )
    return charts


def missing(members: Sequence[Member]) -> list[Html]:
    """Metrics of calibration that a run was not scored by, and the command that does."""
    told = []
    for member in members:
        assert member.scored is not None
        scores = member.scored.scores
        present = scores["forecasters"][member.scored.model]
        known = {*present, *scores.get("not_computed", {})}
        absent = [metric for metric in CALIBRATION if metric not in known]
        if absent:
            metrics = ", ".join([*present, *absent])
            command = f'statecast evaluate {member.run.folder} --evaluate.metrics "[{metrics}]"'
            lead = f"{member.label} was not scored by {', '.join(absent)}; this does it: "
            told.append(paragraph(lead, code(command), kind="missing"))
    return told


def studies_part(members: Sequence[Member]) -> Html:
    """What each study found, in its own lines, and published scores of the same."""
    blocks: list[object] = []
    for member in members:
        studies = member.scored.scores.get("studies", {}) if member.scored else {}
        for name, result in studies.items():
            blocks.append(element("h4", f"{member.label}: {name}"))
            blocks.append(element("pre", element("code", "\n".join(lines_of(name, result)))))
            assert member.scored is not None
            blocks.append(published_part(member.scored.protocol.get("name"), name))
    return joined(blocks)


def published_part(protocol: str | None, study: str) -> Html:
    """Published scores of a study under a protocol; nothing where there are none."""
    scores = published_for(protocol, study=study) if protocol else []
    if not scores:
        return Html("")
    rows = [
        [s.model, s.metric, element("data", f"{s.value:g}", attributes={"value": repr(s.value)})]
        for s in scores
    ]
    sources = "; ".join(dict.fromkeys(score.source for score in scores))
    return joined(
        [
            table(["published", "metric", "score"], rows, caption="Published scores of the same."),
            paragraph(linked(sources), kind="note"),
        ]
    )


def lines_of(name: str, result: dict[str, Any]) -> list[str]:
    """A study's result by its own words; as it is where this version cannot read it."""
    try:
        return STUDIES[name]().lines(result)
    except (KeyError, TypeError, ValueError, AttributeError):
        return json.dumps(result, indent=1, ensure_ascii=False).splitlines()
