"""Jobs of processes that `fork_server.py` starts, until they are killed or asked to stop."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import torch
from helpers.toy_data import TINY, Pendulum, PendulumWindows

from statecast.cli import main as cli
from statecast.data import DATASETS
from statecast.runs.create import create_run
from statecast.training.checkpoints import save_checkpoint
from statecast.training.loop import Trainer

# What changes a folder. Between two of these it does not matter when a process is killed.
CHANGES = ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.chmod")
QUICK = 2  # first batches, of steps
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def warm_up():
    """Register the data set, and import once for all what is imported late."""
    DATASETS["pendulum"] = Pendulum
    silent = io.StringIO()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(silent), redirect_stderr(silent):
        recipe = Path(folder) / "tiny.yaml"
        recipe.write_text(TINY)
        cli.main(["train", str(recipe), "--output", f"{folder}/run", "--train.steps", "1"])


def save(run, step, **options):
    """A tiny checkpoint that says its step everywhere."""
    weights = {"weight": torch.full((40, 10), float(step))}
    return save_checkpoint(
        Path(run), step, model=weights, state={"a": weights, "step": step}, info={}, **options
    )


def write_for_ever(run, step, best_every):
    """Checkpoint after checkpoint, as fast as can be; each step is written twice."""
    while True:
        for _ in range(2):
            save(run, step, best=step % best_every == 0)
        step += 1


def save_and_die(run, step, best, change):
    """Save a checkpoint, and be killed before the given change of files."""
    die_at(change)
    save(run, step, best=best)


def die_at(change):
    """Be killed by SIGKILL before the change of files of this number."""
    left = change

    def count(event, arguments):
        nonlocal left
        if event in CHANGES or (event == "open" and arguments[2] & WRITES):
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def train(arguments, slow=None, seconds=0.0, marks=None):
    """`statecast train` with these arguments.

    Args:
        arguments: of the command.
        slow: split whose batches take some time, `step`, `save`, or `start`.
        seconds: how long they take.
        marks: file that says so when that is reached first.
    """
    if slow is not None:
        retard(slow, seconds, Path(marks))
    return cli.main(["train", *arguments])


def retard(slow, seconds, marks):
    """Make a part of training slow, and say when it is reached."""

    calls = 0

    def wait():
        nonlocal calls
        calls += 1
        if slow == "train" and calls <= QUICK:
            return
        marks.write_text("reached")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.01)

    if slow in ("train", "validation"):
        batch = PendulumWindows.batch
        stream = {"train": 0, "validation": 1}[slow]

        def slowly(self, indices):
            if self.stream == stream:
                wait()
            return batch(self, indices)

        PendulumWindows.batch = slowly
    elif slow == "step":
        training_step = Trainer.training_step

        def slow_step(self, batch):
            wait()
            return training_step(self, batch)

        Trainer.training_step = slow_step
    elif slow == "save":
        from statecast.training import checkpoint_files

        write = checkpoint_files.write_tensors

        def slow_write(path, tensors):
            write(path, tensors)
            wait()

        checkpoint_files.write_tensors = slow_write
    else:  # before the first step
        assert slow == "start", slow
        from statecast.training import loop

        fit = loop.fit_statistics

        def slow_fit(*arguments, **options):
            wait()
            return fit(*arguments, **options)

        loop.fit_statistics = slow_fit


def limited(run, bytes_at_most, step):
    """Save a checkpoint where no file may be larger than so many bytes."""
    import resource

    from statecast.errors import FileError

    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, most))
    try:
        save(run, step)
    except FileError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        print(error)
        return 3
    return 0


def create_and_die(recipe, run, change):
    """Make a run folder, and be killed before the given change of files."""
    die_at(change)
    create_run(recipe, run)
