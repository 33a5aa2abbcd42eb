"""Pictures of forecasts at points: images of point against time, and curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from statecast.frames import Forecast, Frames
from statecast.plots.curves import BAND, new_figure
from statecast.plots.panels import (
    FORECAST,
    LAND,
    MAGNITUDES,
    MISSING,
    OBSERVED,
    Array,
    Panels,
    axis_values,
    coloured,
    round_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_points(panels: Sequence[Panels], context: Frames, forecast: Forecast) -> Figure:
    """Draw images of point against time, and curves of some points, for each variable."""
    columns = max(len(variable.rows) for variable in panels)
    figure = new_figure(2.1 * columns + 1.2, 4.0 * len(panels) + 0.5)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(
        2 * len(panels), columns, squeeze=False, height_ratios=[2.4, 1.2] * len(panels)
    )
    seen, came = context.times.tolist(), forecast.times.tolist()
    for variable, images, curves in zip(panels, grid[::2], grid[1::2], strict=True):
        draw_point_images(images, variable, context, seen, came)
        draw_point_curves(curves, variable, seen, came)
    handles, names = grid[1, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=7,
                  frameon=False)  # fmt: skip
    return figure


def draw_point_images(
    line: Sequence[Axes], variable: Panels, context: Frames, seen: list[float], came: list[float]
) -> None:
    """Draw an image of point against time for each row of a variable."""
    count = len(variable.land)
    last = [row for row in variable.rows if row not in MAGNITUDES][-1]  # shows their colour bar
    for axes, (row, values) in zip(line, variable.rows.items(), strict=False):
        magnitude = row in MAGNITUDES
        whole = values if magnitude else np.concatenate([variable.observed, values])
        missing = LAND if row == "truth" else MISSING
        colours = coloured(whole.T, variable.scale_of(row), missing=missing)
        times = interval_edges(came if magnitude else [*seen, *came])
        axes.pcolormesh(times, np.arange(count + 1) - 0.5, colours, rasterized=True)
        axes.axvline((seen[-1] + came[0]) / 2, color="white", linewidth=1.2)
        axes.set(xlim=interval_edges([*seen, *came])[[0, -1]], ylim=(count - 0.5, -0.5), yticks=[])
        axes.set_title(" ".join(filter(None, (row, variable.label))), fontsize=8, parse_math=False)
        axes.tick_params(labelsize=6)
        if magnitude or row == last:
            bar = axes.figure.colorbar(variable.scale_of(row).mappable(), ax=axes)
            bar.ax.tick_params(labelsize=6)
    for axes in line[len(variable.rows) :]:
        axes.set_axis_off()
    name, places = axis_values(context.coordinates, 0)
    in_order = variable.order is None or (variable.order == np.arange(count)).all()
    words = name or "point" if in_order else "point, by its last observed value"
    line[0].set_ylabel(words, fontsize=7, parse_math=False)
    if in_order:
        places = np.arange(count) if places is None else places
        line[0].set_yticks(*round_ticks(places, degrees="°" in name))


def draw_point_curves(
    line: Sequence[Axes], variable: Panels, seen: list[float], came: list[float]
) -> None:
    """Draw curves of equally spaced points: observed, truth, and forecast with its spread."""
    rows, count = variable.rows, len(variable.land)
    name = "mean" if "mean" in rows else "forecast"
    for axes, place in zip(line, np.linspace(0, count - 1, 2 * len(line) + 1)[1::2], strict=True):
        at = round(place)
        known = np.concatenate([variable.observed, rows.get("truth", np.empty((0, count)))])[:, at]
        told = "observed, and truth" if "truth" in rows else "observed"
        axes.plot([*seen, *came][: len(known)], known, color=OBSERVED, linewidth=1.2, label=told)
        middle = rows[name][:, at]
        axes.plot(came, middle, "--", color=FORECAST, linewidth=1.2, label=name)
        if "spread" in rows:
            half = rows["spread"][:, at]
            axes.fill_between(
                came, middle - half, middle + half, color=FORECAST, alpha=BAND, linewidth=0,
                label="mean ± spread",
            )  # fmt: skip
        axes.axvline((seen[-1] + came[0]) / 2, color="0.7", linewidth=0.8)
        number = at if variable.order is None else variable.order[at]
        axes.set_title(f"point {number}", fontsize=7)
        axes.set_xlabel("time / frames", fontsize=7)
        axes.tick_params(labelsize=6)
        axes.spines[["top", "right"]].set_visible(False)
    line[0].set_ylabel(variable.label or "value", fontsize=7, parse_math=False)


def interval_edges(times: Sequence[float]) -> Array:
    """Edges of intervals around times, halfway between them."""
    inner = np.array(times)
    steps = np.diff(inner) if len(inner) > 1 else np.ones(1)
    middles = (inner[1:] + inner[:-1]) / 2
    return np.array([inner[0] - steps[0] / 2, *middles, inner[-1] + steps[-1] / 2])
