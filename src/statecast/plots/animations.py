"""Animations of forecasts: truth, mean and samples side by side, frame after frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from statecast.errors import InputError
from statecast.frames import Forecast, Frames
from statecast.io.atomic_files import atomic_path
from statecast.io.video.encoding import write_mp4
from statecast.plots.panels import (
    FORECAST,
    LAND,
    MAGNITUDES,
    OBSERVED,
    Array,
    Panels,
    Scale,
    arranged,
    coloured,
    dates_of,
    has_bar,
    lead_of,
    panels_of,
    region_of,
    scale_of,
    south_first,
    variables_of,
)

if TYPE_CHECKING:
    from PIL.Image import Image

SMALLEST = 96  # pixels of a panel's shorter side; smaller frames are enlarged by a whole factor
BORDER, GAP, WORDS = 3, 6, 16  # pixels; the last is the height of a line of text
BAR, NUMBER = 10, 60  # pixels: widths of a colour bar and of the numbers beside it
PAUSE = 4  # factor by which the last frame is shown longer


def animate_forecast(
    context: Frames,
    forecast: Forecast,
    path: str | Path,
    *,
    target: Frames | None = None,
    sequences: int = 4,
    samples: int = 3,
    centred: bool = False,
    frames_per_second: float = 6.0,
) -> Path:
    """Write a `.gif`, `.webp` or `.mp4`: truth, forecast mean and samples side by side.

    Each sequence and variable has a row, with a colour bar unless it is grey or in colours. The
    date of the frame stands above if it is known, with its time after the last observed frame, and
    the region of a map; above each panel stands what it shows. Observed frames have green borders,
    forecast frames purple ones. Maps are drawn north up, with land in grey; points are drawn as
    coloured bars.

    Args:
        context: the observed frames.
        forecast: samples of the frames that follow.
        path: file to write.
        target: the observations at the forecast's times; None if unknown.
        sequences: largest number of sequences to show.
        samples: largest number of samples beside the mean.
        centred: whether colours are centred on 0, as for anomalies.
        frames_per_second: frames shown per second.

    Errors:
        InputError: `frames_per_second` is not positive.
    """
    blocks = [
        panels
        for sequence in range(min(sequences, len(context.values)))
        for panels in panels_of(context, forecast, target, sequence, samples, centred=centred)
    ]
    rows = [moving(panels) for panels in blocks]
    labels = context.coordinates or forecast.coordinates
    region = region_of(labels)
    told = {"mean": f"mean of {len(forecast.samples)}"}
    names = [
        (
            ", ".join(filter(None, (panels.label, region))),
            [told.get(name, name) for name in panels.rows if name not in MAGNITUDES],
        )
        for panels in blocks
    ]
    observed = [(label, ["observed"] * len(shown)) for label, shown in names]
    scales = [panels.scale if has_bar(panels) else None for panels in blocks]
    times = [*context.times.tolist(), *forecast.times.tolist()]
    dates = dates_of(labels, times) or ["time"] * len(times)
    pictures = []
    for number, (time, date) in enumerate(zip(times, dates, strict=True)):
        above = observed if number < len(context) else names
        panels = [[panel[number] for panel in row] for row in rows]
        pictures.append(labelled(panels, above, scales, f"{date}  {lead_of(labels, time)}"))
    return write_moving(pictures, path, frames_per_second)


def animate_frames(
    forecast: Forecast,
    path: str | Path,
    *,
    sample: int | None = None,
    sequence: int = 0,
    frames_per_second: float = 6.0,
) -> Path:
    """Write only the frames of a forecast, in their own size, as a `.gif`, `.webp` or `.mp4`.

    Args:
        forecast: samples of the frames.
        path: file to write.
        sample: index of the sample to show; None for the mean.
        sequence: index of the sequence in the batch.
        frames_per_second: frames shown per second.

    Errors:
        InputError: the sample or sequence does not exist, or `frames_per_second` is not positive.
    """
    from PIL import Image

    count, batch = forecast.samples.shape[:2]
    if not 0 <= sequence < batch or not (sample is None or 0 <= sample < count):
        raise InputError(
            f"The forecast has samples 0 to {count - 1} and sequences 0 to {batch - 1}, got "
            f"{sample} and {sequence}."
        )
    values = forecast.mean if sample is None else forecast.samples[sample]
    channels = variables_of(forecast.channels, forecast.coordinates)[0][1]
    frames = arranged(values[sequence], channels, flip=south_first(forecast.coordinates))
    scale = scale_of(forecast.channels, [frames])
    pictures = [Image.fromarray(enlarged(coloured(frame, scale), smallest=1)) for frame in frames]
    return write_moving(pictures, path, frames_per_second, pause=1)


def write_moving(
    pictures: list[Image], path: str | Path, frames_per_second: float, *, pause: int = PAUSE
) -> Path:
    """Write pictures as a `.gif`, `.webp` or `.mp4`, as the path ends."""
    if Path(path).suffix.lower() == ".mp4":
        return write_mp4([np.asarray(p) for p in pictures], path, frames_per_second, pause=pause)
    return write_repeating(pictures, path, frames_per_second, pause=pause)


def write_repeating(
    pictures: list[Image], path: str | Path, frames_per_second: float, *, pause: int = PAUSE
) -> Path:
    """Write pictures as a repeating `.gif` or `.webp`; the last is shown `pause` times longer.

    Errors:
        InputError: `frames_per_second` is not positive.
    """
    if frames_per_second <= 0:
        raise InputError(f"An animation needs a positive speed, got {frames_per_second}.")
    durations = [round(1000 / frames_per_second)] * len(pictures)
    durations[-1] *= pause
    kind = Path(path).suffix.lower().removeprefix(".")

    with atomic_path(path) as place:
        pictures[0].save(
            place, format=kind, save_all=True, append_images=pictures[1:], duration=durations,
            loop=0, disposal=1, optimize=False, quality=75,
        )  # fmt: skip
    return Path(path)


def moving(panels: Panels) -> list[list[Array]]:
    """Pictures of each row except spread and error, at all times: bytes (y, x, 3) with a border."""
    found = []
    for name, row in panels.rows.items():
        if name in MAGNITUDES:
            continue
        edge = OBSERVED if name == "truth" else FORECAST
        seen = [coloured(image, panels.scale, missing=LAND) for image in panels.observed]
        came = [panels.colours(name, time) for time in range(len(row))]
        found.append(
            [framed(enlarged(image), OBSERVED) for image in seen]
            + [framed(enlarged(image), edge) for image in came]
        )
    return found


def enlarged(colours: Array, *, smallest: int = SMALLEST) -> Array:
    """Colours (y, x, 3), or (point, 3), as bytes; small images are enlarged."""
    if colours.ndim == 2:
        colours = np.repeat(colours[None], max(1, len(colours) // 4), axis=0)
    content: Array = (colours * 255).round().astype(np.uint8)
    factor = max(1, -(-smallest // min(content.shape[:2])))
    return content.repeat(factor, axis=0).repeat(factor, axis=1)


def framed(content: Array, colour: str) -> Array:
    """An image with a border."""
    height, width = content.shape[:2]
    bordered = np.empty((height + 2 * BORDER, width + 2 * BORDER, 3), np.uint8)
    bordered[:] = _rgb(colour)
    bordered[BORDER:-BORDER, BORDER:-BORDER] = content
    return bordered


class Sheet:
    """A picture laid out in pixels: images and words on white."""

    def __init__(self) -> None:
        self.images: list[tuple[int, int, Array]] = []
        self.words: list[tuple[float, float, str, str]] = []

    def image(self, top: int, left: int, content: Array) -> None:
        """Place bytes (y, x, 3)."""
        self.images.append((top, left, content))

    def word(self, x: float, y: float, text: str, *, align: str = "right") -> None:
        """Place words, centred vertically at y."""
        self.words.append((x, y, text, align))

    def bar(self, scale: Scale, top: int, left: int, height: int) -> None:
        """Place a colour bar with its lowest, middle and highest value."""
        values = np.linspace(scale.high, scale.low, height)
        content = np.full((height, BAR + NUMBER, 3), 255, np.uint8)
        content[:, :BAR] = (coloured(values[:, None], scale) * 255).round()
        self.image(top, left, content)
        for y in (WORDS // 2, height // 2, height - WORDS // 2):
            self.word(left + BAR + GAP, top + y, f"{values[y]:.4g}", align="left")

    def picture(self, margin: int) -> Image:
        """The picture, with a margin on the right and below."""
        from PIL import Image, ImageDraw, ImageFont

        height = margin + max(top + content.shape[0] for top, _, content in self.images)
        width = margin + max(left + content.shape[1] for _, left, content in self.images)
        whole = Image.new("RGB", (width, height), "white")
        for top, left, content in self.images:
            whole.paste(Image.fromarray(content), (left, top))
        draw, font = ImageDraw.Draw(whole), ImageFont.load_default(WORDS - 3)
        for x, y, text, align in self.words:
            anchor = {"left": "lm", "center": "mm", "right": "rm"}[align]
            draw.multiline_text((x, y), text, "black", font, anchor, align=align)
        return whole


def labelled(
    rows: list[list[Array]],
    names: Sequence[tuple[str, Sequence[str]]],
    scales: Sequence[Scale | None],
    title: str,
) -> Image:
    """Panels in rows under a title, with names of variables and panels, and colour bars.

    Names are written above a row only if they differ from those of the row before.
    """
    sheet, top, above = Sheet(), WORDS, None
    sheet.word(GAP, WORDS / 2, title, align="left")
    for row, told, scale in zip(rows, names, scales, strict=True):
        step = row[0].shape[1] + GAP
        if told != above:
            variable, panels = told
            if variable:
                sheet.word(GAP, top + WORDS / 2, variable, align="left")
                top += WORDS
            for column, name in enumerate(panels):
                sheet.word(GAP + column * step, top + WORDS / 2, name, align="left")
            top += WORDS
        for column, panel in enumerate(row):
            sheet.image(top + GAP, GAP + column * step, panel)
        if scale is not None:
            sheet.bar(scale, top + GAP, GAP + len(row) * step, row[0].shape[0])
        top, above = top + row[0].shape[0] + GAP, told
    return sheet.picture(GAP)


def page(rows: list[list[Array]]) -> Image:
    """Panels in rows, on white."""
    sheet = Sheet()
    for i, row in enumerate(rows):
        for j, panel in enumerate(row):
            height, width = panel.shape[0] + GAP, panel.shape[1] + GAP
            sheet.image(GAP + i * height, GAP + j * width, panel)
    return sheet.picture(GAP)


def _rgb(colour: str) -> tuple[int, int, int]:
    """#RRGGBB as three bytes."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
