"""Line charts: scores against lead time, training curves, and charts of reports."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from statecast.errors import InputError, require
from statecast.io.atomic_files import atomic_path
from statecast.metrics import METRICS
from statecast.metrics.base import written_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Style = Literal["-", "--", ":", "-."]
LINES = ("#AA4499", "#888888", "#117733", "#332288", "#DDCC77")  # Tol's muted palette
STYLES: dict[str, Style] = {
    "mean": "-",
    "ensemble": "-",
    "best": ":",
    "ensemble_mean": "--",
}  # of selections
SELECTIONS = {"best": "best sample", "ensemble_mean": "mean of the samples"}
MODEL_WIDTH = 3.0  # points
RESOLUTION = 150  # dots per inch
WIDE_RANGE = 30.0  # ratio of positive values above which the axis is logarithmic
BAND = 0.16  # opacity of an interval
STEP = re.compile(r"([\d.]+) (year|month|day|hour|minute)s?")  # a time step with a unit


class Line(NamedTuple):
    """One line of a chart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str = LINES[0]
    style: Style = "-"
    half_widths: Sequence[float | None] | None = None  # of a band around y
    width: float = 1.5  # of the line, in points
    stepped: bool = False  # drawn as the outline of bars centred on x
    band: tuple[Sequence[float], Sequence[float]] | None = None  # its lower and upper edge


class Chart(NamedTuple):
    """Lines in one panel, with its labels."""

    title: str
    lines: Sequence[Line]
    x_label: str
    y_label: str = ""
    level: float | None = None  # value of a horizontal reference line
    diagonal: bool = False  # whether to draw y = x as a reference


def draw_chart(panel: Axes, chart: Chart) -> None:
    """Draw a chart into a panel; names are never parsed as formulas."""
    from matplotlib.ticker import MaxNLocator

    for line in chart.lines:
        draw_line(panel, line)
    if chart.level is not None:
        panel.axhline(chart.level, color="black", linewidth=0.8, linestyle=(0, (1, 2)))
    if chart.diagonal:
        panel.axline((0, 0), slope=1, color="black", linewidth=0.8, linestyle=(0, (1, 2)))
    values = np.concatenate([np.asarray(line.y, dtype=float) for line in chart.lines])
    values = values[np.isfinite(values)]
    wide = len(values) and 0 < WIDE_RANGE * values.min() < values.max()
    if wide and not chart.diagonal:
        panel.set_yscale("log")
    else:
        panel.ticklabel_format(axis="y", useOffset=False)  # an offset would cover the title
        if (values == values.round()).all():
            panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    positions = np.concatenate([np.asarray(line.x, dtype=float) for line in chart.lines])
    if (positions == positions.round()).all():
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    panel.set_title(chart.title, fontsize=9, parse_math=False)
    panel.set_xlabel(chart.x_label, fontsize=8, parse_math=False)
    panel.set_ylabel(chart.y_label, fontsize=8, parse_math=False)
    panel.tick_params(labelsize=7, which="both")
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25, linewidth=0.5)


def draw_line(panel: Axes, line: Line) -> None:
    """Draw a line, and the band around it."""
    x, y = np.asarray(line.x, dtype=float), np.asarray(line.y, dtype=float)
    panel.plot(
        x, y, line.style, color=line.colour, linewidth=line.width,
        drawstyle="steps-mid" if line.stepped else "default",
        marker="o" if len(x) == 1 else "", markersize=3,
    )  # fmt: skip
    if line.half_widths is not None and len(line.half_widths) == len(y):
        width = np.array(line.half_widths, dtype=float)  # None becomes NaN
        panel.fill_between(x, y - width, y + width, color=line.colour, alpha=BAND, linewidth=0)
    if line.band is not None:
        low, high = (np.array(end, dtype=float) for end in line.band)
        panel.fill_between(x, low, high, color=line.colour, alpha=BAND, linewidth=0)


def add_legend(
    place: Axes | Figure,
    lines: Sequence[Line],
    *,
    loc: Literal["best", "lower center", "outside lower center"] = "best",
    columns: int = 1,
) -> None:
    """Add a legend if lines have several labels, colours or styles."""
    from matplotlib.lines import Line2D

    styles = {(line.label, line.colour, line.style): None for line in lines}
    if len(styles) < 2:
        return
    handles = [Line2D([], [], color=colour, linestyle=style) for _, colour, style in styles]
    names = [name for name, *_ in styles]
    legend = place.legend(handles, names, loc=loc, ncols=columns, frameon=False, fontsize=7)
    for text in legend.get_texts():
        text.set_parse_math(False)


def lead_time_axis(lead_times: Sequence[float], step: str | None) -> tuple[list[float], str]:
    """Lead times in the data's unit of time, or in frames, and the label of their axis.

    Args:
        lead_times: lead times in frame intervals.
        step: time between frames, such as `6 hours`, from the card of the data; None if unknown.
    """
    found = STEP.fullmatch(str(step))
    size, unit = (float(found[1]), f"{found[2]}s") if found else (1.0, "frames")
    return [size * time for time in lead_times], f"lead time / {unit}"


