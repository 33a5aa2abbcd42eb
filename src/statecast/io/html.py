"""HTML that notebooks show for an object."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape


def html_table(title: str, rows: Mapping[str, object]) -> str:
    """A title above a table of names and values, escaped."""
    lines = [f"<tr><th>{escape(n)}</th><td>{escape(str(v))}</td></tr>" for n, v in rows.items()]
    return f"<p><code>{escape(title)}</code></p><table>{''.join(lines)}</table>"
