"""Charts of samples: best of N, PIT, reliability, coverage; and results of analyses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statecast.evaluation.analyses import ANALYSES
from statecast.evaluation.comparability import flat
from statecast.evaluation.comparison import CALIBRATION
from statecast.evaluation.protocols.published_scores import published_for
from statecast.plots.curves import Chart, Line
from statecast.reports.page.charts import Picture, drawn
from statecast.reports.page.scores import ScoredMember, unit_of

LEVELS = ("0.5", "0.9")  # of central intervals
PIT_BINS = 20  # at most; an ensemble has one rank more than samples
SELDOM = 1e-5  # share of forecasts below which a probability is not drawn
BEST = "The best of N samples improves with N for any forecast with spread, good or bad."
FLAT = (
    "Flat, at the dotted line, if the truth behaves like a sample; high at both ends if samples "
    "spread too little."
)
EVENTS = (
    "How often values exceeded the thresholds of the Brier score, against the share of samples "
    "that did: flatter than the dotted line if forecasts are overconfident."
)
RELIABLE = (
    "How often the truth lies in a central interval of the samples, against how often it should: "
    "below the dotted line if samples spread too little."
)
COVERED = "A calibrated forecast lies on the dotted line."


def ensemble_charts(members: Sequence[ScoredMember], folder: Path, stem: str) -> list[Picture]:
    """Charts of everything that the scores say about samples."""
    found = [
        *((*named, BEST) for named in best_of_n(members)),
        ("pit", pit_chart(members), FLAT),
        ("events", event_chart(members), EVENTS),
        ("reliability", reliability_chart(members), RELIABLE),
        *((f"coverage-{level}", coverage_chart(members, level), COVERED) for level in LEVELS),
    ]
    return [
        drawn(f"{stem}-{name}", chart, folder, caption)
        for name, chart, caption in found
        if chart.lines
    ]


def details(scored: ScoredMember, metric: str) -> dict[str, Any]:
    """Details beside a score of a run's own model."""
    found = scored.scored.scores.details.get(scored.scored.model, {})
    return dict(found.get(metric, {}))


def best_of_n(members: Sequence[ScoredMember]) -> Iterator[tuple[str, Chart]]:
    """Average score of the best of 1, 2, … samples, per metric."""
    lines: dict[str, list[Line]] = {}
    for found in members:
        for metric in found.scored.scores.forecasters[found.scored.model]:
            curve = details(found, metric).get("best_of_n") or []
            line = found.member.line(range(1, len(curve) + 1), curve)
            lines.setdefault(metric, []).extend([line] if curve else [])
    for metric, drawing in lines.items():
        unit = unit_of(metric, members[0].member.run.spec.unit)
        yield f"best-of-n-{metric}", Chart(f"{metric}, best of N samples", drawing, "N", unit)


def histograms(
    members: Sequence[ScoredMember],
) -> Iterator[tuple[ScoredMember, np.ndarray[Any, Any]]]:
    """Fractions of truths at each rank among the samples, over all lead times."""
    for found in members:
        histogram = details(found, "rank_histogram").get("histogram")
        if histogram:
            yield found, np.asarray(histogram, dtype=float).mean(axis=0)


def pit_chart(members: Sequence[ScoredMember]) -> Chart:
    """Density of the truth's rank among the samples, for any number of samples."""
    lines = []
    for found, shares in histograms(members):
        places, density = pit(shares)
        lines.append(found.member.line(places, density)._replace(stepped=True))
    return Chart("PIT histogram", lines, "share of samples below the truth", "density", level=1.0)


def pit(histogram: np.ndarray[Any, Any]) -> tuple[list[float], list[float]]:
    """Probability integral transform from a histogram of ranks: middles of bins, and densities.

    Rank r of M samples covers r/(M + 1) to (r + 1)/(M + 1) evenly; bins that cut through it share
    its weight.
    """
    bins = min(PIT_BINS, len(histogram))
    edges = np.linspace(0, 1, bins + 1)
    below = np.concatenate([[0.0], histogram.cumsum()])
    found = np.diff(np.interp(edges, np.linspace(0, 1, len(below)), below)) * bins
    return ((edges[1:] + edges[:-1]) / 2).tolist(), found.tolist()


