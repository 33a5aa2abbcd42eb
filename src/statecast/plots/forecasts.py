"""Pictures: frames side by side, animations, scores against lead time, training curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statecast.errors import InputError, require
from statecast.frames import Forecast, Frames
from statecast.io.atomic_files import atomic_path
from statecast.metrics import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray[Any, np.dtype[Any]]

OBSERVED, FORECAST = "#117733", "#AA4499"  # borders of context and forecast, told apart by all
LINES = ("#AA4499", "#888888", "#117733", "#332288", "#DDCC77")  # Tol's muted palette
STYLES = {"mean": "-", "ensemble": "-", "best": ":", "ensemble_mean": "--"}  # of selections
SELECTIONS = {"best": "best sample", "ensemble_mean": "mean of the samples"}
MISSING = "#EE3377"  # NaN
FIELD_MAP, GREY_MAP, SPREAD_MAP = "viridis", "gray", "magma"
RESOLUTION = 150  # dots per inch
MAGNITUDES = ("spread", "error")  # rows drawn from 0 to their own largest value
COLOURS = ("red", "green", "blue")
GREY = "intensity"


def plot_forecast(
    context: Frames,
    forecast: Forecast,
    path: str | Path,
    *,
    target: Frames | None = None,
    sequence: int = 0,
    samples: int = 3,
    columns: int = 10,
    title: str | None = None,
) -> Path:
    """Draw context, truth, forecast mean, samples and spread of one sequence side by side.

    Of a single sample whose truth is known, the absolute error takes the place of the spread.

    Channels named red, green, blue are drawn in colour, other frames by their first channel;
    points are drawn as an image of point against time. NaN is pink.

    Args:
        context: the observed frames.
        forecast: samples of what follows.
        path: `.png` file to write.
        target: what came, where it is known.
        sequence: number of the sequence in the batch.
        samples: rows of single samples, where there are several.
        columns: largest number of forecast frames to show, evenly chosen.
        title: over the picture.

    Errors:
        InputError: there is no such sequence.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw a forecast")
    if not 0 <= sequence < len(context.values):
        raise InputError(
            f"The batch has sequences 0 to {len(context.values) - 1}, got sequence={sequence}."
        )
    rows = forecast_rows(forecast, target, sequence, samples)
    observed = images(context.values[sequence], context.channels)
    if len(context.space) == 1:
        return _plot_points(observed, rows, path, context=context, forecast=forecast, title=title)
    return _plot_frames(
        observed, rows, path, context=context, forecast=forecast, columns=columns, title=title
    )


def forecast_rows(
    forecast: Forecast, target: Frames | None, sequence: int, samples: int
) -> dict[str, Array]:
    """Images (time, …) of each row by its name: truth, mean, samples, spread or error."""
    rows: dict[str, Array] = {}
    if target is not None:
        rows["truth"] = images(target.values[sequence], target.channels)
    several = len(forecast.samples) > 1
    mean = images(forecast.mean[sequence], forecast.channels)
    rows["mean" if several else "forecast"] = mean
    if several:
        for index in range(min(samples, len(forecast.samples))):
            sample = forecast.samples[index, sequence]
            rows[f"sample {index + 1}"] = images(sample, forecast.channels)
        rows["spread"] = images(forecast.std[sequence], forecast.channels[:1])
    elif target is not None:
        error = (forecast.mean[sequence] - target.values[sequence]).abs()
        rows["error"] = images(error, forecast.channels[:1])
    return rows


def images(values: Any, channels: Sequence[str]) -> Array:
    """Frames (time, channel, *space) as (time, y, x), colours (time, y, x, 3), or (time, point)."""
    array: Array = values.detach().cpu().float().numpy()
    if tuple(channels) == COLOURS and array.ndim == 4:
        return array.transpose(0, 2, 3, 1)
    return array[:, 0]


