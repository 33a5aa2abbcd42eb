"""Pictures of motion: arrows over the forecast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from statecast.errors import InputError, require
from statecast.frames import Forecast, Frames
from statecast.models.pknl.motion import MotionField
from statecast.plots.curves import written
from statecast.plots.forecasts import (
    HEAD,
    LEFT,
    NEAR,
    RIGHT,
    TOP,
    Sheet,
    draw_frame,
    head,
    label_axes,
)
from statecast.plots.panels import FORECAST, Array, has_bar, panels_of, south_first, strided

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.quiver import Quiver

WIDTH = 2.2  # inches: width of a map
ARROWS = 14  # along the longer side
LONGEST = 1.5  # length of an arrow, in distances between arrows


@runtime_checkable
class EstimatesMotion(Protocol):
    """A model that estimates how a forecast moves."""

    def motion(self, context: Frames | Any, horizon: int | None = None) -> MotionField:
        """Motion of each forecast frame; see the model."""


def plot_motion(
    context: Frames,
    forecast: Forecast,
    motion: MotionField,
    path: str | Path | None = None,
    *,
    sequence: int = 0,
    columns: int = 4,
    title: str | None = None,
) -> Figure:
    """Draw the motion of one sequence as arrows over its forecast; return the figure.

    Arrows point in the direction of motion. Their length is the speed, in metres per second if the
    labels of the frames allow it, else in pixels per frame interval.

    Args:
        context: the observed frames.
        forecast: the forecast of the same model.
        motion: the motion at the lead times of the forecast.
        path: `.png`, `.pdf` or `.svg` file to write; None writes no file.
        sequence: index of the sequence in the batch.
        columns: largest number of frames to show, equally spaced.
        title: title above the picture.

    Errors:
        InputError: the sequence does not exist, motion and forecast differ in lead times or size,
            or the path has another ending.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw a motion")
    height, width = motion.pixels.shape[-2:]
    shown = tuple(forecast.samples.shape[-2:])
    if not np.array_equal(forecast.times, motion.times) or shown != (height, width):
        raise InputError(
            f"Motion and forecast must have the same lead times and size, got "
            f"{len(motion.times)} frames {(height, width)} and {len(forecast.times)} frames "
            f"{shown}."
        )
    panels = panels_of(context, forecast, None, sequence, 0)
    labels = context.coordinates or forecast.coordinates
    arrows, unit = arrows_of(motion, sequence, flip=south_first(labels))
    key = round_number(float(np.nanquantile(np.hypot(*arrows), 0.9)) or 1.0)
    came = strided(len(forecast.times), columns)
    tall = WIDTH * float(np.clip(height / width, 0.4, 2.5))
    left = TOP if labels is None else LEFT
    above = TOP + (0.25 if title else 0.0)
    sheet = Sheet(
        left + len(came) * (WIDTH + NEAR) + RIGHT,
        above + len(panels) * (HEAD + tall + NEAR) + (TOP if labels is None else 2 * TOP),
    )
    for row, variable in enumerate(panels):
        top = above + row * (HEAD + tall + NEAR) + HEAD - 0.1
        sheet.word(0.1, top - HEAD + 0.1, variable.label, align="left", weight="bold")
        name = next(iter(variable.rows))
        for column, time in enumerate(came):
            axes = sheet.axes(left + column * (WIDTH + NEAR), top, WIDTH, tall)
            words = head(labels, forecast.times[time].item())
            draw_frame(axes, variable.colours(name, time), FORECAST, words)
            drawn = draw_arrows(axes, arrows[:, time], key)
            if column == 0:
                label_axes(axes, labels)
        place = (1 - RIGHT / sheet.width, 1 - (top - HEAD + 0.18) / sheet.height)
        axes.quiverkey(drawn, *place, key, f"{key:g} {unit}", labelpos="W", coordinates="figure",
                       fontproperties={"size": 7})  # fmt: skip
        if has_bar(variable):
            sheet.bar(variable.scale, top, tall)
    if title:
        sheet.figure.suptitle(title, fontsize=10, y=0.99, va="top", parse_math=False)
    return written(sheet.figure, path)


def arrows_of(motion: MotionField, sequence: int, *, flip: bool) -> tuple[Array, str]:
    """Arrows (2, time, y, x), to the right and down, and the unit of their lengths."""
    pixels = motion.pixels[sequence].detach().cpu()
    try:
        speed = motion.velocity()[sequence].detach().cpu().norm(dim=1, keepdim=True)
        unit = "m/s"
    except InputError:
        speed, unit = pixels.norm(dim=1, keepdim=True), "pixels per frame"
    lengths = pixels.norm(dim=1, keepdim=True).clamp_min(1e-12)
    arrows = (pixels / lengths * speed).movedim(1, 0).numpy()
    if flip:
        arrows = arrows[:, :, ::-1] * np.array([1.0, -1.0])[:, None, None, None]
    return arrows, unit


def draw_arrows(axes: Axes, arrows: Array, key: float) -> Quiver:
    """Draw arrows (2, y, x) on a picture; an arrow of length `key` reaches the next arrow."""
    height, width = arrows.shape[1:]
    every = max(-(-max(height, width) // ARROWS), 1)
    y, x = (np.arange(every // 2, size, every) for size in (height, width))
    right, down = arrows[:, y[:, None], x[None, :]]
    short = np.hypot(right, down) > LONGEST * key  # outliers, which would cross the picture
    scale = np.where(short, LONGEST * key / np.maximum(np.hypot(right, down), 1e-12), 1.0)
    return axes.quiver(
        x, y, right * scale, down * scale, angles="xy", scale_units="xy", scale=key / every,
        color="white", edgecolor="black", linewidth=0.4, width=0.007, headwidth=3.5,
        headlength=4, headaxislength=4, minshaft=2, minlength=0.3,
    )  # fmt: skip


def round_number(value: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten up to a positive number."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(step for step in (1, 2, 5) if step * power <= value * (1 + 1e-9)) * power)