def event_chart(members: Sequence[ScoredMember]) -> Chart:
    """Observed frequency of events against their forecast probability."""
    lines = []
    for found in members:
        observed = details(found, "brier").get("observed") or []
        issued = details(found, "brier").get("issued") or []
        shown = [
            (place / (len(observed) - 1), frequency)
            for place, (frequency, share) in enumerate(zip(observed, issued, strict=True))
            if share > SELDOM
        ]
        if len(shown) > 1:
            lines.append(found.member.line(*map(list, zip(*shown, strict=True))))
    title = "Reliability of events"
    return Chart(title, lines, "forecast probability", "observed frequency", diagonal=True)


def reliability_chart(members: Sequence[ScoredMember]) -> Chart:
    """Observed against nominal fractions of truths in central intervals of the samples."""
    lines = [found.member.line(*reliability(shares)) for found, shares in histograms(members)]
    return Chart(
        "Reliability of intervals", lines, "nominal fraction", "observed fraction", diagonal=True
    )


def reliability(histogram: np.ndarray[Any, Any]) -> tuple[list[float], list[float]]:
    """Nominal and observed fractions of truths in central intervals, from a rank histogram."""
    count = len(histogram)
    inside = [slice(left, count - left) for left in range((count - 1) // 2, -1, -1)]
    nominal = [(part.stop - part.start) / count for part in inside]
    return nominal, [float(histogram[part].sum()) for part in inside]


def coverage_chart(members: Sequence[ScoredMember], level: str) -> Chart:
    """Fraction of truths inside a central interval of the samples, against lead time."""
    lines = [
        found.member.line(found.times, inside)
        for found in members
        if (inside := details(found, "coverage").get(f"inside_{level}"))
    ]
    title = f"Truths inside the central {100 * float(level):.0f} % of samples"
    label = members[0].time_label
    return Chart(title, lines, label, "fraction", level=float(level))


def missing_metrics(found: ScoredMember) -> tuple[str, str] | None:
    """Calibration metrics that a run's scores lack, and the command that computes them."""
    scores, model = found.scored.scores, found.scored.model
    present = scores.forecasters[model]
    said = flat(scores.not_computed)
    known = {*present, *(name.removeprefix(f"{model}.") for name in said)}
    absent = [metric for metric in CALIBRATION if metric not in known]
    if not absent or found.scored.protocol.get("samples", 1) == 1:
        return None
    metrics = ", ".join([*present, *absent])
    command = f'statecast evaluate {found.member.run.folder} --evaluate.metrics "[{metrics}]"'
    return f"{found.label} has no scores of {', '.join(absent)}. Compute them:", command


def analyses(members: Sequence[ScoredMember]) -> Iterator[tuple[str, str, list[list[Any]], str]]:
    """For each analysis: title, lines of text, published scores as rows, and their sources."""
    for found in members:
        protocol = found.scored.protocol.get("name")
        for name, result in found.scored.scores.analyses.items():
            published = published_for(protocol, analysis=name) if protocol else []
            rows = [[score.model, score.metric, score.value] for score in published]
            sources = "; ".join(dict.fromkeys(score.source for score in published))
            yield f"{found.label}: {name}", "\n".join(lines_of(name, result)), rows, sources


def lines_of(name: str, result: dict[str, Any]) -> list[str]:
    """An analysis's result as text, or as JSON if this version cannot read it."""
    try:
        return ANALYSES[name]().lines(result)
    except (KeyError, TypeError, ValueError, AttributeError):
        return json.dumps(result, indent=1, ensure_ascii=False).splitlines()
