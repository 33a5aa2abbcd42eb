"""Cells of numbers and aligned columns, as text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

MOST_DECIMALS = 6  # smaller half widths are written with an exponent
ROUNDING = 1e-12  # relative half width that is rounding alone


def with_interval(value: float, half_width: float) -> str:
    """A score with the half width of its interval, unless that is NaN."""
    if math.isnan(half_width):
        return f"{value:.4g}"
    half_width = 0.0 if half_width < ROUNDING * abs(value) else half_width
    return " ± ".join(rounded([value, half_width], half_width))


def rounded(values: Sequence[float], half_width: float) -> list[str]:
    """Numbers with the decimals that two digits of a half width have.

    A half width of one digit, as papers print it, keeps that digit.
    """
    if not 0 < half_width < math.inf:
        return [f"{value:.4g}" for value in values]
    digits = 1 if half_width == float(f"{half_width:.0e}") else 2
    exponent = int(f"{half_width:.{digits - 1}e}".partition("e")[2])
    decimals = max(0, digits - 1 - exponent)
    if decimals > MOST_DECIMALS:
        return [f"{value:.4g}" for value in values]
    return [f"{round(value, decimals) + 0.0:.{decimals}f}" for value in values]  # no -0.00


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines of text with aligned columns."""
    found = list(rows)
    widths = [max(map(len, column)) for column in zip(*found, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in found
    ]
