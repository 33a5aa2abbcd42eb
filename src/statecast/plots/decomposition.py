"""Pictures of decompositions: objects, their poses in each frame, and their sum."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from statecast.errors import InputError, require
from statecast.frames import Frames
from statecast.models.ddpae.model import Decomposition
from statecast.plots.curves import written
from statecast.plots.forecasts import APART, LEFT, NEAR, SIDE, Sheet, draw_frame
from statecast.plots.panels import (
    FORECAST,
    OBSERVED,
    arranged,
    coloured,
    scale_of,
    strided,
    variables_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#CC6677", "#88CCEE", "#DDCC77", "#999933", "#882255")  # of objects; Tol's muted palette
HEAD = 0.3  # inches above the rows
TOP = 0.1


@runtime_checkable
class Decomposes(Protocol):
    """A model that sees frames as a sum of objects."""

    def decompose(self, context: Frames | Any, horizon: int | None = None) -> Decomposition:
        """Decompose context and forecast; see the model."""


def plot_decomposition(
    frames: Frames,
    decomposition: Decomposition,
    path: str | Path | None = None,
    *,
    sequence: int = 0,
    columns: int = 12,
    title: str | None = None,
) -> Figure:
    """Draw the objects of one sequence, each at its pose in every frame; return the figure.

    The rows show the given frames, the sum of all objects, and each object. The picture of an
    object stands on the left; its outline is also drawn in the row of the sum.

    Args:
        frames: context, or context and target, in the units of the model.
        decomposition: the result of `DDPAE.decompose`.
        path: `.png`, `.pdf` or `.svg` file to write; None writes no file.
        sequence: index of the sequence in the batch.
        columns: largest number of frames to show, equally spaced.
        title: title above the picture.

    Errors:
        InputError: the sequence does not exist, or the path has another ending.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw a decomposition")
    if not 0 <= sequence < len(decomposition.frames):
        raise InputError(
            f"The batch has sequences 0 to {len(decomposition.frames) - 1}, got "
            f"sequence={sequence}."
        )
    _, channels = variables_of(frames.channels, None)[0]
    seen, whole = (
        arranged(values[sequence], channels) for values in (frames.values, decomposition.frames)
    )
    scale = scale_of(frames.channels, [seen, whole])
    parts = [
        arranged(decomposition.components[sequence, :, index], channels)
        for index in range(decomposition.objects.shape[1])
    ]
    poses = decomposition.poses[sequence].detach().cpu().numpy()
    times = strided(len(whole), columns)
    height = SIDE * float(np.clip(whole.shape[1] / whole.shape[2], 0.4, 2.5))
    left = LEFT + SIDE + APART
    sheet = Sheet(
        left + len(times) * (SIDE + NEAR) + 0.1,
        TOP + (0.25 if title else 0) + HEAD + (2 + len(parts)) * (height + NEAR) + TOP,
    )
    names = ["frames", "sum", *(f"object {index + 1}" for index in range(len(parts)))]
    for row, (name, images) in enumerate(zip(names, [seen, whole, *parts], strict=True)):
        top = TOP + (0.25 if title else 0) + HEAD + row * (height + NEAR)
        sheet.word(LEFT - 0.1, top + height / 2, name, align="right", weight="normal")
        if row > 1:
            axes = sheet.axes(LEFT, top, SIDE, height)
            picture = arranged(decomposition.objects[sequence, row - 2][None], channels)[0]
            draw_frame(axes, coloured(picture, scale), colour_of(row - 2), "")
        for column, time in enumerate(times):
            if time >= len(images):  # the given frames may end with the context
                continue
            axes = sheet.axes(left + column * (SIDE + NEAR), top, SIDE, height)
            when = float(decomposition.times[time])
            edge, sign = (FORECAST, "+") if when > 0 else (OBSERVED, "")
            highest = row == 0 or (row == 1 and time >= len(seen))
            words = f"{sign}{when:g}" if highest else ""
            draw_frame(axes, coloured(images[time], scale), edge, words)
            for index in [row - 2] if row > 1 else range(len(parts)) if row == 1 else []:
                outline(axes, poses[time, index], images.shape[1:3], colour_of(index))
    if title:
        sheet.figure.suptitle(title, fontsize=10, y=0.99, va="top", parse_math=False)
    return written(sheet.figure, path)


def colour_of(index: int) -> str:
    """Colour of an object."""
    return COLOURS[index % len(COLOURS)]


def outline(axes: Axes, pose: Any, space: tuple[int, ...], colour: str) -> None:
    """Draw the border of an object at its pose."""
    from matplotlib.patches import Rectangle

    scale, shift = pose[0], pose[1:]
    half = (np.array(space[::-1]) - 1) / 2  # pixels from the centre to the outermost ones, x and y
    corner = half * (1 - (shift + 1) / scale)
    width, height = 2 * half / scale
    axes.add_patch(Rectangle(tuple(corner), width, height, fill=False, edgecolor=colour))
    axes.set(xlim=(-0.5, space[1] - 0.5), ylim=(space[0] - 0.5, -0.5))
