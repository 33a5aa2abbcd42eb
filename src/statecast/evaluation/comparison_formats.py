"""A comparison as text, Markdown, LaTeX, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from typing import Any

from statecast.evaluation.comparison import Cell, Column, Comparison
from statecast.evaluation.text_tables import aligned, rounded, with_interval

ABSENT = "–"
LATEX = str.maketrans({
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "≠": r"$\neq$", "²": r"$^2$",
    "–": "--", "−": "$-$",
})  # fmt: skip


def shown(cell: Cell | None) -> str:
    """A score with the half width of its interval, or with the extremes of several seeds."""
    if cell is None:
        return ABSENT
    if cell.extremes is None:
        return with_interval(cell.value, cell.half_width)
    low, high = cell.extremes
    mean, *ends = rounded([cell.value, low, high], (high - low) / 2)
    return f"{mean} ({' to '.join(ends)})"


def as_text(table: Comparison) -> str:
    """Aligned columns; a star marks the best of each, and a number the source of published rows."""
    sources = numbered_sources(table)
    rows = [["", *(column.title for column in table.columns)]]
    for index, row in enumerate(table.rows):
        mark = f" [{sources[row.source]}]" if row.kind == "published" else ""
        cells = [_marked(table, index, column, "{} *") for column in table.columns]
        rows.append([row.label + mark, *cells])
    return "\n".join([*aligned(rows), "", "* best of its column", *_below(table, "{}")])


def as_markdown(table: Comparison) -> str:
    """A Markdown table; the best of each column is bold."""
    sources = numbered_sources(table)
    lines = [
        "| | " + " | ".join(_cell(column.title) for column in table.columns) + " |",
        "|---" * (len(table.columns) + 1) + "|",
    ]
    for index, row in enumerate(table.rows):
        mark = f" [{sources[row.source]}]" if row.kind == "published" else ""
        cells = [_marked(table, index, column, "**{}**") for column in table.columns]
        lines.append("| " + " | ".join([_cell(row.label + mark), *cells]) + " |")
    return "\n".join([*lines, "", *_below(table, "- {}")])


def as_latex(table: Comparison) -> str:
    """A tabular of booktabs; the best of each column is bold, and remarks are comments."""
    sources = numbered_sources(table)
    lines = [
        f"\\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        " & ".join(["", *(_latex(column.title) for column in table.columns)]) + r" \\",
        r"\midrule",
    ]
    for index, row in enumerate(table.rows):
        mark = f" [{sources[row.source]}]" if row.kind == "published" else ""
        cells = [_latex(shown(row.cells.get(c)).replace("-", "−")) for c in table.columns]
        bold = [index in table.best[column] for column in table.columns]
        cells = [rf"\textbf{{{c}}}" if b else c for c, b in zip(cells, bold, strict=True)]
        lines.append(" & ".join([_latex(row.label + mark), *cells]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *_below(table, "% {}")])


def as_csv(table: Comparison) -> str:
    """A line per forecaster: value and half width of each column."""
    stream = io.StringIO()
    names = [".".join(filter(None, column)) for column in table.columns]
    fields = [f"{name}{end}" for name in names for end in ("", ".half_width")]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["forecaster", "kind", *fields, "source"])
    for row in table.rows:
        values: list[Any] = []
        for column in table.columns:
            cell = row.cells.get(column)
            values += ["", ""] if cell is None else [repr(cell.value), _known(cell.half_width)]
        writer.writerow([row.label, row.kind, *values, row.source])
    return stream.getvalue().rstrip("\n")


def as_json(table: Comparison) -> str:
    """JSON rows with their scores, which of them are best, and the remarks; NaN is null."""
    rows = [
        {
            "forecaster": row.label,
            "kind": row.kind,
            "source": row.source,
            "scores": {
                ".".join(filter(None, column)): {
                    "value": _or_null(cell.value),
                    "half_width": _or_null(cell.half_width),
                    **({} if cell.extremes is None else {"extremes": cell.extremes}),
                    "best": index in table.best[column],
                }
                for column, cell in row.cells.items()
            },
        }
        for index, row in enumerate(table.rows)
    ]
    differences = [
        {
            **difference._asdict(),
            **{name: _or_null(getattr(difference, name)) for name in ("low", "high", "p_value")},
            "significant": difference.significant,
        }
        for difference in table.differences
    ]
    content = {
        "rows": rows,
        "remarks": table.remarks,
        "notes": table.notes,
        "differences": differences,
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


FORMATS: dict[str, Callable[[Comparison], str]] = {
    "text": as_text,
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "json": as_json,
}


def numbered_sources(table: Comparison) -> dict[str, int]:
    """Sources of published rows, numbered from 1."""
    sources = dict.fromkeys(row.source for row in table.rows if row.kind == "published")
    return {source: number for number, source in enumerate(sources, start=1)}


def numbered_notes(table: Comparison) -> list[str]:
    """Lines that say where published rows come from, and what holds for them."""
    return [
        f"[{number}] {source}{': ' * (source in table.notes)}{table.notes.get(source, '')}"
        for source, number in numbered_sources(table).items()
    ]


def _below(table: Comparison, form: str) -> list[str]:
    numbered = numbered_notes(table)
    return [form.format(line) for line in [*numbered, *table.remarks, *statements(table)]]


def statements(table: Comparison) -> list[str]:
    """Which differences are significant, and which are not."""
    return [about_differences(table), *map(str, table.differences)] * bool(table.differences)


def about_differences(table: Comparison) -> str:
    """How the intervals and p-values of differences were found, and what they do not say."""
    windows = min((difference.windows for difference in table.differences), default=0)
    seeds = [difference.seeds for difference in table.differences]
    told = (
        f"Differences with their 95 % intervals, paired over {windows} windows and resampled by "
        f"sequence; p-values are corrected for {len(seeds)} differences (Holm)."
    )
    if max(map(max, seeds), default=0) > 1:
        told += " Of models trained several times, they include the spread over seeds."
    if (1, 1) in seeds:
        told += (
            " Those between two single trainings hold for these trainings: another seed "
            "(--train.seed 2) may reverse them. Compare several seeds of each model."
        )
    return told


def _marked(table: Comparison, index: int, column: Column, form: str) -> str:
    text = shown(table.rows[index].cells.get(column))
    return form.format(text) if index in table.best[column] else text


def _cell(text: str) -> str:
    """Text escaped for a Markdown table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _latex(text: str) -> str:
    """Text escaped for LaTeX."""
    return text.translate(LATEX).replace("\n", " ")


def _or_null(value: float) -> float | None:
    return None if math.isnan(value) else value


def _known(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
