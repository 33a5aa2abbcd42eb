"""Training on two processes: the losses of one, one writer, and none that runs or waits alone."""

import json
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.distributed_jobs import MLP, cannot_save, checks, endings, several
from helpers.launched_processes import LIMIT, launched, statecast
from helpers.trainings import same

from statecast.distributed import forget_locals
from statecast.errors import NonFiniteLossError
from statecast.runs.create import create_run
from statecast.runs.run import open_run, train_run
from statecast.training.checkpoints import load_checkpoint
from statecast.training.logs import read_log

RECIPE = """
model: {name: srvp, architecture: mlp, width: 12, code_size: 4, latent_size: 3, noise_size: 2,
        inference_hidden: 6, content_size: 6, transition_hidden: 8}
data: {name: arrays, path: PATH, context: 3, horizon: 2}
train: {steps: 6, batch_size: 6, validate_every: 3, checkpoint_every: 2, log_every: 1,
        validation_windows: 5, validation_samples: 2, precision: float32, learning_rate: 0.002,
        validation_metric: mse, validation_reduction: best, validation_ranking: paper}
"""
LONG = [*MLP, "--train.steps", "100000", "--train.validate_every", "0"]
PROCESS_ERROR = "statecast: Process 0 of 2 "
CLOSE = {"rel": 2e-5, "abs": 1e-9}  # of float32 sums in another order, after some steps


@pytest.fixture
def recipe(tmp_path):
    values = np.random.default_rng(0).random((20, 9, 1, 16, 16), dtype=np.float32)
    np.save(tmp_path / "array.npy", values)
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.replace("PATH", str(tmp_path / "array.npy")))
    return str(path)


def assert_close(one, other):
    """That two runs have the same logs, diagnostics, weights and scores, but for rounding."""
    for name in ("metrics.csv", "diagnostics.csv"):
        left, right = read_log(one, name), read_log(other, name)
        assert left.keys() == right.keys()
        for column, values in left.items():
            assert right[column] == pytest.approx(values, **CLOSE), column
    left, right = load_checkpoint(one), load_checkpoint(other)
    assert (left.step, right.step) == (6, 6)
    assert left.state["best"] == pytest.approx(right.state["best"], **CLOSE)
    assert left.model.keys() == right.model.keys()
    for name, tensor in left.model.items():
        torch.testing.assert_close(tensor, right.model[name], rtol=1e-3, atol=2e-5, msg=name)


def test_two_processes_train_as_one_and_go_on_whatever_their_number(recipe, tmp_path):
    one = tmp_path / "one"
    train_run(create_run(recipe, one))
    runs = {name: tmp_path / name for name in ("whole", "again", "alone")}
    with launched(tmp_path / "said", several, recipe, {k: str(v) for k, v in runs.items()}) as all_:
        codes, said = all_.ended()
    assert codes == [0, 0], said
    assert json.loads(said[0][0]) == ["steps", "signal", "steps", "signal"]
    assert json.loads(said[1][0]) == ["steps", "signal", "steps", "signal"]
    assert said[1][1] == ""
    assert_close(one, runs["whole"])
    whole, again = (load_checkpoint(runs[name]) for name in ("whole", "again"))
    assert same(whole.model, again.model)
    for key, state in whole.state["optimizers"]["model"].items():
        assert same(state, again.state["optimizers"]["model"][key])
    assert (runs["whole"] / "metrics.csv").read_text() == (
        runs["again"] / "metrics.csv"
    ).read_text()
    assert load_checkpoint(runs["alone"]).step == 4
    train_run(open_run(runs["alone"]), resume=True)
    assert_close(one, runs["alone"])


ADVERSARIES = """{name: savp, width: 4, encoder_width: 4, discriminator_width: 2, noise_size: 3,
                  clip_length: 4}"""


def test_weights_of_other_updates_are_left_alone(recipe, tmp_path):
    text = RECIPE.replace(
        RECIPE[RECIPE.index("{name: srvp") : RECIPE.index("\ndata:")], ADVERSARIES
    )
    Path(recipe).write_text(text.replace("PATH", str(tmp_path / "array.npy")))
    words = ["--train.steps=3", "--train.validate_every=0", "--train.validation_ranking=future"]
    one, two = tmp_path / "one", tmp_path / "two"
    train_run(create_run(recipe, one, words))
    with launched(
        tmp_path / "said", statecast, "train", recipe, "--output", str(two), *words
    ) as all_:
        codes, said = all_.ended()
    assert codes == [0, 0], said
    assert said[1][1] == ""
    left, right = read_log(one), read_log(two)
    assert len(left["total"]) == 3
    for column, values in left.items():
        assert right[column] == pytest.approx(values, rel=1e-3, abs=1e-6), column


def test_batch_norms_have_statistics_of_their_own_on_processors(recipe, tmp_path):
    run = tmp_path / "run"
    words = ["train", recipe, "--output", str(run), "--model.architecture=dcgan",
             "--model.width=2", "--model.skips=true", "--train.steps=40",
             "--train.learning_rate=0.01"]  # fmt: skip
    with launched(tmp_path / "said", statecast, *words) as all_:
        codes, said = all_.ended()
    assert codes == [0, 0], said
    assert said[1][1] == ""
    log = read_log(run)
    assert sum(log["total"][-5:]) < sum(log["total"][:5])


