"""Published scores, shipped as YAML, to compare with runs of the same protocol."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

import yaml


class PublishedScore(NamedTuple):
    """One number of a published table."""

    model: str
    protocol: str
    analysis: str | None  # what was scored, such as `content_swap`; None for forecasts
    metric: str
    selection: str | None  # how samples were combined; None if there is only one way
    value: float
    half_width: float | None  # of the 95 % interval; None if not published
    source: str  # paper and table
    note: str | None


@cache
def published_scores() -> tuple[PublishedScore, ...]:
    """All published scores, in the order of their tables."""
    found: list[PublishedScore] = []
    for entry in sorted(
        (resources.files("statecast.evaluation.protocols") / "published").iterdir(),
        key=lambda e: e.name,
    ):
        if entry.name.endswith(".yaml"):
            content = yaml.safe_load(entry.read_text(encoding="utf-8"))
            for table in content["tables"]:
                found += _of_table(table, content["source"])
    return tuple(found)


def published_for(protocol: str, *, analysis: str | None = None) -> list[PublishedScore]:
    """Published scores of a protocol, for forecasts or for an analysis.

    Args:
        protocol: name of the protocol.
        analysis: name of the analysis; None for scores of forecasts.
    """
    return [s for s in published_scores() if (s.protocol, s.analysis) == (protocol, analysis)]


def _of_table(table: dict[str, Any], source: str) -> Iterator[PublishedScore]:
    for model, cells in table["rows"].items():
        for metric, numbers in cells.items():
            yield PublishedScore(
                model=model,
                protocol=table["protocol"],
                analysis=table.get("analysis"),
                metric=metric,
                selection=table["selections"][metric],
                value=float(numbers[0]),
                half_width=float(numbers[1]) if len(numbers) > 1 else None,
                source=f"{source}; {table['about']}",
                note=table.get("note"),
            )
