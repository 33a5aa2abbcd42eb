"""Pictures of forecasts: context, truth, mean, samples and spread, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from statecast.errors import require
from statecast.frames import Forecast, Frames
from statecast.io.fields.coordinates import Coordinates
from statecast.plots.curves import new_figure, written
from statecast.plots.panels import (
    FORECAST,
    LAND,
    MAGNITUDES,
    OBSERVED,
    Array,
    Panels,
    Scale,
    axis_values,
    coloured,
    dates_of,
    has_bar,
    lead_of,
    panels_of,
    round_ticks,
    south_first,
    strided,
)
from statecast.plots.points import plot_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 0.95  # inches: width of a frame
LEFT, RIGHT, TOP, HEAD = 1.05, 0.75, 0.15, 0.42  # inches around frames, and above each variable
NEAR, APART = 0.05, 0.4  # inches between frames, and between context and forecast
NAME = 0.7  # inches between them if the name of a row stands there
SHOWN_CONTEXT = 5  # frames


def plot_forecast(
    context: Frames,
    forecast: Forecast,
    path: str | Path | None = None,
    *,
    target: Frames | None = None,
    sequence: int = 0,
    samples: int = 3,
    columns: int = 10,
    centred: bool = False,
    title: str | None = None,
) -> Figure:
    """Draw context, truth, forecast mean, samples and spread of one sequence; return the figure.

    For a single sample with a known truth, the absolute error replaces the spread.

    Each variable has its own rows; channels named red, green, blue are drawn in colour. Maps are
    drawn north up, with coordinates and dates. Points that are never observed, as on land, are
    grey, and NaN in a forecast is pink. Point observations are drawn as images of point against
    time, above curves of some points; scattered points are sorted by their last observed value.

    Args:
        context: the observed frames.
        forecast: samples of the frames that follow.
        path: `.png`, `.pdf` or `.svg` file to write; None writes no file.
        target: the observations at the forecast's times; None if unknown.
        sequence: index of the sequence in the batch.
        samples: largest number of rows of single samples.
        columns: largest number of forecast frames to show, equally spaced.
        centred: whether colours are centred on 0, as for anomalies.
        title: title above the picture.

    Errors:
        InputError: the sequence does not exist, or the path has another ending.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw a forecast")
    panels = panels_of(context, forecast, target, sequence, samples, centred=centred)
    if len(context.space) == 1:
        figure = plot_points(panels, context, forecast)
    else:
        figure = plot_frames(panels, context, forecast, columns)
    if title:
        free = figure.get_layout_engine() is None
        y = 1 - 0.03 / figure.get_figheight() if free else None
        figure.suptitle(title, fontsize=10, y=y, va="top", parse_math=False)
    return written(figure, path)


class Sheet:
    """A figure laid out in inches from its top left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self.figure = new_figure(width, height)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes at a place."""
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )

    def word(self, left: float, middle: float, text: str, *, align: str, weight: str) -> None:
        """Words beside a place, never parsed as a formula."""
        self.figure.text(
            left / self.width, 1 - middle / self.height, text, ha=align, va="center", fontsize=8,
            weight=weight, parse_math=False,
        )  # fmt: skip

    def bar(self, scale: Scale, top: float, height: float) -> None:
        """A colour bar at the right edge."""
        axes = self.axes(self.width - RIGHT + 0.1, top, 0.09, height)
        bar = self.figure.colorbar(scale.mappable(), cax=axes)
        bar.ax.tick_params(labelsize=6, length=2)
        bar.ax.locator_params(nbins=4 if height < 1 else 7)
        bar.outline.set_visible(False)


def plot_frames(
    panels: Sequence[Panels], context: Frames, forecast: Forecast, columns: int
) -> Figure:
    """Draw frames at successive times from left to right, a block of rows per variable."""
    last = len(context.times) - 1
    seen = [last - i for i in strided(last + 1, min(SHOWN_CONTEXT, columns))][::-1]
    came = strided(len(forecast.times), columns)
    height = SIDE * float(np.clip(context.space[0] / context.space[1], 0.4, 2.5))
    known = "truth" in panels[0].rows
    split = LEFT + len(seen) * (SIDE + NEAR) + (APART if known else NAME)
    rows = sum(len(variable.rows) for variable in panels)
    sheet = Sheet(
        split + len(came) * (SIDE + NEAR) + RIGHT, HEAD * len(panels) + rows * (height + NEAR) + TOP
    )
    labels = context.coordinates or forecast.coordinates
    top = TOP
    for variable in panels:
        sheet.word(0.1, top, variable.label, align="left", weight="bold")
        top += HEAD - 0.1
        for column, time in enumerate(seen):
            axes = sheet.axes(LEFT + column * (SIDE + NEAR), top, SIDE, height)
            image = coloured(variable.observed[time], variable.scale, missing=LAND)
            draw_frame(axes, image, OBSERVED, head(labels, context.times[time].item()))
            if column == 0:
                label_axes(axes, labels)
        first = LEFT - 0.45 * (labels is not None) - 0.1
        if not known:
            sheet.word(first, top + height / 2, "context", align="right", weight="normal")
        for row, name in enumerate(variable.rows):
            left = first if name == "truth" else split - 0.1
            sheet.word(left, top + height / 2, name, align="right", weight="normal")
            for column, time in enumerate(came):
                axes = sheet.axes(split + column * (SIDE + NEAR), top, SIDE, height)
                edge = OBSERVED if name == "truth" else FORECAST
                above = "" if row else head(labels, forecast.times[time].item())
                draw_frame(axes, variable.colours(name, time), edge, above)
            if name in MAGNITUDES:
                sheet.bar(variable.scale_of(name), top, height)
            elif row == 0 and has_bar(variable):  # for all rows of this scale
                alike = len(set(variable.rows) - set(MAGNITUDES))
                sheet.bar(variable.scale, top, alike * (height + NEAR) - NEAR)
            top += height + NEAR
        top += 0.1
    return sheet.figure


def head(labels: Coordinates | None, time: float) -> str:
    """Time of a frame after the last observed one, and below it its date if known."""
    return "\n".join([lead_of(labels, time), *dates_of(labels, [time])])


def draw_frame(axes: Axes, image: Array, edge: str, title: str) -> None:
    """Draw the colours of a frame, with a border and a title."""
    axes.imshow(image, interpolation="nearest", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=6.5, pad=3)
    for spine in axes.spines.values():
        spine.set(color=edge, linewidth=1.5)


def label_axes(axes: Axes, labels: Coordinates | None) -> None:
    """Mark round coordinates along each side of a map, if it has coordinates."""
    for dimension, axis in ((0, axes.yaxis), (1, axes.xaxis)):
        name, values = axis_values(labels, dimension)
        if values is None:
            continue
        shown = values[::-1] if dimension == 0 and south_first(labels) else values
        axis.set_ticks(*round_ticks(shown, degrees="°" in name))
        axis.set_tick_params(labelsize=5.5, length=2, pad=1)
        axis.set_label_text(name, fontsize=5.5, parse_math=False)
        axis.labelpad = 1
