"""Measure this library on a GPU, in one run of under 8 minutes.

    python benchmarks/gpu.py --output results/gpu
    python benchmarks/gpu.py --parts steps --recipes 'srvp-*' svg-kth
    python benchmarks/gpu.py --device cpu --quick --recipes srvp-digits-small    # does it run?

| part | question |
|---|---|
| `parity` | Do losses and gradients at float32 and at bf16 agree with those of the processor? |
| `steps` | How long does a training step of each published recipe take, at which share of peak? |
| `best` | How long do 100 futures and the scores of the best of them take? |
| `memory` | Does the memory of a forecast grow with its horizon, beside the frames returned? |
| `compile` | What does `train.compile` gain? |
| `processes` | Do two processes on one GPU train as one does, and how fast? |

Weights and frames are random: neither changes time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from gpu_parts import models, processes, recipes
from gpu_parts.table import Table
from measuring.clock import Clock
from measuring.peaks import product_peak
from speed_rows.base import Settings

from statecast.errors import InputError
from statecast.training.precision import device_of

PARTS: dict[str, Callable[[recipes.Run], Table]] = {
    "parity": models.parity,
    "steps": models.steps,
    "best": models.best_of_100,
    "memory": models.memory,
    "compile": models.compiled,
    "processes": processes.together,
}


class Known(NamedTuple):
    """The command line."""

    run: recipes.Run
    parts: list[str]
    output: Path | None


def parse(words: Sequence[str] | None) -> Known:
    """Read the command line; without a GPU, refuse unless another device is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--recipes", nargs="+", default=[], help="names or patterns, for any part")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=8.0, help="what is left then is named")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, one turn")
    parser.add_argument("--output", type=Path, help="folder for gpu.json and gpu.md")
    known = parser.parse_args(words)
    try:
        device = device_of(known.device)
        chosen = recipes.matching(known.recipes)
    except InputError as error:
        parser.error(f"{error} Say --device cpu --quick to see that the script runs.")
    precision = "bf16" if device.type == "cuda" else "float32"
    settings = Settings(device=device, precision=precision, batch=2 if known.quick else None)
    clock, end = Clock(device), time.perf_counter() + 60 * known.minutes
    run = recipes.Run(settings, clock, product_peak(clock, precision), known.quick, chosen, end)
    return Known(run, known.parts, known.output)


def described(run: recipes.Run) -> str:
    """The machine, in a line."""
    device = run.settings.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "a processor"
    return (
        f"{name}, torch {torch.__version__}, {run.settings.precision} at most "
        f"{run.peak / 1e12:.3g} TFLOP/s"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print, and write where asked to."""
    known = parse(words)
    began, tables = time.perf_counter(), {}
    for name in known.parts:
        print(f"{name} …", file=sys.stderr, flush=True)
        tables[name] = PARTS[name](known.run)
    seconds = time.perf_counter() - began
    titled = [f"## {name}\n\n{table.markdown()}" for name, table in tables.items()]
    report = "\n\n".join([f"{described(known.run)}; {seconds:.0f} s in all.", *titled]) + "\n"
    print(report)
    if known.output:
        known.output.mkdir(parents=True, exist_ok=True)
        content = {name: table.record() for name, table in tables.items()}
        (known.output / "gpu.json").write_text(json.dumps(content, indent=2) + "\n")
        (known.output / "gpu.md").write_text(report)


if __name__ == "__main__":
    if "RANK" in os.environ:
        processes.work()
    else:
        main()