def _plot_frames(
    observed: Array,
    rows: Mapping[str, Array],
    path: str | Path,
    *,
    context: Frames,
    forecast: Forecast,
    columns: int,
    title: str | None,
) -> Path:
    chosen = np.unique(np.linspace(0, len(forecast.times) - 1, columns).round().astype(int))
    shown = np.unique(np.linspace(0, len(observed) - 1, min(5, columns)).round().astype(int))
    height, width = observed.shape[1:3]
    across, down = len(shown) + len(chosen) + 0.4, len(rows)
    side = 0.95
    figure = new_figure(1.0 + side * across, 0.45 + side * down * height / width)
    widths = [1.0] * len(shown) + [0.4] + [1.0] * len(chosen)
    grid = figure.add_gridspec(
        down, len(widths), width_ratios=widths, wspace=0.06, hspace=0.06,
        left=0.75 / figure.get_figwidth(), right=0.995, bottom=0.01,
        top=1 - (0.55 if title else 0.28) / figure.get_figheight(),
    )  # fmt: skip
    scale = seen_range([observed, *[row for name, row in rows.items() if name not in MAGNITUDES]])
    scale = brightness(context.channels, *scale)
    for index, (name, row) in enumerate(rows.items()):
        limits = scale if name not in MAGNITUDES else (0.0, float(np.nanmax(row)) or 1.0)
        first = figure.add_subplot(grid[index, 0])
        first.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        for column, time in enumerate(shown):
            axes = first if column == 0 else figure.add_subplot(grid[index, column])
            if index == 0:
                _image(axes, observed[time], scale, OBSERVED)
                axes.set_title(f"{context.times[int(time)]:g}", fontsize=8, pad=3)
            else:
                _blank(axes)
        for column, time in enumerate(chosen):
            axes = figure.add_subplot(grid[index, len(shown) + 1 + column])
            edge = OBSERVED if name == "truth" else FORECAST
            _image(axes, row[time], limits, edge, spread=name in MAGNITUDES)
            if index == 0:
                axes.set_title(f"+{forecast.times[int(time)]:g}", fontsize=8, pad=3)
    if title:
        figure.suptitle(title, fontsize=10, y=0.995, va="top")
    return write_png(figure, path)


def _plot_points(
    observed: Array,
    rows: Mapping[str, Array],
    path: str | Path,
    *,
    context: Frames,
    forecast: Forecast,
    title: str | None,
) -> Path:
    figure = new_figure(2.2 * len(rows) + 0.8, 3.0)
    scale = seen_range([observed, *[row for name, row in rows.items() if name not in MAGNITUDES]])
    axes_of = figure.subplots(1, len(rows), sharey=True, squeeze=False)[0]
    start = float(context.times[0])
    for axes, (name, row) in zip(axes_of, rows.items(), strict=True):
        spread = name in MAGNITUDES
        image = row if spread else np.concatenate([observed, row])
        first = float(forecast.times[0]) if spread else start
        limits = (0.0, float(np.nanmax(row)) or 1.0) if spread else scale
        colours = _colours(SPREAD_MAP if spread else FIELD_MAP)
        extent = (first - 0.5, float(forecast.times[-1]) + 0.5, image.shape[1] - 0.5, -0.5)
        axes.imshow(
            image.T, aspect="auto", extent=extent, cmap=colours, vmin=limits[0], vmax=limits[1],
            interpolation="nearest",
        )  # fmt: skip
        if not spread:
            axes.axvline(0.5, color="white", linewidth=1.2)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("time / frames", fontsize=8)
        axes.tick_params(labelsize=7)
    axes_of[0].set_ylabel("point", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=10)
    figure.set_layout_engine("tight")
    return write_png(figure, path)


