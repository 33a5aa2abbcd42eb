"""Measured rows as a table for people, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns are as wide as their widest cell."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def seconds(value: float) -> str:
    """Seconds, or milliseconds of short times, in 3 digits."""
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def share(part: float | None, whole: float | None) -> str:
    """Percent; a dash where either is unknown."""
    return "–" if not part or not whole else f"{100 * part / whole:.0f} %"
