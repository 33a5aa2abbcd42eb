"""How time and memory grow with batch, horizon, samples and frame size: a table and a plot.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --recipe srvp-kth --growing horizon samples
    python benchmarks/scaling.py --device cuda --output results/scaling

One size grows, the others stay. Each point is measured in a process of its own: time as the median
of a few calls, memory as the most that calls take beside weights and data, less the frames that a
forecast returns. An exponent is the slope of the logarithms over the larger half of the sizes:
1 is linear growth, 0 is none.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from measuring.growth import Point, measured
from measuring.growth_plot import plot
from measuring.table import amount, markdown
from speed_rows.base import Settings

from statecast.runs.recipes.resolve import read_recipe
from statecast.training.precision import device_of

SIZES = {  # of what grows, each about twice the one before
    "batch": (1, 2, 4, 8),
    "horizon": (20, 40, 80, 160, 320),
    "samples": (4, 8, 16, 32, 64, 128),
    "side": (32, 64, 96, 128),
}
GROWS = {"forecast": ("batch", "horizon", "samples", "side"), "train": ("batch", "horizon", "side")}
LONGEST_TRAINED = 80  # frames: training holds the maps of all of them
# New weights, as published, make latents of long windows grow without bounds.
CALM = {"srvp": {"transition_gain": 0.1}, "separable": {"dynamics_gain": 0.1}}
WIDTHS = {"srvp": ("width",), "separable": ("encoder_width", "decoder_width")}
HEADER = ("work", "grows", "sizes", "seconds", "memory", "time ∝ size^", "memory ∝ size^")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipe", default="srvp-digits-stochastic")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), help="by default bf16 on a GPU")
    parser.add_argument("--width", type=int, help="of the codec; by default the recipe's")
    parser.add_argument("--work", nargs="+", choices=tuple(GROWS), default=list(GROWS))
    parser.add_argument("--growing", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    parser.add_argument("--sizes", nargs="+", type=int, help="in the place of the default ones")
    parser.add_argument("--output", type=Path, help="folder for scaling.json, .md and .png")
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    return parser


def settings_of(known: argparse.Namespace) -> Settings:
    """Where, at which precision, and how wide."""
    device = device_of(known.device)
    model = read_recipe(known.recipe)["model"]["name"]
    sizes: dict[str, object] = dict(CALM[model])
    if known.width is not None:
        sizes |= dict.fromkeys(WIDTHS[model], known.width)
    default = "bf16" if device.type == "cuda" else "float32"
    return Settings(device=device, precision=known.precision or default, sizes=sizes)


def in_new_process(words: Sequence[str], work: str, growing: str, size: int) -> Point:
    """A point, measured by this script in a process of its own."""
    command = [sys.executable, __file__, *words, "--point", work, growing, str(size)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Point(*json.loads(done.stdout.splitlines()[-1]))


def all_points(known: argparse.Namespace, words: Sequence[str]) -> list[Point]:
    """Every point that was asked for, printed as it comes."""
    found = []
    for work in known.work:
        for growing in (name for name in GROWS[work] if name in known.growing):
            sizes = known.sizes or SIZES[growing]
            if work == "train" and growing == "horizon" and not known.sizes:
                sizes = [size for size in sizes if size <= LONGEST_TRAINED]
            for size in sizes:
                found.append(in_new_process(words, work, growing, size))
                print(*found[-1], file=sys.stderr, flush=True)
    return found


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Slope of the logarithms over the larger half of the sizes; NaN of less than two."""
    half = slice((len(sizes) - 1) // 2, None)
    if len(sizes) < 2 or min(values) <= 0:
        return float("nan")
    return float(np.polyfit(np.log(sizes[half]), np.log(values[half]), 1)[0])


def rows_of(points: Sequence[Point]) -> list[tuple[str, ...]]:
    """A line of the table for each work and what grew."""
    rows = []
    for (work, growing), group in groupby(points, lambda point: (point.work, point.growing)):
        own = list(group)
        sizes = [point.size for point in own]
        seconds, held = [point.seconds for point in own], [point.held for point in own]
        rows.append(
            (
                work,
                growing,
                ", ".join(map(str, sizes)),
                ", ".join(amount(value, "s") for value in seconds),
                ", ".join(amount(value, "B") for value in held),
                f"{exponent(sizes, seconds):.2f}",
                f"{exponent(sizes, held):.2f}",
            )
        )
    return rows


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print and draw."""
    words = sys.argv[1:] if words is None else words
    known = arguments().parse_args(words)
    settings = settings_of(known)
    if known.point:
        work, growing, size = known.point
        point = measured(known.recipe, settings, work=work, growing=growing, size=int(size))
        print(json.dumps(point))
        return
    points = all_points(known, words)
    title = (
        f"{known.recipe}, {settings.device}, {torch.get_num_threads()} thread(s), "
        f"{settings.precision}, torch {torch.__version__}"
    )
    report = f"{title}\n\n{markdown(HEADER, rows_of(points))}\n"
    if known.output:
        known.output.mkdir(parents=True, exist_ok=True)
        content = {"run": title, "points": [point._asdict() for point in points]}
        (known.output / "scaling.json").write_text(json.dumps(content, indent=2) + "\n")
        (known.output / "scaling.md").write_text(report)
        plot(points, known.output / "scaling.png", title=title)
    print("\n" + report)


if __name__ == "__main__":
    main()
