"""Charts of a report, each an SVG file that the page embeds."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from statecast.io.atomic_files import atomic_path
from statecast.plots.curves import LINES, Chart, Style, add_legend, draw_chart, new_figure

REFERENCE = LINES[1]  # grey, for baselines
OWN = (LINES[0], *LINES[2:])  # colours of runs
STYLES: tuple[Style, ...] = ("-", "--", ":", "-.")
LONG_LABEL = 24  # letters beyond which a legend has one column
LEGEND_ROW = 0.17  # height in inches
WORDS = ["system-ui", "Arial", "DejaVu Sans"]  # fonts of the reader's system


class Picture(NamedTuple):
    """A file in the report's folder of pictures."""

    file: str
    alternative: str  # text in place of the picture
    caption: str = ""


def plain_name(text: str) -> str:
    """A name for a file, made only of letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text)[:120]


def drawn(name: str, chart: Chart, folder: Path, caption: str = "") -> Picture:
    """Write a chart as SVG with selectable text and a transparent background."""
    import matplotlib as mpl

    columns = 1 if max(len(line.label) for line in chart.lines) > LONG_LABEL else 2
    below = LEGEND_ROW * math.ceil(len(chart.lines) / columns) if len(chart.lines) > 1 else 0.0
    height = 2.7 + below
    figure = new_figure(3.7, height)
    panel = figure.subplots()
    draw_chart(panel, chart)
    add_legend(figure, chart.lines, loc="lower center", columns=columns)
    # Fixed margins: an automatic layout would draw everything twice.
    figure.subplots_adjust(
        left=0.18, right=0.98, bottom=(0.49 + below) / height, top=1 - 0.3 / height
    )
    path = folder / f"{plain_name(name)}.svg"
    with (
        mpl.rc_context({"svg.fonttype": "none", "font.sans-serif": WORDS}),
        atomic_path(path) as place,
    ):
        figure.savefig(place, format="svg", transparent=True)
    told = [f"{x.label}: from {x.y[0]:.3g} to {x.y[-1]:.3g}" for x in chart.lines if len(x.y)]
    words = f"Chart of {chart.title} against {chart.x_label}. {'; '.join(told)}"
    return Picture(path.name, words, caption)
