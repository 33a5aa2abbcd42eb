"""Pictures of frames with their keypoints drawn over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError, require
from statecast.frames import Frames
from statecast.plots.curves import new_figure, written
from statecast.plots.panels import FORECAST, OBSERVED, coloured, images, scale_of, strided

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDE = 1.3  # inches: width of a frame
LARGEST = 45.0  # area in points² of a mark with intensity 1


def plot_keypoints(
    rows: Sequence[tuple[Frames, Float[Tensor, "batch time point xys"]]],
    path: str | Path | None = None,
    *,
    sequence: int = 0,
    columns: int = 8,
) -> Figure:
    """Draw frames of one sequence with their keypoints, a row for each pair; return the figure.

    Keypoints are discs whose area is proportional to their intensity; a keypoint has the same
    colour in all frames. The border of a frame tells whether it was observed (time 0 and before)
    or forecast.

    Args:
        rows: pairs of frames and their keypoints: x and y in [−1, 1], with y = 1 at the top, and
            intensity.
        path: `.png`, `.pdf` or `.svg` file to write; None writes no file.
        sequence: index of the sequence in the batch.
        columns: largest number of frames in a row, equally spaced.

    Errors:
        InputError: the sequence does not exist, the keypoints do not match the frames, or the path
            has another ending.
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plots", "draw keypoints")
    for frames, keypoints in rows:
        if not 0 <= sequence < len(frames.values):
            raise InputError(
                f"The batch has sequences 0 to {len(frames.values) - 1}, got sequence={sequence}."
            )
        if keypoints.ndim != 4 or keypoints.shape[:2] != frames.values.shape[:2]:
            raise InputError(
                "Keypoints are (batch, time, point, 3) for frames (batch, time, …), got "
                f"{tuple(keypoints.shape)} for {tuple(frames.values.shape)}."
            )
    shown = [strided(len(frames), columns) for frames, _ in rows]
    width = max(map(len, shown))
    figure = new_figure(SIDE * width, SIDE * len(rows) + 0.2 * len(rows))
    figure.set_layout_engine("constrained")
    grid = figure.subplots(len(rows), width, squeeze=False)
    for (frames, keypoints), times, line in zip(rows, shown, grid, strict=True):
        pictures = images(frames.values[sequence], frames.channels)
        scale = scale_of(frames.channels, [pictures])
        for time, axes in zip(times, line, strict=False):
            axes.imshow(coloured(pictures[time], scale), interpolation="nearest")
            draw_points(axes, keypoints[sequence, time], frames.space)
            when = frames.times[time].item()
            axes.set_title(f"{when:g}" if when <= 0 else f"+{when:g}", fontsize=7, pad=3)
            for spine in axes.spines.values():
                spine.set(color=OBSERVED if when <= 0 else FORECAST, linewidth=1.5)
        for axes in line[len(times) :]:
            axes.set_axis_off()
    return written(figure, path)


def draw_points(axes: Axes, keypoints: Float[Tensor, "point xys"], space: tuple[int, ...]) -> None:
    """Draw the keypoints of a frame of this height and width."""
    x, y, intensity = keypoints.detach().cpu().numpy().T
    height, width = space
    axes.scatter(
        (x + 1) / 2 * (width - 1), (1 - y) / 2 * (height - 1),
        s=LARGEST * np.clip(intensity, 0, None), c=np.arange(len(x)), cmap="hsv",
        vmin=0, vmax=len(x), edgecolors="white", linewidths=0.4,
    )  # fmt: skip
    axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
