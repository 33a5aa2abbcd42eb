"""How training scales with processes on one machine: a step of two against a step of one.

    python benchmarks/processes.py --steps 8 --rounds 3

Weak scaling: as many windows per process, so a step should take as long. Strong scaling: as many
windows altogether, so it should take half as long. Each process has one thread. All cases run in
the same processes, in turns, so that the load of the machine is the same for all of them; while
one process works alone, the other sleeps. `more work` is how much processor time sharing costs,
waiting aside, which a busy machine changes little. Last comes what the exchange by itself takes.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from statistics import median
from typing import NamedTuple

import torch

from statecast.data.base import DataSource, generator_of
from statecast.data.loading import training_batches
from statecast.distributed import LAUNCHED, is_main, joined, prompt, size
from statecast.models import MODELS
from statecast.models.base import Forecaster
from statecast.runs.recipes import read_recipe, resolve
from statecast.runs.run import build_data
from statecast.sharing import part_of
from statecast.training.together import Team

RECIPES = ("srvp-digits-small", "separable-turntable-small")
WARM = 2  # steps before the clock starts


class Case(NamedTuple):
    """A model in training, alone or in a team."""

    model: Forecaster
    optimizer: torch.optim.Optimizer
    team: Team | None
    batch_size: int  # of the whole step
    data: DataSource


def case_of(recipe: str, batch_size: int, *, together: bool) -> Case:
    """A model of a recipe with its own initial weights."""
    tables = resolve(read_recipe(recipe))
    data = build_data(tables)
    options = {name: value for name, value in tables["model"].items() if name != "name"}
    model = MODELS[tables["model"]["name"]](data.spec, **options, generator=generator_of(1))
    team = Team(model, batch_size) if together and size() > 1 else None
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    return Case(model.train(), optimizer, team, batch_size, data)


class Seconds(NamedTuple):
    """Of a step, from the batch to the changed weights."""

    passed: float  # on the clock
    worked: float  # by the processor, for this process


def step_seconds(case: Case, steps: int) -> Seconds:
    """Median times of a step."""
    team = case.team
    part = None if team is None else team.part
    batches = training_batches(
        case.data.windows("train"),
        range(WARM + steps),
        batch_size=case.batch_size,
        seed=1,
        part=part,
    )
    found = []
    with nullcontext() if team is None else team.training():
        for step in range(WARM + steps):
            start = Seconds(time.perf_counter(), time.process_time())
            noise = generator_of(1, step)
            with nullcontext() if team is None else team.sharing():
                terms = case.model.loss(
                    next(batches),
                    step=step,
                    generator=noise if team is None else team.generator(noise),
                )
            case.optimizer.zero_grad()
            if team is None:
                terms["total"].backward()
            else:
                team.backward(terms)
            case.optimizer.step()
            end = Seconds(time.perf_counter(), time.process_time())
            found.append(Seconds(end.passed - start.passed, end.worked - start.worked))
    passed, worked = zip(*found[WARM:], strict=True)
    return Seconds(median(passed), median(worked))


def alone(case: Case, steps: int) -> Seconds:
    """The same by the main process, while the others sleep."""
    seconds = step_seconds(case, steps) if is_main() else Seconds(0.0, 0.0)
    wait_asleep()
    return seconds


def wait_asleep() -> None:
    """Wait for the main process without taking a processor from it."""
    done = torch.zeros(1)
    work = torch.distributed.broadcast(done, src=0, async_op=True)
    while not work.is_completed():
        time.sleep(0.01)
    work.wait()


def measure(recipe: str, windows: int, steps: int, rounds: int) -> list[str]:
    """Rows of the table of one recipe."""
    cases = {
        "one": case_of(recipe, windows, together=False),
        "strong": case_of(recipe, windows, together=True),
        "weak": case_of(recipe, windows * size(), together=True),
    }
    seconds: dict[str, list[Seconds]] = {name: [] for name in cases}
    for _ in range(rounds):
        seconds["one"].append(alone(cases["one"], steps))
        seconds["strong"].append(step_seconds(cases["strong"], steps))
        seconds["weak"].append(step_seconds(cases["weak"], steps))
    if not is_main():
        return []
    rows = []
    for kind, ideal, whole in (("weak", 1.0, windows * size()), ("strong", size(), windows)):
        pairs = list(zip(seconds["one"], seconds[kind], strict=True))
        ratios = [one.passed / two.passed / ideal for one, two in pairs]
        more = [ideal * two.worked / one.worked - 1 for one, two in pairs]
        step, shared = (median(s.passed for s in seconds[name]) for name in ("one", kind))
        rows.append(
            f"| {recipe} | {kind} | {windows} | {len(part_of(whole))} | {1000 * step:.0f} | "
            f"{1000 * shared:.0f} | {median(ratios):.0%} ({min(ratios):.0%} to "
            f"{max(ratios):.0%}) | {median(more):+.0%} |"
        )
    return rows


def exchange_milliseconds(megabytes: float, count: int = 10) -> float:
    """Median time in which a tensor is added up over processes."""
    tensor = torch.zeros(int(megabytes * 2**18))
    found = []
    for _ in range(count):
        start = time.perf_counter()
        torch.distributed.all_reduce(tensor)
        found.append(1000 * (time.perf_counter() - start))
    return median(found)


def work(known: argparse.Namespace) -> None:
    """What each of the processes does; the main one prints."""
    with joined(), prompt():
        for recipe in known.recipes:
            for row in measure(recipe, known.windows, known.steps, known.rounds):
                print(row, flush=True)
        found = {megabytes: exchange_milliseconds(megabytes) for megabytes in (1e-4, 1.0, 25.0)}
        if is_main():
            said = ", ".join(f"{size:g} MiB {took:.2f} ms" for size, took in found.items())
            print(f"\nExchange: {said}")


def launch(processes: int) -> int:
    """This script again, as so many processes of one thread each."""
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
        "efficiency | more work |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    return launch(known.processes)


if __name__ == "__main__":
    raise SystemExit(main())
