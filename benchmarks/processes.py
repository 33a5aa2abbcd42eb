"""How training scales with processes on one machine: a step of two against a step of one.

    python benchmarks/processes.py --steps 8 --rounds 3

Weak scaling: as many windows per process, so a step should take as long. Strong scaling: as many
windows altogether, so it should take half as long. Each process has one thread. The main process
works alone first, while the others wait to join it.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from statecast.data.loading import training_batches
from statecast.distributed import LAUNCHED, is_main, launched_rank, process_group, world_size
from statecast.models.build import model_of
from statecast.runs.recipes.resolve import read_recipe, resolve
from statecast.runs.run import build_data
from statecast.training.loop import Trainer
from statecast.training.options import TrainingOptions

RECIPES = ("srvp-digits-small", "separable-turntable-small")
WARM = 2  # steps before the clock starts


def step_seconds(recipe: str, batch_size: int, steps: int) -> float:
    """Median time of a step of this many windows, from the batch to the changed weights."""
    tables = resolve(read_recipe(recipe))
    data = build_data(tables)
    model = model_of(tables["model"], data.spec)
    training = TrainingOptions(
        batch_size=batch_size, validate_every=0, precision="float32", device="cpu"
    )
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(model, data, Path(folder), training)
        batches = training_batches(
            trainer.windows, range(WARM + steps), batch_size=batch_size, seed=1, part=trainer.part
        )
        found = []
        for batch in batches:
            start = time.perf_counter()
            trainer.training_step(batch)
            found.append(time.perf_counter() - start)
    return median(found[WARM:])


def work(known: argparse.Namespace) -> None:
    """Measure in each of the processes; the main one prints."""
    alone = {
        recipe: median(
            step_seconds(recipe, known.windows, known.steps) for _ in range(known.rounds)
        )
        for recipe in (known.recipes if launched_rank() == 0 else ())
    }
    with process_group():
        cases = (("weak", 1, known.windows * world_size()), ("strong", world_size(), known.windows))
        for recipe in known.recipes:
            for kind, ideal, windows in cases:
                shared = median(
                    step_seconds(recipe, windows, known.steps) for _ in range(known.rounds)
                )
                if is_main():
                    print(
                        f"| {recipe} | {kind} | {known.windows} | {windows // world_size()} | "
                        f"{1000 * alone[recipe]:.0f} | {1000 * shared:.0f} | "
                        f"{alone[recipe] / shared / ideal:.0%} |",
                        flush=True,
                    )


def launch(processes: int) -> int:
    """Start this script again, as processes of one thread each."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    started = []
    for rank in range(processes):
        values = dict(zip(LAUNCHED, (str(rank), str(processes), "127.0.0.1", port), strict=True))
        environment = os.environ | values | {"LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        started.append(subprocess.Popen([sys.executable, *sys.argv], env=environment))
    return max(abs(process.wait()) for process in started)


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--windows", type=int, default=16, help="of a step of one process")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="timed in each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each case")
    known = parser.parse_args()
    if "RANK" in os.environ:
        work(known)
        return 0
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{os.cpu_count()} processors, {known.processes} processes, load {load}\n")
    print(
        "| recipe | scaling | windows alone | windows each | step alone / ms | step / ms | "
        "efficiency |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    return launch(known.processes)


if __name__ == "__main__":
    raise SystemExit(main())
