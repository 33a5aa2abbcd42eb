"""One owner of a run folder: others that make or train it are refused; readers never are."""

import multiprocessing
import os
import signal
import sys
import time

import pytest
import torch

from statecast.cli.main import main
from statecast.errors import FileError, OwnedError
from statecast.runs.create import create_run
from statecast.runs.folders import LOCK_NAME, being_trained, new_folder
from statecast.runs.load import load
from statecast.runs.run import open_run, train_run
from statecast.training.checkpoints import list_checkpoints

LONG = ["--train.steps", "1000000", "--train.checkpoint_every", "5", "--train.validate_every", "0"]


def attempt(function, *args):
    """What came of it, as text."""
    try:
        return str(function(*args).folder)
    except FileError as error:
        return f"{type(error).__name__}: {error}"


def at_once(function, arguments):
    """Call a function in processes that begin together; what came of each."""
    context = multiprocessing.get_context("fork")
    barrier, queue = context.Barrier(len(arguments)), context.Queue()

    def call(args):
        barrier.wait()
        queue.put(attempt(function, *args))

    processes = [context.Process(target=call, args=(args,)) for args in arguments]
    for process in processes:
        process.start()
    found = [queue.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return found


def test_of_several_makers_of_one_folder_one_makes_it(recipe, tmp_path):
    for number in range(3):
        folder = tmp_path / f"run{number}"
        if number == 1:
            folder.mkdir()  # an empty one is as good as none
        found = at_once(create_run, [(recipe, folder)] * 4)
        made = [text for text in found if text == str(folder)]
        refused = [text for text in found if text != str(folder)]
        assert len(made) == 1, found
        assert all("is not empty" in text or "is being made by" in text for text in refused), found
        assert open_run(folder).name == "srvp"
        assert not (folder / LOCK_NAME).exists()


def test_numbers_are_given_once(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tiny-2").write_text("no run")
    found = at_once(create_run, [(recipe,)] * 4)
    assert sorted(found) == [f"runs/tiny-{number}" for number in (1, 3, 4, 5)]
    assert all((tmp_path / folder / "config.yaml").is_file() for folder in found)


def fail_in(folder):
    with new_folder("x", folder) as made:
        (made / "env.json").write_text("{}")
        (made / "inner").mkdir()
        raise OSError("full")


def test_an_error_in_making_leaves_the_folder_as_it_was(tmp_path):
    (tmp_path / "mine").mkdir()
    for name, there in (("mine", True), ("deep/new", False)):
        with pytest.raises(OSError, match="full"):
            fail_in(tmp_path / name)
        assert (tmp_path / name).exists() == there
    assert list((tmp_path / "mine").iterdir()) == []
    (tmp_path / "deep" / "file").write_text("")
    with pytest.raises(FileError, match=r"Cannot write .*deep/file/run: .* is not a folder"):
        fail_in(tmp_path / "deep" / "file" / "run")


def train_long(recipe, folder):
    """Train as the command does, in a fork of this process."""
    torch.set_num_threads(1)
    sys.argv = ["statecast", "train", recipe, "--output", str(folder), *LONG]
    main(sys.argv[1:])


@pytest.fixture
def training(recipe, tmp_path):
    """A training in a process of its own that has saved something, and its folder."""
    folder = tmp_path / "run"
    process = multiprocessing.get_context("fork").Process(target=train_long, args=(recipe, folder))
    process.start()
    while not list_checkpoints(folder):
        assert process.is_alive()
        time.sleep(0.02)
    yield process, folder
    process.kill()
    process.join()


def test_a_folder_in_training_has_one_owner_and_any_readers(training, recipe, capsys):
    process, folder = training
    assert main(["train", "--resume", str(folder)]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"statecast: {folder} is being trained by process {process.pid} on ")
    assert f"train {recipe} --output {folder}" in said
    assert said.endswith("Wait for it, or stop it.")
    assert main(["train", recipe, "--output", str(folder)]) == 2
    assert "is not empty" in capsys.readouterr().err
    # Readers see whole checkpoints, though the training replaces one after the other.
    before = list_checkpoints(folder)
    for _ in range(30):
        assert load(folder, "last").model.training is False
    assert list_checkpoints(folder) != before
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    step = int(list_checkpoints(folder)[-1].name[5:])
    assert (folder / LOCK_NAME).is_file()
    run = open_run(folder)
    run.tables["train"]["steps"] = step + 2
    assert train_run(run, resume=True).step == step + 2
    assert not (folder / LOCK_NAME).exists()


def test_only_the_first_of_processes_that_train_together_owns_the_folder(tmp_path, monkeypatch):
    launched = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RANK", "0")
    with being_trained(tmp_path):
        assert (tmp_path / LOCK_NAME).is_file()
        monkeypatch.setenv("RANK", "1")
        with being_trained(tmp_path):
            pass
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(OwnedError), being_trained(tmp_path):
            pytest.fail("owned twice")
