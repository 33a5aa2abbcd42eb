"""Tables and numbers for people."""

from __future__ import annotations

from collections.abc import Sequence

SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "B": ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB")),
}


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


def amount(value: float, unit: str) -> str:
    """Seconds (`s`) or bytes (`B`) in 3 digits, at a scale that suits them."""
    scale, name = next(
        ((scale, name) for scale, name in SCALES[unit] if value >= scale), SCALES[unit][-1]
    )
    return f"{value / scale:.3g} {name}"


def share(part: float, whole: float | None) -> str:
    """Percent; empty where there is nothing to compare."""
    if not part or not whole:
        return ""
    percent = 100 * part / whole
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %"
