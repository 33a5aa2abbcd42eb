"""Cells of numbers and aligned columns, as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def with_interval(value: float, half_width: float) -> str:
    """A score with the half width of its interval, unless that is NaN."""
    interval = "" if math.isnan(half_width) else f" ± {half_width:.2g}"
    return f"{value:.4g}{interval}"


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines of text with aligned columns."""
    found = list(rows)
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in found
    ]
