"""Scores as JSON, as a file of a run folder, and as lines of text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from statecast.io.atomic_files import write_text
from statecast.io.sealed_json import sealed
from statecast.metrics import METRICS
from statecast.metrics.base import Score

SCORES_NAME = "scores.json"


def as_json(scores: Mapping[str, Mapping[str, Score]]) -> dict[str, Any]:
    """Scores as numbers and lists."""
    return {
        metric: {selection: score_json(score) for selection, score in selections.items()}
        for metric, selections in scores.items()
    }


def score_json(score: Score) -> dict[str, Any]:
    """A score as numbers and lists; half widths per lead time only where there are any."""
    found = {
        "per_lead_time": score.per_lead_time.tolist(),
        "value": score.value,
        "half_width": score.half_width,
    }
    if score.half_widths is not None:
        found["half_widths"] = score.half_widths.tolist()
    return found


def write_scores(scores: Mapping[str, Any], folder: str | Path) -> Path:
    """Write `scores.json` into a folder; NaN and infinities are written as such names."""
    return write_text(Path(folder) / SCORES_NAME, sealed(scores))


def table(scores: Mapping[str, Any]) -> str:
    """The scores as lines of text: a row per metric and selection, a column per forecaster."""
    names = list(scores["forecasters"])
    single = scores["protocol"]["samples"] == 1  # then all selections are the same
    rows = [["score", *names]]
    for metric, selections in scores["forecasters"][names[0]].items():
        for selection in list(selections)[: 1 if single else None]:
            row = [f"{metric} {METRICS[metric].arrow()}" + ("" if single else f" {selection}")]
            for name in names:
                found = scores["forecasters"][name].get(metric, {}).get(selection)
                row.append("–" if found is None else number(found))
            rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def number(score: Mapping[str, float]) -> str:
    """A score with the half width of its interval, where there is one."""
    interval = "" if math.isnan(score["half_width"]) else f" ± {score['half_width']:.2g}"
    return f"{score['value']:.4g}{interval}"
