"""Animations of forecasts: truth, mean and samples side by side, frame after frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statecast.errors import InputError
from statecast.frames import Forecast, Frames
from statecast.io.atomic_files import atomic_path
from statecast.io.video.encoding import write_mp4
from statecast.plots.forecasts import (
    FORECAST,
    MAGNITUDES,
    MISSING,
    OBSERVED,
    brightness,
    forecast_rows,
    images,
)

if TYPE_CHECKING:
    from PIL.Image import Image

Array = np.ndarray[Any, np.dtype[Any]]

SMALLEST = 96  # pixels of a panel's shorter side; small frames are enlarged by a whole number
BORDER, GAP = 3, 6  # pixels
PAUSE = 4  # the last frame is shown so many times longer


def animate_forecast(
    context: Frames,
    forecast: Forecast,
    path: str | Path,
    *,
    target: Frames | None = None,
    sequences: int = 4,
    samples: int = 3,
    frames_per_second: float = 6.0,
) -> Path:
    """Write a `.gif` or `.mp4`: a row per sequence; truth, forecast mean and samples side by side.

    Borders are green while frames are observed, and purple once they are forecast. Points are
    drawn as bars of colour.

    Args:
        context: the observed frames.
        forecast: samples of what follows.
        path: file to write.
        target: what came, where it is known.
        sequences: largest number of rows.
        samples: largest number of samples beside the mean.
        frames_per_second: speed.

    Errors:
        InputError: a speed that is not positive.
    """
    count = min(sequences, len(context.values))
    rows = [_panels(context, forecast, target, sequence, samples) for sequence in range(count)]
    observed = len(context.times)
    total = observed + len(forecast.times)
    pictures = [page([[p[t] for p in row] for row in rows]) for t in range(total)]
    return write_moving(pictures, path, frames_per_second)


def write_moving(pictures: list[Image], path: str | Path, frames_per_second: float) -> Path:
    """Write pictures as a `.gif` or `.mp4`, by the ending of the path."""
    if Path(path).suffix.lower() == ".mp4":
        return write_mp4([np.asarray(p) for p in pictures], path, frames_per_second, pause=PAUSE)
    return write_gif(pictures, path, frames_per_second)


def write_gif(pictures: list[Image], path: str | Path, frames_per_second: float) -> Path:
    """Write pictures as a `.gif` that repeats; the last one stays for a while.

    Errors:
        InputError: a speed that is not positive.
    """
    if frames_per_second <= 0:
        raise InputError(f"An animation needs a positive speed, got {frames_per_second}.")
    durations = [round(1000 / frames_per_second)] * len(pictures)
    durations[-1] *= PAUSE

    with atomic_path(path) as place:
        pictures[0].save(
            place, format="GIF", save_all=True, append_images=pictures[1:], duration=durations,
            loop=0, disposal=1, optimize=False,
        )  # fmt: skip
    return Path(path)


def _panels(
    context: Frames, forecast: Forecast, target: Frames | None, sequence: int, samples: int
) -> list[list[Array]]:
    """Each panel's pictures at all times: bytes (y, x, 3) with a border."""
    seen = images(context.values[sequence], context.channels)
    rows = forecast_rows(forecast, target, sequence, samples)
    rows = {name: row for name, row in rows.items() if name not in MAGNITUDES}
    reference = np.concatenate([seen, *([rows["truth"]] if "truth" in rows else [])])
    finite = reference[np.isfinite(reference)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    low, high = brightness(context.channels, low, high)
    panels = []
    for name, row in rows.items():
        edge = OBSERVED if name == "truth" else FORECAST
        pictures = [framed(pixels(image, low, high), OBSERVED) for image in seen]
        panels.append(pictures + [framed(pixels(image, low, high), edge) for image in row])
    return panels


def pixels(image: Array, low: float, high: float) -> Array:
    """An image as bytes (y, x, 3): grey where the range is [0, 1], else in colours."""
    if image.ndim == 1:
        image = np.repeat(image[None], max(1, len(image) // 4), axis=0)
    share = np.clip((image - low) / ((high - low) or 1.0), 0, 1)
    missing = np.isnan(share)
    if share.ndim == 3:
        colours = share
    elif (low, high) == (0.0, 1.0):
        colours = np.repeat(share[..., None], 3, axis=-1)
    else:
        from matplotlib import colormaps

        colours = np.asarray(colormaps["viridis"](np.nan_to_num(share)))[..., :3]
    content: Array = (np.nan_to_num(colours) * 255).round().astype(np.uint8)
    content[missing if missing.ndim == 2 else missing.any(axis=-1)] = _rgb(MISSING)
    factor = max(1, -(-SMALLEST // min(content.shape[:2])))
    return content.repeat(factor, axis=0).repeat(factor, axis=1)


def framed(content: Array, colour: str) -> Array:
    """An image with a border."""
    height, width = content.shape[:2]
    bordered = np.empty((height + 2 * BORDER, width + 2 * BORDER, 3), np.uint8)
    bordered[:] = _rgb(colour)
    bordered[BORDER:-BORDER, BORDER:-BORDER] = content
    return bordered


def page(rows: list[list[Array]]) -> Image:
    """Panels in rows, on white."""
    from PIL import Image

    height, width = rows[0][0].shape[:2]
    sheet = np.full(
        (len(rows) * (height + GAP) + GAP, len(rows[0]) * (width + GAP) + GAP, 3), 255, np.uint8
    )
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            top, left = GAP + i * (height + GAP), GAP + j * (width + GAP)
            sheet[top : top + height, left : left + width] = panel
    return Image.fromarray(sheet)


def _rgb(colour: str) -> tuple[int, int, int]:
    """#RRGGBB as three bytes."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
