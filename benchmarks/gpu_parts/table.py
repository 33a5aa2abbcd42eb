"""A table of a part of `gpu.py`, and what its budget left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from measuring.table import markdown


@dataclass
class Table:
    """Rows of cells, for people and for JSON."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)  # names of rows that time was missing for

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = markdown(self.header, self.rows)
        left = ", ".join(self.left_out)
        return f"{lines}\n\nNo time was left for: {left}." if left else lines

    def record(self) -> dict[str, Any]:
        """The table as JSON takes it."""
        rows = [dict(zip(self.header, row, strict=True)) for row in self.rows]
        return {"rows": rows, "left_out": self.left_out}
