"""Two processes that train on one GPU together, by gloo, for NCCL wants a GPU for each."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from measuring.table import amount
from speed_rows.base import Settings
from torch import distributed

from gpu_parts import recipes
from gpu_parts.table import Table
from statecast.distributed import LAUNCHED

COUNT = 2
RECIPES = ("srvp-digits-small", "svg-digits-small")  # as much as two on one GPU can be asked for
SCRIPT = Path(__file__).parents[1] / "gpu.py"
WARM, STEPS = 2, 10
BATCH = 8  # of both together


class Trained(NamedTuple):
    """Losses of the first steps, and the median seconds of a step."""

    losses: list[float]
    seconds: float


def together(run: recipes.Run) -> Table:
    """A step of two processes against the same step of one."""
    table = Table(("recipe", "batch", "one", "two", "losses off by"))
    device = str(run.settings.device)
    for name in run.each(list(RECIPES), table.left_out):
        alone = train(name, device)
        shared = launch(name, device)
        pairs = zip(shared.losses, alone.losses, strict=True)
        off = max(abs(ours - theirs) / abs(theirs) for ours, theirs in pairs)
        seconds = (amount(each.seconds, "s") for each in (alone, shared))
        table.rows.append((name, str(BATCH), *seconds, f"{off:.1e}"))
    return table


def train(recipe: str, device: str) -> Trained:
    """A few steps at float32; with other processes, this one's part of the batch."""
    settings = Settings(device=torch.device(device))
    trainer, batch = recipes.trainer_for(recipe, settings, batch=BATCH)
    if trainer.part is not None:
        batch = batch.select(trainer.part.rows)
    losses, seconds = [], []
    for _ in range(WARM + STEPS):
        started = time.perf_counter()
        losses.append(trainer.training_step(batch)["total"])
        seconds.append(time.perf_counter() - started)
        trainer.step += 1
    return Trained(losses[:WARM], statistics.median(seconds[WARM:]))


def launch(recipe: str, device: str) -> Trained:
    """The same in several processes; what the first of them found."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    started = []
    for rank in range(COUNT):
        values = dict(zip(LAUNCHED, (str(rank), str(COUNT), "127.0.0.1", port), strict=True))
        command = [sys.executable, str(SCRIPT), recipe, device]
        started.append(
            subprocess.Popen(command, env=os.environ | values, stdout=subprocess.PIPE, text=True)
        )
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise RuntimeError(f"Processes that train {recipe} together on {device} have failed.")
    return Trained(*json.loads(outputs[0].splitlines()[-1]))


def work() -> None:
    """One of several processes: train, and print what was found."""
    recipe, device = sys.argv[1:]
    distributed.init_process_group("gloo")
    print(json.dumps(train(recipe, device)))
    distributed.destroy_process_group()
