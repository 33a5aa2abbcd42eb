"""Charts of a report: each drawn once as SVG that follows the page's colours, and once as PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from statecast.plots.forecasts import LINES, write_png
from statecast.reports.page.page import Html, element, escaped, joined

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REFERENCE = 1  # number of the grey in LINES: trivial forecasts
OWN = (0, 2, 3, 4)  # numbers of the colours of runs
STYLES = ("-", "--", ":", "-.")
DASHES = {"-": "", "--": "5 3", ":": "1.5 2.5", "-.": "5 2 1.5 2"}  # of the legend
WIDTH, HEIGHT = 3.7, 2.5  # inches
# Colours that stand for the page's own until the SVG is written.
INK, RULE = "#010203", "#040506"
DARK, LIGHT = "#222222", "#cccccc"  # of the same in a PNG
BAND = 0.16  # opacity of an interval
WIDE_RANGE = 30.0  # ratio from which positive values are drawn on a logarithmic axis


class Line(NamedTuple):
    """One line of a chart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0  # in LINES
    style: str = "-"
    half_widths: Sequence[float] | None = None  # of a band around it
    stepped: bool = False  # as the outline of bars between x and x + 1


class Chart(NamedTuple):
    """A panel: its lines and its words."""

    name: str  # of its files; letters, digits and dashes
    title: str
    lines: Sequence[Line]
    x_label: str
    y_label: str = ""
    level: float | None = None  # a value to compare with, drawn across
    caption: str = ""


def colour_of(run: int) -> int:
    """Number of the colour of a run."""
    return OWN[run % len(OWN)]


def style_of(run: int) -> str:
    """Line style of a run: another one after each round of colours."""
    return STYLES[run // len(OWN) % len(STYLES)]


def plain_name(text: str) -> str:
    """A name of letters, digits and dashes, for files; names in files of others may hold any."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text)[:120]


def grid_of(charts: Sequence[Chart], folder: Path) -> Html:
    """Charts side by side, under one legend; each is written to the folder as PNG, too."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for chart in charts:
        write_png(drawn(chart, DARK, LIGHT, legend=True), folder / f"{chart.name}.png")
        words = element("figcaption", element("strong", chart.title), chart.caption)
        whole = element("figure", words, svg_of(chart))
        figures.append(element("div", whole, attributes={"class": "chart"}))
    return joined([legend_of(charts), element("div", *figures, attributes={"class": "grid"})])


def legend_of(charts: Sequence[Chart]) -> Html:
    """What colours and dashes mean, once for all charts; nothing where there is one line."""
    lines = {(line.label, line.colour, line.style): line for c in charts for line in c.lines}
    if len(lines) < 2:
        return Html("")
    items = []
    for line in lines.values():
        swatch = element(
            "svg",
            element(
                "line",
                attributes={
                    "x1": "0", "y1": "4", "x2": "24", "y2": "4", "stroke-width": "2.5",
                    "stroke-dasharray": DASHES[line.style],
                    "style": f"stroke: var(--line-{line.colour})",
                },
            ),
            attributes={"viewBox": "0 0 24 8", "aria-hidden": "true"},
        )  # fmt: skip
        items.append(element("li", swatch, line.label))
    return element("ul", *items, attributes={"class": "legend"})


def drawn(chart: Chart, ink: str, rule: str, *, legend: bool) -> Figure:
    """A chart as a figure of Matplotlib."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(WIDTH, HEIGHT + (0.3 if legend else 0)))
    panel = drawing.subplots()
    for line in chart.lines:
        _draw_line(panel, line)
    if chart.level is not None:
        panel.axhline(chart.level, color=ink, linewidth=0.8, linestyle=(0, (1, 2)))
    values = np.concatenate([np.asarray(line.y, dtype=float) for line in chart.lines])
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > WIDE_RANGE * values.min():
        panel.set_yscale("log")
    _dress(panel, ink, rule)
    panel.set_xlabel(chart.x_label, fontsize=8, color=ink, parse_math=False)
    panel.set_ylabel(chart.y_label, fontsize=8, color=ink, parse_math=False)
    if legend:
        panel.set_title(chart.title, fontsize=9, color=ink, parse_math=False)
        labelled = [line for line in panel.get_lines() if line.get_gid()]
        if len(labelled) > 1:
            names = [str(line.get_gid()) for line in labelled]
            box = panel.legend(labelled, names, fontsize=6.5, frameon=False)
            for text in box.get_texts():
                text.set_parse_math(False)
    # Fixed margins: a layout that fits them would draw everything twice.
    top = 0.89 if legend else 0.96
    drawing.subplots_adjust(left=0.18, right=0.98, bottom=0.19, top=top)
    return drawing


def _draw_line(panel: Axes, line: Line) -> None:
    x, y = np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float)
    colour = LINES[line.colour]
    if line.stepped:
        x, y = np.append(x, x[-1:] + 1), np.append(y, y[-1:])
    (path,) = panel.plot(
        x, y, line.style, color=colour, linewidth=1.6, label="",
        drawstyle="steps-post" if line.stepped else "default",
        marker="o" if len(x) == 1 else "", markersize=3,
    )  # fmt: skip
    path.set_gid(line.label)  # a label of Matplotlib's own may not begin with an underscore
    if line.half_widths is not None:
        width = np.asarray(line.half_widths, dtype=float)
        panel.fill_between(x, y - width, y + width, color=colour, alpha=BAND, linewidth=0)


def _dress(panel: Axes, ink: str, rule: str) -> None:
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set(color=ink, linewidth=0.6)
    panel.tick_params(labelsize=7, color=ink, labelcolor=ink, width=0.6, length=3, which="both")
    panel.yaxis.get_offset_text().set(fontsize=7, color=ink)
    panel.grid(color=rule, linewidth=0.5, axis="y")
    panel.set_axisbelow(True)


def svg_of(chart: Chart) -> Html:
    """A chart as inline SVG in the page's colours and letters."""
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": chart.name}):
        made = drawn(chart, INK, RULE, legend=False)
        for line in made.axes[0].get_lines():
            line.set_gid(None)  # names of runs are no identifiers
        made.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return Html(_inlined(stream.getvalue(), chart))


def _inlined(text: str, chart: Chart) -> str:
    """What Matplotlib wrote, as a part of a page: no prologue, and identifiers of its own."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"<style.*?</style>", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href").replace(' xml:space="preserve"', "")
    view = re.search(r'viewBox="([^"]*)"', text)
    assert view is not None
    label = escaped(_described(chart))
    start = f'<svg viewBox="{view[1]}" role="img" aria-label="{label}">'
    text = re.sub(r"<svg[^>]*>", lambda _: start, text, count=1)
    prefix = f"{chart.name}-"
    text = re.sub(r'\bid="', f'id="{prefix}', text)
    text = re.sub(r'(url\(#|href="#)', lambda m: m[1] + prefix, text)
    text = text.replace(INK, "currentColor").replace(RULE, "var(--rule)")
    for number, colour in enumerate(LINES):
        text = text.replace(colour.lower(), f"var(--line-{number})")
    text = re.sub(r"font: ([^;\"']*px) [^;\"]*", r"font: \1 var(--sans)", text)
    return re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", text)


def _described(chart: Chart) -> str:
    """A chart in words, for those who do not see it: first and last value of every line."""
    told = []
    for line in chart.lines:
        if len(line.y):
            told.append(f"{line.label}: from {line.y[0]:.3g} to {line.y[-1]:.3g}")
    return f"Chart of {chart.title} against {chart.x_label}. {'; '.join(told)}"
