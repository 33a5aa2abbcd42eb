"""Pictures of the latent space: contents × dynamics, and dynamics between those of two videos.

Green borders are of data, purple ones of frames that the model made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from statecast.animations import _bytes, _framed, _page, write_gif
from statecast.errors import require
from statecast.frames import Forecast, Frames
from statecast.latent_space import Exchange
from statecast.plots import (
    FORECAST,
    OBSERVED,
    _blank,
    _figure,
    _image,
    _scale,
    images,
    write_png,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

Array = np.ndarray[Any, np.dtype[Any]]
Strip = list[Array | None]  # images at successive times; None where there is nothing to show

SIDE = 0.62  # inches of a frame
CELL_FRAMES = 16  # frames across a picture of exchanges, roughly
POINTS = 4  # a cell of points is as wide as so many frames


class Videos(NamedTuple):
    """What was observed of some sequences."""

    context: Frames
    target: Frames | None  # what came next, where it is known
    names: tuple[str, ...]  # one per sequence

    def one(self, index: int) -> Videos:
        """One of the sequences."""
        chosen = slice(index, index + 1)
        target = None if self.target is None else self.target.select(chosen)
        return Videos(self.context.select(chosen), target, self.names[chosen])

    def strip(self, sequence: int, times: Sequence[float]) -> Strip:
        """Images of a sequence at each time; None where it was not observed."""
        known: dict[float, Array] = {}
        for frames in (self.context, self.target):
            if frames is not None:
                seen = images(frames.values[sequence], frames.channels)
                known |= dict(zip(frames.times.tolist(), seen, strict=True))
        return [known.get(time) for time in times]

    def last(self, sequence: int) -> Array:
        """Image of the last observed frame of a sequence."""
        return images(self.context.values[sequence], self.context.channels)[-1]


def plot_exchange(
    exchange: Exchange, path: str | Path, *, contents: Videos, dynamics: Videos
) -> Path:
    """Draw a grid: a row per content, and per dynamics a strip of frames at successive times.

    The first row shows the videos that the dynamics are of, the first column the last observed
    frame of those that the contents are of. The first sample is drawn.

    Args:
        exchange: what to draw.
        path: `.png` file to write.
        contents: where the contents are from.
        dynamics: where the dynamics are from.

    Errors:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw an exchange")
    rows, columns = exchange.samples.shape[1:3]
    points = len(dynamics.context.space) == 1
    width = POINTS if points else max(3, CELL_FRAMES // columns)
    times = exchange.times.tolist()
    chosen = strided(len(times), len(times) if points else width)
    width = width if points else len(chosen)
    limits = limits_of(contents, dynamics)
    side = SIDE * aspect(dynamics.context)
    figure = _figure(1.1 + SIDE * (1.3 + columns * (width + 0.3)), 0.65 + side * 1.08 * (rows + 1))
    grid = figure.add_gridspec(
        rows + 1, columns + 1, width_ratios=[1.0, *[float(width)] * columns],
        wspace=0.3 * (columns + 1) / (columns * width + 1), hspace=0.08,
        left=0.95 / figure.get_figwidth(), right=0.995, bottom=0.02,
        top=1 - 0.5 / figure.get_figheight(),
    )  # fmt: skip
    draw_strip(figure, grid[0, 0], [None], limits, OBSERVED, label="data")
    for column in range(columns):
        strip = dynamics.strip(column, times)
        title = f"dynamics of {dynamics.names[column]}"
        heads = [f"{times[i]:g}" for i in chosen]
        draw_strip(
            figure, grid[0, column + 1], [strip[i] for i in chosen], limits, OBSERVED,
            heads=heads, title=title,
        )  # fmt: skip
    for row in range(rows):
        label = f"content of\n{contents.names[row]}"
        still: Strip = [contents.last(row)]
        draw_strip(figure, grid[row + 1, 0], still, limits, OBSERVED, label=label)
        for column in range(columns):
            made = images(exchange.samples[0, row, column], exchange.channels)
            place = grid[row + 1, column + 1]
            draw_strip(figure, place, [made[i] for i in chosen], limits, FORECAST)
    return write_png(figure, path)


def plot_interpolation(
    forecasts: Sequence[Forecast],
    weights: Sequence[float],
    path: str | Path,
    *,
    first: Videos,
    second: Videos,
    columns: int = 12,
) -> Path:
    """Draw a row per weight at successive times, between the videos that they lie between.

    The first sequence and the first sample are drawn.

    Args:
        forecasts: one per weight, as `interpolate` gives them.
        weights: of the second video.
        path: `.png` file to write.
        first: the video of weight 0, whose content is shown.
        second: the video of weight 1.
        columns: largest number of frames to show, equally spaced; of points all are shown.

    Errors:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw an interpolation")
    times, points = forecasts[0].times.tolist(), len(first.context.space) == 1
    chosen = strided(len(times), len(times) if points else columns)
    limits = limits_of(first, second)
    across = 2 * POINTS if points else len(chosen)
    side = SIDE * aspect(first.context)
    figure = _figure(1.1 + SIDE * across * 1.06, 0.4 + side * 1.1 * (len(forecasts) + 2.4))
    grid = figure.add_gridspec(
        len(forecasts) + 4, 1, height_ratios=[1.0, 0.2, *[1.0] * len(forecasts), 0.2, 1.0],
        hspace=0.08, left=1.05 / figure.get_figwidth(), right=0.995, bottom=0.02,
        top=1 - 0.3 / figure.get_figheight(),
    )  # fmt: skip
    heads = [f"{times[i]:g}" for i in chosen]
    for videos, row in ((first, 0), (second, len(forecasts) + 3)):
        strip = videos.strip(0, times)
        draw_strip(
            figure, grid[row, 0], [strip[i] for i in chosen], limits, OBSERVED,
            label=videos.names[0], heads=heads if row == 0 else None,
        )  # fmt: skip
    for row, (weight, forecast) in enumerate(zip(weights, forecasts, strict=True)):
        made = images(forecast.samples[0, 0], forecast.channels)
        place = grid[row + 2, 0]
        label = f"weight {weight:.3g}"
        draw_strip(figure, place, [made[i] for i in chosen], limits, FORECAST, label=label)
    return write_png(figure, path)


def animate_exchange(
    exchange: Exchange,
    path: str | Path,
    *,
    contents: Videos,
    dynamics: Videos,
    frames_per_second: float = 6.0,
) -> Path:
    """Write a `.gif` of the grid of `plot_exchange`, with all cells moving; arguments as there."""
    rows, columns = exchange.samples.shape[1:3]
    limits, times = limits_of(contents, dynamics), exchange.times.tolist()
    header = [dynamics.strip(column, times) for column in range(columns)]
    blank: Strip = [None] * len(times)
    panels = [[bordered(strip, limits, OBSERVED) for strip in [blank, *header]]]
    for row in range(rows):
        still: Strip = [contents.last(row)] * len(times)
        cells = [images(exchange.samples[0, row, j], exchange.channels) for j in range(columns)]
        made = [bordered(list(cell), limits, FORECAST) for cell in cells]
        panels.append([bordered(still, limits, OBSERVED), *made])
    return animate(panels, path, frames_per_second)


def animate_interpolation(
    forecasts: Sequence[Forecast],
    path: str | Path,
    *,
    first: Videos,
    second: Videos,
    frames_per_second: float = 6.0,
) -> Path:
    """Write a `.gif`: the first video, each weight, the second video; see `plot_interpolation`."""
    limits, times = limits_of(first, second), forecasts[0].times.tolist()
    ends = [bordered(videos.strip(0, times), limits, OBSERVED) for videos in (first, second)]
    made = [
        bordered(list(images(forecast.samples[0, 0], forecast.channels)), limits, FORECAST)
        for forecast in forecasts
    ]
    return animate([[ends[0], *made, ends[1]]], path, frames_per_second)


def animate(
    panels: list[list[list[Array | None]]], path: str | Path, frames_per_second: float
) -> Path:
    """Write rows of panels, each of them moving, as a `.gif`; what is None is white."""
    shape = next(p.shape for row in panels for panel in row for p in panel if p is not None)
    white = np.full(shape, 255, np.uint8)
    pictures = []
    for time in range(len(panels[0][0])):
        now = [[panel[time] for panel in row] for row in panels]
        pictures.append(_page([[white if p is None else p for p in row] for row in now]))
    return write_gif(pictures, path, frames_per_second)


def bordered(strip: Strip, limits: tuple[float, float], edge: str) -> list[Array | None]:
    """Images as bytes with a border."""
    return [None if image is None else _framed(_bytes(image, *limits), edge) for image in strip]


def limits_of(*videos: Videos) -> tuple[float, float]:
    """Range of all data that is shown."""
    sources = [frames for video in videos for frames in (video.context, video.target)]
    known = [images(s.values.flatten(0, 1), s.channels).ravel() for s in sources if s is not None]
    return _scale([np.concatenate(known)])


def aspect(frames: Frames) -> float:
    """Height of a frame over its width; 1 for points."""
    return 1.0 if len(frames.space) == 1 else frames.space[0] / frames.space[1]


def strided(length: int, count: int) -> list[int]:
    """Numbers of at most `count` equally spaced frames out of `length`, the first one included."""
    return list(range(0, length, -(-length // count)))


def draw_strip(
    figure: Figure,
    place: SubplotSpec,
    strip: Strip,
    limits: tuple[float, float],
    edge: str,
    *,
    label: str | None = None,
    heads: Sequence[str] | None = None,
    title: str | None = None,
) -> None:
    """Draw images side by side; of points, one picture of point against time."""
    known = [image for image in strip if image is not None]
    if known and known[0].ndim == 1:
        cells: list[Array | None] = [np.stack(known).T]
        heads = heads and [f"{heads[0]} … {heads[-1]}"]
    else:
        cells = strip
    grid = place.subgridspec(1, len(cells), wspace=0.06)
    panels = [figure.add_subplot(grid[0, column]) for column in range(len(cells))]
    for panel, image in zip(panels, cells, strict=True):
        if image is None:
            _blank(panel)
        else:
            _image(panel, image, limits, edge)
    if cells is not strip:  # what is not known of a strip of points stays white at its end
        panels[0].set(aspect="auto", xlim=(-0.5, len(strip) - 0.5))
    for panel, head in zip(panels, heads or (), strict=False):
        panel.set_title(head, fontsize=8, pad=3)
    if label:
        panels[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8)
    if title:
        box = place.get_position(figure)
        height = box.y1 + 0.25 / figure.get_figheight()
        figure.text((box.x0 + box.x1) / 2, height, title, ha="center", fontsize=9)
