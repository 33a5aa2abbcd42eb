"""Several processes: the scores of one, written once; and none waits for one that has failed."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.launched_processes import free_port
from helpers.toy_data import Pendulum

from statecast.cli.main import MISTAKE, main
from statecast.data.loading import numbered_batches
from statecast.distributed import (
    LAUNCHED,
    all_gather,
    is_main,
    launched_processes,
    process_group,
    rank,
    share,
    world_size,
)
from statecast.runs.create import create_run
from statecast.runs.run import evaluate_run, train_run

RECIPE = """
model: {name: srvp, architecture: mlp, width: 8, code_size: 4, latent_size: 3, noise_size: 2,
        inference_hidden: 6, content_size: 6, transition_hidden: 8}
data: {name: arrays, path: PATH, context: 3, horizon: 2}
train: {steps: 1, batch_size: 2, validate_every: 1, validation_windows: 2, precision: float32}
evaluate: {samples: 3, metrics: [mse, psnr, crps, energy, spread_skill], batch_size: 2,
           analyses: [steps, probes]}
"""
LIMIT = 120  # seconds; a few are needed

# What a process does that fails before, or waits for, what the others have found.
FAILING = """
from statecast.distributed import all_gather, process_group, rank
from statecast.errors import InputError, ProcessError
with process_group():
    assert all_gather(rank()) == [0, 1]
    if rank() == 1:
        raise InputError("one has failed")
    try:
        all_gather(0)
    except ProcessError as error:
        print(error)
"""


def launched(number):
    """The environment of one process of two."""
    values = dict(zip(LAUNCHED, (str(number), "2", "127.0.0.1", free_port()), strict=True))
    return os.environ | values | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def run(tmp_path):
    values = np.random.default_rng(0).random((12, 9, 1, 6), dtype=np.float32)
    np.save(tmp_path / "array.npy", values)
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(RECIPE.replace("PATH", str(tmp_path / "array.npy")))
    made = create_run(str(recipe), tmp_path / "run")
    train_run(made)
    return made


def numbers(scores):
    """Every number in the scores of all forecasters, by its path."""
    if isinstance(scores, list):
        scores = dict(enumerate(scores))
    if not isinstance(scores, dict):
        return {(): scores}
    parts = {key: numbers(value) for key, value in scores.items()}
    return {(key, *path): value for key, part in parts.items() for path, value in part.items()}


def test_two_processes_score_what_one_does_and_one_of_them_writes(run):
    alone = evaluate_run(run, device="cpu").to_json()
    (run.folder / "scores.json").unlink()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "statecast", "evaluate", str(run.folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=LIMIT, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Written:") == 1
    scores = json.loads((run.folder / "scores.json").read_text())
    assert scores["protocol"] == json.loads(json.dumps(alone["protocol"]))
    assert (
        scores["not_computed"].keys()
        == alone["not_computed"].keys()
        == {"psnr", "probes", "spread_skill of persistence"}
    )
    assert scores["analyses"].keys() == {"steps"}
    for part in ("forecasters", "details"):
        one, two = numbers(alone[part]), numbers(scores[part])
        assert one.keys() == two.keys()
        for path, value in one.items():
            assert two[path] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), path
    assert not math.isnan(scores["forecasters"]["srvp"]["crps"]["ensemble"]["value"])


def test_where_one_has_failed_no_other_waits():
    port = free_port()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", FAILING], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=launched(number) | {"MASTER_PORT": port},
        )
        for number in (0, 1)
    ]  # fmt: skip
    try:
        (found, _), (_, mistake) = [process.communicate(timeout=LIMIT) for process in started]
    finally:
        for process in started:
            process.kill()
    assert "Process 0 of 2 lost another process. The error of that process says why" in found
    assert "InputError: one has failed" in mistake


def test_a_verb_for_one_process_refuses_several(run, monkeypatch, capsys):
    for name, value in launched(0).items():
        monkeypatch.setenv(name, value)
    assert launched_processes() == 2
    assert main(["list"]) == MISTAKE
    assert "`statecast list` runs in one process, but 2 were launched" in capsys.readouterr().err


def test_one_process_is_all_there_is():
    with process_group():
        assert (rank(), world_size(), is_main(), launched_processes()) == (0, 1, True, 1)
        assert all_gather("found") == ["found"]
        assert torch.equal(share(torch.arange(5)), torch.arange(5))


def test_a_process_without_windows_scores_none():
    windows = Pendulum().windows("test")
    assert list(numbered_batches(windows, torch.arange(0), 4)) == []
    chosen = [numbers.tolist() for numbers, _ in numbered_batches(windows, torch.arange(5), 4)]
    assert chosen == [[0, 1, 2, 3], [4]]