def score_charts(scores: Mapping[str, Any]) -> Iterator[Chart]:
    """A chart for each metric with values at lead times; metrics of whole videos have none."""
    data = scores.get("protocol", {}).get("data", {})
    times, label = lead_time_axis(scores["lead_times"], data.get("step"))
    model = next(iter(scores["forecasters"]))
    of_fields = scores.get("unit", "1") != "1"
    for metric in scores["forecasters"][model]:
        lines: list[Line] = []
        for colour, (name, found) in zip(cycle(LINES), scores["forecasters"].items(), strict=False):
            drawn: list[list[float]] = []
            # Wide, so that the model is seen beneath a baseline with the same scores.
            width = MODEL_WIDTH if name == model else 1.5
            selections = found.get(metric, {})
            if of_fields and "ensemble_mean" in selections:
                selections = {"mean": selections["ensemble_mean"]}
            for selection, style in STYLES.items():
                score = selections.get(selection, {})
                values = score.get("per_lead_time")
                if values is None or values in drawn or not np.isfinite(values).any():
                    continue
                drawn.append(values)
                title = f"{name}, {SELECTIONS[selection]}" if selection in SELECTIONS else name
                widths = score.get("half_widths")
                lines.append(Line(title, times, values, colour, style, widths, width))
        if lines:
            known = METRICS.get(metric)
            title = written_out(metric) + (f" {known.arrow()}" if known else "")
            unit = unit_of(known.unit if known else "", scores.get("unit", "1"))
            level = 1.0 if metric == "spread_skill" else None
            yield Chart(title, lines, label, unit, level)


def unit_of(kind: str, unit: str) -> str:
    """Unit of a metric of values with some unit; empty if it has none."""
    if kind == "dB":
        return kind
    if unit == "1" or not kind.startswith("data"):
        return ""
    return f"({unit})²" if kind == "data²" else unit


def plot_scores(scores: Mapping[str, Any], path: str | Path | None = None) -> Figure:
    """Draw scores against lead time, a panel per metric, a line per forecaster; return the figure.

    For each metric, a solid line shows the mean over samples. If samples differ, a dotted line
    shows the best sample and a dashed line the mean of the samples. Scores of
    values with a unit, such as fields, are shown for the mean of the samples alone. Bands are 95 %
    intervals.

    Args:
        scores: the result of `Evaluation.to_json`.
        path: `.png`, `.pdf` or `.svg` file to write; None writes no file.

    Errors:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw scores")
    figure, legend = chart_grid(list(score_charts(scores)), columns=3, width=3.4, height=2.7)
    figure.set_layout_engine("constrained")
    add_legend(figure, legend, loc="outside lower center", columns=4)
    return written(figure, path)


def plot_history(
    history: Mapping[str, Sequence[float]],
    path: str | Path | None = None,
    *,
    diagnostics: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Draw training curves, a panel per logged value; return the figure.

    Args:
        history: columns of a training's log, as `read_log` returns them.
        path: `.png`, `.pdf` or `.svg` file to write; None writes no file.
        diagnostics: columns of its `diagnostics.csv`, drawn after the others.

    Errors:
        InputError: the training has logged nothing.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw training curves")
    charts = [
        Chart(written_out(name), [Line(name, table["step"], values, colour)], label)
        for table, colour, label in (
            (history, LINES[0], "step"),
            (diagnostics or {}, LINES[2], "step, of validation windows"),
        )
        for name, values in table.items()
        if name != "step"
    ]
    if not charts:
        raise InputError("The training has logged nothing yet. Train the run first.")
    figure, _ = chart_grid(charts, columns=4, width=2.8, height=2.2)
    figure.set_layout_engine("tight")
    return written(figure, path)


def chart_grid(
    charts: Sequence[Chart], *, columns: int, width: float, height: float
) -> tuple[Figure, list[Line]]:
    """A figure of charts, each `width` × `height` inches, and all their lines."""
    columns = max(1, min(len(charts), columns))
    rows = max(1, math.ceil(len(charts) / columns))
    figure = new_figure(width * columns, height * rows + 0.4)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, chart in zip(panels, charts, strict=False):
        draw_chart(panel, chart)
    for panel in panels[len(charts) :]:
        panel.axis("off")
    return figure, [line for chart in charts for line in chart.lines]


def written(figure: Figure, path: str | Path | None) -> Figure:
    """Write a figure if a path is given; return the figure."""
    if path is not None:
        write_figure(figure, path)
    return figure


def write_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure as `.png`, `.pdf` or `.svg`, as the path ends, whole or not at all.

    Errors:
        InputError: the path has another ending.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in ("png", "pdf", "svg"):
        raise InputError(f"A picture is written as .png, .pdf or .svg, got {Path(path).name!r}.")
    with atomic_path(path) as place:
        figure.savefig(place, dpi=RESOLUTION, format=kind)
    return Path(path)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")