def plot_scores(scores: Mapping[str, Any], path: str | Path) -> Path:
    """Draw scores against lead time, a panel per metric, a line per forecaster.

    Args:
        scores: what `evaluate` returns.
        path: `.png` file to write.

    Of each metric the mean over samples is drawn, and where samples differ also the best one,
    dotted, and the ensemble's mean, dashed. One legend serves all panels.
    """
    require("matplotlib", "plots", "draw scores")
    from matplotlib.lines import Line2D

    forecasters = scores["forecasters"]
    # Scores of whole videos have no value at a lead time.
    metrics = [
        metric
        for metric, found in next(iter(forecasters.values())).items()
        if any(np.isfinite(score["per_lead_time"]).any() for score in found.values())
    ]
    columns = max(1, min(len(metrics), 3))
    rows = max(1, math.ceil(len(metrics) / columns))
    figure = new_figure(3.4 * columns, 2.7 * rows + 0.4)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    legend: dict[str, Any] = {}
    for panel, metric in zip(panels, metrics, strict=False):
        for colour, (name, found) in zip(LINES, forecasters.items(), strict=False):
            drawn: list[list[float]] = []
            for selection, style in STYLES.items():
                values = found.get(metric, {}).get(selection, {}).get("per_lead_time")
                if values is None or values in drawn or not np.isfinite(values).any():
                    continue
                drawn.append(values)
                panel.plot(scores["lead_times"], values, style, color=colour, linewidth=1.5)
                legend.setdefault(name, Line2D([], [], color=colour))
                if style != "-":
                    legend.setdefault(
                        SELECTIONS[selection], Line2D([], [], color="black", ls=style)
                    )
        unit = METRICS[metric].unit if metric in METRICS else ""
        panel.set_title(metric.replace("_", " "), fontsize=10)
        panel.set_ylabel(unit if unit == "dB" else "", fontsize=8)
        panel.set_xlabel("lead time / frames", fontsize=8)
        _tidy(panel)
    for panel in panels[len(metrics) :]:
        panel.axis("off")
    figure.set_layout_engine("constrained")
    columns = max(1, min(len(legend), 2 * columns))
    figure.legend(
        list(legend.values()), list(legend), loc="outside lower center", ncols=columns,
        fontsize=8, frameon=False,
    )  # fmt: skip
    return write_png(figure, path)


def plot_history(
    history: Mapping[str, Sequence[float]],
    path: str | Path,
    *,
    diagnostics: Mapping[str, Sequence[float]] | None = None,
) -> Path:
    """Draw training curves, a panel per logged value.

    Args:
        history: columns of a training's log, as `read_log` returns them.
        path: `.png` file to write.
        diagnostics: columns of its `diagnostics.csv`, drawn after the others.

    Errors:
        InputError: nothing was logged.
    """
    require("matplotlib", "plots", "draw training curves")
    tables = [(history, LINES[0]), (diagnostics or {}, LINES[2])]
    names = [(name, *table) for table in tables for name in table[0] if name != "step"]
    if not names:
        raise InputError("The training has logged nothing yet, so there are no curves to draw.")
    columns = min(len(names), 4)
    rows = math.ceil(len(names) / columns)
    figure = new_figure(2.8 * columns, 2.2 * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel, (name, table, colour) in zip(panels, names, strict=False):
        values = np.asarray(table[name])
        panel.plot(table["step"], values, color=colour, linewidth=1.2)
        # A wide range of positive values reads on a logarithmic axis alone.
        if np.nanmin(values) > 0 and np.nanmax(values) > 30 * np.nanmin(values):
            panel.set_yscale("log")
        panel.set_title(name.replace("_", " "), fontsize=9)
        _tidy(panel)
    for panel in panels[len(names) :]:
        panel.axis("off")
    figure.set_layout_engine("tight")
    return write_png(figure, path)


def write_png(figure: Figure, path: str | Path) -> Path:
    """Write a figure, whole or not at all."""
    with atomic_path(path) as place:
        figure.savefig(place, dpi=RESOLUTION, format="png")
    return Path(path)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size, in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white")


def seen_range(rows: Sequence[Array]) -> tuple[float, float]:
    """Range of what was seen and came: a forecast that leaves it is drawn at its end."""
    values = np.concatenate([row[np.isfinite(row)].ravel() for row in rows[:2]])
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return low, high if high > low else low + 1


def brightness(channels: Sequence[str], low: float, high: float) -> tuple[float, float]:
    """The scale of images: that of brightness, 0 to 1, however dark or pale they are."""
    if tuple(channels) in ((GREY,), COLOURS) and low >= 0 and high <= 1:
        return 0.0, 1.0
    return low, high


def _colours(name: str) -> Any:
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=MISSING)


def _image(
    axes: Axes, image: Array, limits: tuple[float, float], edge: str, *, spread: bool = False
) -> None:
    if image.ndim == 3:
        image = np.clip((image - limits[0]) / (limits[1] - limits[0]), 0, 1)
    binary = limits == (0.0, 1.0)
    colours = _colours(SPREAD_MAP if spread else GREY_MAP if binary else FIELD_MAP)
    axes.imshow(image, cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=edge, linewidth=1.5)


def _blank(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _tidy(panel: Axes) -> None:
    panel.tick_params(labelsize=7)
    panel.spines[["top", "right"]].set_visible(False)
    panel.grid(alpha=0.25, linewidth=0.5)
