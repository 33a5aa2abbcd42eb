"""Time and memory against size, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from measuring.growth import Point

from statecast.plots.curves import LINES, new_figure, write_figure

MARKS = {"forecast": "o-", "train": "s--"}
NAMES = {"forecast": "forecast", "train": "training step"}
UNITS = {"batch": "windows", "horizon": "frames", "samples": "samples", "side": "pixels"}
MEBIBYTE = 2**20


def plot(points: Sequence[Point], path: Path, *, title: str) -> Path:
    """Draw a column of two panels for each size that grew: seconds above, MiB below.

    A thin grey line through the first point of a work grows in proportion to the size.
    """
    growing = list(dict.fromkeys(point.growing for point in points))
    figure = new_figure(2.7 * len(growing), 4.6)
    panels = figure.subplots(2, len(growing), squeeze=False, sharex="col", sharey="row")
    for column, name in enumerate(growing):
        for colour, work in zip(LINES[::2], MARKS, strict=False):
            own = [point for point in points if (point.work, point.growing) == (work, name)]
            if not own:
                continue
            sizes = [point.size for point in own]
            rows = ([p.seconds for p in own], [p.held / MEBIBYTE for p in own])
            for panel, values in zip(panels[:, column], rows, strict=True):
                panel.plot(sizes, values, MARKS[work], color=colour, label=NAMES[work], ms=3.5)
                linear = [values[0] * size / sizes[0] for size in sizes]
                panel.plot(sizes, linear, color="#BBBBBB", linewidth=0.7, zorder=0)
        sizes = sorted({point.size for point in points if point.growing == name})
        for panel in panels[:, column]:
            panel.set(xscale="log", yscale="log")
            panel.set_xticks(sizes, [str(size) for size in sizes])
            panel.minorticks_off()
            panel.tick_params(labelsize=7)
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(alpha=0.25, linewidth=0.5)
        panels[0, column].set_title(name, fontsize=10)
        panels[1, column].set_xlabel(UNITS[name], fontsize=8)
    panels[0, 0].set_ylabel("time / s", fontsize=8)
    panels[1, 0].set_ylabel("memory / MiB", fontsize=8)
    panels[0, 0].legend(fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=8)
    figure.set_layout_engine("constrained")
    return write_figure(figure, path)
