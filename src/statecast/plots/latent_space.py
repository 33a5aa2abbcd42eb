"""Pictures of the latent space: contents × dynamics, and dynamics between those of two videos.

Data have green borders, frames made by the model purple ones.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from statecast.errors import require
from statecast.frames import Forecast, Frames
from statecast.io.atomic_files import atomic_path
from statecast.models.latent_space import ContentSwapTable
from statecast.plots.animations import Sheet, enlarged, framed, page, write_repeating
from statecast.plots.panels import (
    FORECAST,
    OBSERVED,
    Array,
    Scale,
    coloured,
    images,
    scale_of,
    strided,
)

Strip = list[Array | None]  # images at successive times; None for a blank
Row = tuple[str, Strip, str]  # label, images, colour of their borders

CELL_FRAMES = 16  # approximate number of frames across a picture of content swaps
POINTS_WIDE, POINTS_TIMES = 3, 12  # width over height of images of points, and fewest times
LONGEST = 17  # letters that fit into the margin, or above a strip
MARGIN, HEAD = 170, 84  # pixels for labels on the left, and above the first row
NEAR, APART = 5, 24  # pixels between frames, and between groups of them


class Videos(NamedTuple):
    """Observed frames of some sequences."""

    context: Frames
    target: Frames | None  # the frames that followed; None if unknown
    names: tuple[str, ...]  # one per sequence

    def one(self, index: int) -> Videos:
        """One of the sequences."""
        chosen = slice(index, index + 1)
        target = None if self.target is None else self.target.select(chosen)
        return Videos(self.context.select(chosen), target, self.names[chosen])

    def strip(self, sequence: int, times: Sequence[float]) -> Strip:
        """Images of a sequence at each time; None for times without an observation."""
        known: dict[float, Array] = {}
        for frames in (self.context, self.target):
            if frames is not None:
                seen = images(frames.values[sequence], frames.channels)
                known |= dict(zip(frames.times.tolist(), seen, strict=True))
        return [known.get(time) for time in times]

    def strip_or_last(self, sequence: int, times: Sequence[float]) -> Strip:
        """As `strip`; if no time was observed, the last observed frame at each time."""
        found = self.strip(sequence, times)
        if any(image is not None for image in found):
            return found
        return [self.last(sequence)] * len(times)

    def last(self, sequence: int) -> Array:
        """Image of the last observed frame of a sequence."""
        return images(self.context.values[sequence], self.context.channels)[-1]


def plot_content_swap(
    table: ContentSwapTable, path: str | Path, *, contents: Videos, dynamics: Videos
) -> Path:
    """Draw a grid with a row per content and, per dynamics, a strip of successive frames.

    The first row shows the videos that give the dynamics. The first column shows the last observed
    frame of the videos that give the contents. Only the first sample is drawn.

    Args:
        table: the content swaps.
        path: `.png` file to write.
        contents: the videos that give the contents.
        dynamics: the videos that give the dynamics.

    Errors:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw a content swap")
    rows, columns = table.samples.shape[1:3]
    times, scale, sheet = table.times.tolist(), limits_of(contents, dynamics), Sheet()
    points = len(dynamics.context.space) == 1
    chosen = strided(len(times), len(times) if points else max(3, CELL_FRAMES // columns))
    stills = [joined([contents.last(row)], scale, OBSERVED) for row in range(rows)]
    left, step = MARGIN + stills[0].shape[1] + APART, stills[0].shape[0] + NEAR
    sheet.word(MARGIN - NEAR, HEAD + step / 2, "data")
    for row in range(rows):
        top = HEAD + (row + 1) * step
        sheet.image(top, MARGIN, stills[row])
        sheet.word(MARGIN - NEAR, top + step / 2, cut(f"content of\n{contents.names[row]}"))
    for column in range(columns):
        data = dynamics.strip(column, times)
        strip = joined([data[i] for i in chosen], scale, OBSERVED, stills[0].shape)
        sheet.image(HEAD, left, strip)
        tell_times(sheet, HEAD, left, strip.shape[1], [times[i] for i in chosen], points=points)
        middle = left + strip.shape[1] / 2
        title = cut(f"dynamics of\n{dynamics.names[column]}")
        sheet.word(middle, HEAD / 3, title, align="center")
        for row in range(rows):
            made = images(table.samples[0, row, column], table.channels)
            drawn = joined([made[i] for i in chosen], scale, FORECAST)
            sheet.image(HEAD + (row + 1) * step, left, drawn)
        left += strip.shape[1] + APART
    return write_sheet(sheet, path)


def plot_interpolation(
    forecasts: Sequence[Forecast],
    weights: Sequence[float],
    path: str | Path,
    *,
    first: Videos,
    second: Videos,
    columns: int = 12,
) -> Path:
    """Draw a row per weight at successive times, between rows of the two videos.

    Only the first sequence and the first sample are drawn.

    Args:
        forecasts: one forecast per weight, as `interpolate` returns them.
        weights: weights of the second video.
        path: `.png` file to write.
        first: the video of weight 0, which gives the content.
        second: the video of weight 1.
        columns: largest number of frames to show, equally spaced; all are shown for points.

    Errors:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw an interpolation")
    times, scale, sheet = forecasts[0].times.tolist(), limits_of(first, second), Sheet()
    rows: list[Row] = [(first.names[0], first.strip(0, times), OBSERVED)]
    for weight, forecast in zip(weights, forecasts, strict=True):
        made = images(forecast.samples[0, 0], forecast.channels)
        rows.append((f"weight {weight:.3g}", list(made), FORECAST))
    rows.append((second.names[0], second.strip(0, times), OBSERVED))
    draw_rows(sheet, rows, times, scale, columns=columns, apart=(1, len(rows) - 1))
    return write_sheet(sheet, path)


def plot_swaps_of_models(
    tables: Sequence[tuple[str, ContentSwapTable]],
    path: str | Path,
    *,
    contents: Videos,
    dynamics: Videos,
    columns: int = 12,
) -> Path:
    """Draw a row per model: the first content with the last dynamics, below both videos.

    Only the first sample is drawn, at the times that all models share. A video that ends before
    these times is represented by its last observed frame.

    Args:
        tables: name and content swaps of each model.
        path: `.png` file to write.
        contents: the videos that give the contents.
        dynamics: the videos that give the dynamics.
        columns: largest number of frames to show, equally spaced; all are shown for points.

    Errors:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw content swaps")
    scale, sheet = limits_of(contents, dynamics), Sheet()
    times = sorted(set.intersection(*(set(table.times.tolist()) for _, table in tables)))
    rows: list[Row] = [
        (f"{kind} of\n{videos.names[place]}", videos.strip_or_last(place, times), OBSERVED)
        for kind, videos, place in (("content", contents, 0), ("dynamics", dynamics, -1))
    ]
    for name, table in tables:
        made = images(table.samples[0, 0, -1], table.channels)
        at = dict(zip(table.times.tolist(), made, strict=True))
        rows.append((name, [at[time] for time in times], FORECAST))
    draw_rows(sheet, rows, times, scale, columns=columns, apart=(2,))
    return write_sheet(sheet, path)


def draw_rows(
    sheet: Sheet,
    rows: Sequence[Row],
    times: Sequence[float],
    scale: Scale,
    *,
    columns: int,
    apart: Collection[int],
) -> None:
    """Draw labelled strips below each other, with a gap before the rows in `apart`."""
    known = next(image for _, strip, _ in rows for image in strip if image is not None)
    points, shape = known.ndim == 1, joined([known], scale, OBSERVED).shape
    chosen = strided(len(times), len(times) if points else columns)
    top = HEAD // 2
    for index, (label, strip, edge) in enumerate(rows):
        drawn = joined([strip[i] for i in chosen], scale, edge, shape)
        if index == 0:
            tell_times(
                sheet, top, MARGIN, drawn.shape[1], [times[i] for i in chosen], points=points
            )
        if index in apart:
            top += APART
        sheet.image(top, MARGIN, drawn)
        sheet.word(MARGIN - NEAR, top + drawn.shape[0] / 2, cut(label))
        top += drawn.shape[0] + NEAR


def animate_content_swap(
    table: ContentSwapTable,
    path: str | Path,
    *,
    contents: Videos,
    dynamics: Videos,
    frames_per_second: float = 6.0,
) -> Path:
    """Write the grid of `plot_content_swap` as a `.gif`; same arguments."""
    rows, columns = table.samples.shape[1:3]
    scale, times = limits_of(contents, dynamics), table.times.tolist()
    header = [dynamics.strip(column, times) for column in range(columns)]
    blank: Strip = [None] * len(times)
    panels = [[bordered(strip, scale, OBSERVED) for strip in [blank, *header]]]
    for row in range(rows):
        still: Strip = [contents.last(row)] * len(times)
        cells = [images(table.samples[0, row, j], table.channels) for j in range(columns)]
        made = [bordered(list(cell), scale, FORECAST) for cell in cells]
        panels.append([bordered(still, scale, OBSERVED), *made])
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
    scale, times = limits_of(first, second), forecasts[0].times.tolist()
    ends = [bordered(videos.strip(0, times), scale, OBSERVED) for videos in (first, second)]
    made = [
        bordered(list(images(forecast.samples[0, 0], forecast.channels)), scale, FORECAST)
        for forecast in forecasts
    ]
    return animate([[ends[0], *made, ends[1]]], path, frames_per_second)


def animate(
    panels: list[list[list[Array | None]]], path: str | Path, frames_per_second: float
) -> Path:
    """Write rows of moving panels as a `.gif`; None is drawn white."""
    shape = next(p.shape for row in panels for panel in row for p in panel if p is not None)
    white = np.full(shape, 255, np.uint8)
    pictures = []
    for time in range(len(panels[0][0])):
        now = [[panel[time] for panel in row] for row in panels]
        pictures.append(page([[white if p is None else p for p in row] for row in now]))
    return write_repeating(pictures, path, frames_per_second)


def bordered(strip: Strip, scale: Scale, edge: str) -> list[Array | None]:
    """Images as bytes with a border."""
    return [
        None if image is None else framed(enlarged(coloured(image, scale)), edge) for image in strip
    ]


def limits_of(*videos: Videos) -> Scale:
    """Colour scale of all videos shown, as in pictures of forecasts."""
    sources = [frames for video in videos for frames in (video.context, video.target)]
    known = [images(s.values.flatten(0, 1), s.channels).ravel() for s in sources if s is not None]
    return scale_of(videos[0].context.channels, [np.concatenate(known)])


def joined(strip: Strip, scale: Scale, edge: str, shape: tuple[int, ...] | None = None) -> Array:
    """Images side by side with borders, as bytes (y, x, 3); points as one image against time.

    Args:
        strip: the images.
        scale: colour scale.
        edge: colour of the borders.
        shape: shape of a blank, if no image is known.
    """
    known = [image for image in strip if image is not None]
    if known and known[0].ndim == 1:
        return points_in_time(np.stack(known).T, len(strip), scale, edge)
    panels = bordered(strip, scale, edge)
    shape = next((panel.shape for panel in panels if panel is not None), shape)
    assert shape is not None
    gap = np.full((shape[0], NEAR, 3), 255, np.uint8)
    parts: list[Array] = []
    for panel in panels:
        parts += [gap, np.full(shape, 255, np.uint8) if panel is None else panel]
    return np.concatenate(parts[1:], axis=1)


def points_in_time(known: Array, length: int, scale: Scale, edge: str) -> Array:
    """Points (point, time) as an image with a border; unknown times are white."""
    wide = max(1, round(POINTS_WIDE * len(known) / max(length, POINTS_TIMES)))
    padded = np.pad(known, ((0, 0), (0, length - known.shape[1])), mode="edge")
    content = enlarged(coloured(padded.repeat(wide, axis=1), scale))
    content[:, content.shape[1] * known.shape[1] // length :] = 255
    return framed(content, edge)


def cut(text: str) -> str:
    """Lines of words; long ones are truncated."""
    return "\n".join(s if len(s) <= LONGEST else f"{s[: LONGEST - 1]}…" for s in text.split("\n"))


def tell_times(
    sheet: Sheet, top: int, left: int, width: int, times: Sequence[float], *, points: bool
) -> None:
    """Write the times above a strip; for points, the first and the last."""
    texts = [f"{time:g}" for time in times]
    if points:
        texts = [f"{texts[0]} … {texts[-1]}"]
    for index, text in enumerate(texts):
        middle = left + width * (index + 0.5) / len(texts)
        sheet.word(middle, top - 10, text, align="center")


def write_sheet(sheet: Sheet, path: str | Path) -> Path:
    """Write a sheet as `.png`."""
    with atomic_path(path) as place:
        sheet.picture(NEAR).save(place, format="PNG")
    return Path(path)