def test_what_a_part_computes_is_what_the_whole_would(tmp_path):
    with launched(tmp_path / "said", checks) as all_:
        codes, said = all_.ended()
    assert codes == [0, 0], said
    assert [out for out, _ in said] == ["3 checked\n", "3 checked\n"]


@pytest.mark.parametrize(("number", "ranks"), [(signal.SIGINT, [1]), (signal.SIGTERM, [0, 1])])
def test_a_signal_to_any_process_saves_and_ends_all(recipe, tmp_path, number, ranks):
    words = ["train", recipe, "--output", str(tmp_path / "run"), *LONG]
    with launched(tmp_path / "said", statecast, *words) as all_:
        all_.wait_for(tmp_path / "run" / "metrics.csv", 4)
        for rank in ranks:
            os.kill(all_.processes[rank].pid, number)
        codes, said = all_.ended()
    assert codes == [75, 75], said
    step = load_checkpoint(tmp_path / "run").step
    assert f"Saved at step {step} of " in said[0][0]
    assert said[1] == ("", "")
    assert read_log(tmp_path / "run")["step"] == list(range(1, step + 1))


def test_torchrun_trains_and_passes_signals_on(recipe, tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "statecast", "train", recipe, *LONG]
    with (tmp_path / "err").open("w") as errors:
        process = subprocess.Popen(
            [*command, "--output", str(folder), "--train.loader_workers", "1"],
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        end = time.monotonic() + LIMIT
        while not read_log(folder) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process.terminate()
        said, _ = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    step = load_checkpoint(folder).step
    assert f"Saved at step {step} of " in said
    assert f"Continue with: statecast train --resume {folder}" in said
    assert read_log(folder)["step"] == list(range(1, step + 1))
    assert "statecast:" not in (tmp_path / "err").read_text()


@pytest.mark.parametrize(("number", "patience"), [(signal.SIGKILL, "60"), (signal.SIGSTOP, "3")])
def test_none_waits_long_for_one_that_is_killed_or_hangs(recipe, tmp_path, number, patience):
    words = ["train", recipe, "--output", str(tmp_path / "run"), *LONG]
    given = {"STATECAST_PATIENCE": patience}
    with launched(tmp_path / "said", statecast, *words, environment=given) as all_:
        all_.wait_for(tmp_path / "run" / "metrics.csv", 4)
        os.kill(all_.processes[1].pid, number)
        start = time.monotonic()
        all_.processes[0].join(30)
        passed = time.monotonic() - start
        code, (_, errors) = all_.processes[0].exitcode, all_.said(0)
    assert code == 2, errors
    assert passed < 15
    last = errors.splitlines()[-1]
    assert last.startswith(PROCESS_ERROR)
    assert ("lost another process" if number == signal.SIGKILL else "has waited 3 s") in last
    assert "Traceback" not in errors


def test_what_ends_one_process_ends_all(recipe, tmp_path):
    with launched(tmp_path / "said", endings, recipe, str(tmp_path)) as all_:
        codes, said = all_.ended()
    assert codes == [1, 1]
    (kind, step), other = json.loads(said[0][0])
    assert kind == "minutes"
    assert other == [kind, step]
    assert said[1][0] == said[0][0]
    assert load_checkpoint(tmp_path / "minutes").step == step < 6
    for _, errors in said:
        assert f"{NonFiniteLossError.__name__}: Training stopped at step 5: total" in errors
    assert load_checkpoint(tmp_path / "diverged").step == 4


def test_an_error_lets_go_of_what_functions_held_and_those_of_its_cause():
    held = []

    def fails(cause):
        reducer = torch.nn.Identity()
        held.append(weakref.ref(reducer))
        raise ValueError from cause

    def fails_again():
        try:
            fails(None)
        except ValueError as error:
            fails(error)

    with pytest.raises(ValueError) as raised:  # noqa: PT011
        fails_again()
    assert all(one() is not None for one in held)
    forget_locals(raised.value)
    assert [one() for one in held] == [None, None]


def test_a_checkpoint_that_cannot_be_written_ends_all_and_is_told_by_the_writer(recipe, tmp_path):
    words = ["train", recipe, "--output", str(tmp_path / "run"), *MLP]
    with launched(tmp_path / "said", cannot_save, *words) as all_:
        codes, said = all_.ended()
    assert codes == [2, 2]
    assert said[0][1].endswith("statecast: Cannot write the checkpoint: No space left on device.\n")
    assert said[1][1].startswith("statecast: Process 1 of 2 lost another process. The error of")
    assert said[1][1].count("\n") == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--model.widht=2", "has an unknown option"),  # met by the one that reads recipes
        ("--data.path=nowhere.npy", "nowhere.npy"),
    ],
)
def test_a_mistake_is_told_once(recipe, tmp_path, override, message):
    words = ["train", recipe, "--output", str(tmp_path / "run"), override]
    with launched(tmp_path / "said", statecast, *words) as all_:
        codes, said = all_.ended()
    assert codes == [2, 2]
    errors = [line for _, text in said for line in text.splitlines() if "statecast:" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert errors[0] in said[0][1]


def test_a_patience_that_is_no_time_is_refused(recipe, tmp_path):
    words = ["train", recipe, "--output", str(tmp_path / "run")]
    given = {"STATECAST_PATIENCE": "-3"}
    with launched(tmp_path / "said", statecast, *words, environment=given) as all_:
        codes, said = all_.ended()
    assert codes == [2, 2]
    assert "must be a positive number of seconds, got '-3'" in said[0][1]
