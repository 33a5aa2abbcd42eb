"""Killed at any instant, for real: checkpoints, new run folders, trainings that then go on."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml
from helpers import killable_jobs
from helpers.fork_server import await_file
from helpers.trainings import KILLED, same_run

from statecast.cli.main import main
from statecast.runs.create import create_run
from statecast.runs.run import open_run, train_run
from statecast.runs.verify import verify_run
from statecast.training.checkpoint_files import verify_checkpoint
from statecast.training.checkpoint_folders import list_checkpoints
from statecast.training.checkpoints import load_checkpoint


def check(run, *, last, best):
    """Whatever is there is whole; the newest and the best one are those that they must be."""
    for path in list_checkpoints(run):
        verify_checkpoint(path)
    for which, wanted in (("last", last), ("best", best)):
        found = load_checkpoint(run, which)
        assert found.step in wanted
        assert torch.equal(found.model["weight"], torch.full((40, 10), float(found.step)))
        assert found.state["step"] == found.step


def check_clean(run, steps):
    """After the next checkpoint nothing is left of the killed one."""
    names = {path.name for path in (run / "checkpoints").iterdir()}
    assert names == {f"step={step:06d}" for step in steps}
    assert not list(run.glob(".*"))


SAVES = {  # the step that is saved beside 1, the best, and 2; whether it is best; which are then
    "a new one": (3, False, {1}),
    "a new one that is the best": (3, True, {1, 3}),
    "one that is there": (2, False, {1}),
    "one that is there and is the best": (2, True, {1, 2}),
}


@pytest.mark.parametrize("case", SAVES)
def test_killed_before_each_change_of_files_of_a_save(fork_server, quick_path, case):
    step, best, bests = SAVES[case]
    before = quick_path / "before"
    before.mkdir()
    killable_jobs.save(before, 1, best=True)
    killable_jobs.save(before, 2)
    for change in range(1000):
        run = quick_path / str(change)
        shutil.copytree(before, run)
        ended = fork_server.run("save_and_die", run=str(run), step=step, best=best, change=change)
        check(run, last={2, step}, best=bests)
        known_best = load_checkpoint(run, "best").step
        killable_jobs.save(run, 4)
        check(run, last={4}, best={known_best})
        check_clean(run, {known_best, 4})
        shutil.rmtree(run)
        if ended != KILLED:
            break
    assert ended == 0
    assert change > 10  # all of these instants were tried


def kill_often(fork_server, run, *, trials, patience, seed=0):
    """Kill a process that writes checkpoints in a tight loop, so many times; return the last."""
    chance, last = random.Random(seed), 0
    killable_jobs.save(run, last, best=True)
    for _ in range(trials):
        process = fork_server.start("write_for_ever", run=str(run), step=last + 1, best_every=5)
        time.sleep(chance.uniform(0.0, patience))
        os.kill(process, signal.SIGKILL)
        assert fork_server.wait() == KILLED
        found = load_checkpoint(run).step
        assert found >= last
        last = found
        check(run, last={last}, best={last // 5 * 5})
        # Of one killed process at most one half checkpoint and one old one are left.
        assert len(list((run / "checkpoints").iterdir())) <= 6
    killable_jobs.save(run, last + 1)
    check_clean(run, {last // 5 * 5, last + 1})
    return last


def test_killed_50_times_in_a_tight_loop(fork_server, quick_path):
    assert kill_often(fork_server, quick_path, trials=50, patience=0.05) > 5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_200_times_on_a_disk(fork_server, tmp_path):
    assert kill_often(fork_server, tmp_path, trials=200, patience=0.4, seed=1) > 50


def test_killed_while_a_run_folder_is_made(fork_server, recipe, quick_path):
    for change in range(100):
        run = quick_path / "runs" / str(change)
        ended = fork_server.run("create_and_die", recipe=recipe, run=str(run), change=change)
        if (run / "config.yaml").exists():  # a run, and whole
            assert open_run(run).tables["train"]["steps"] == 12
            assert all(found.state != "FAULT" for found in verify_run(run))
        else:
            create_run(recipe, run)
        if ended != KILLED:
            break
    assert ended == 0
    assert change > 5


def test_a_run_killed_before_its_first_checkpoint_is_resumed_from_its_start(recipe, tmp_path):
    run = create_run(recipe, tmp_path / "run")
    assert main(["train", "--resume", str(run.folder)]) == 0
    assert load_checkpoint(run.folder).step == 12


SEPARABLE = {"name": "separable", "architecture": "mlp", "latent_size": 3, "encoder_width": 8,
             "decoder_width": 8, "content_size": 3, "dynamics_hidden": 8}  # fmt: skip
# Not SRVP in bf16: not every processor has its LSTM.
OPTIONS = {
    "in one process": [],
    "with workers": ["--train.loader_workers=2"],
    "in bf16": ["--train.precision=bf16"],
}


@pytest.mark.parametrize("kind", OPTIONS)
def test_a_training_killed_often_equals_one_never_killed(fork_server, recipe, quick_path, kind):
    options = [
        *OPTIONS[kind], "--train.steps=30", "--train.log_every=4", "--train.validate_every=7",
        "--train.checkpoint_every=5", "--train.keep_checkpoints=2",
    ]  # fmt: skip
    if kind == "in bf16":
        tables = yaml.safe_load(Path(recipe).read_text()) | {"model": SEPARABLE}
        Path(recipe).write_text(yaml.safe_dump(tables))
    whole = create_run(recipe, quick_path / "whole", options)
    train_run(whole)
    parts = create_run(recipe, quick_path / "parts", options).folder
    chance, kills, steps, marks = random.Random(kind), 0, set(), quick_path / "marks"
    slow = {"slow": "step", "seconds": 0.012, "marks": str(marks)}
    for _ in range(4):
        marks.unlink(missing_ok=True)
        process = fork_server.start("train", arguments=["--resume", str(parts)], **slow)
        await_file(marks)
        time.sleep(chance.uniform(0.0, 0.3))
        os.kill(process, signal.SIGKILL)
        kills += fork_server.wait() == KILLED
        steps.add(load_checkpoint(parts).step if list_checkpoints(parts) else 0)
    assert kills >= 2
    assert fork_server.run("train", arguments=["--resume", str(parts)]) == 0
    assert steps - {30}
    same_run(whole.folder, parts)
