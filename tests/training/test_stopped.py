"""Asked to stop, by real signals: saved in time whatever is going on, and then gone on with."""

import contextlib
import os
import random
import signal
import time

import pytest
from helpers.fork_server import await_file
from helpers.toy_data import trained_run
from helpers.trainings import KILLED, same_run

from statecast.cli.main import INTERRUPTED
from statecast.cli.train import STOPPED
from statecast.errors import FileError
from statecast.runs.create import create_run
from statecast.runs.run import train_run
from statecast.training.checkpoint_folders import list_checkpoints
from statecast.training.checkpoints import load_checkpoint

OPTIONS = ["--train.log_every=4", "--train.validation_batch_size=1"]
LONG, SHORT = 60.0, 0.3  # seconds that a slow part takes
GRACE = 20.0  # in which a training must have ended, far less than LONG, on a busy machine too


@pytest.fixture
def start(fork_server, quick_path, recipe):
    """Start a training with a slow part, and wait until that is reached."""
    folder = create_run(recipe, quick_path / "run", OPTIONS).folder
    marks = quick_path / "marks"

    def started(slow, seconds, *, train=("--resume", str(folder))):
        options = {"slow": slow, "seconds": seconds, "marks": str(marks)}
        process = fork_server.start(
            "train", arguments=list(train), says=str(quick_path / "says"), **options
        )
        await_file(marks)
        return process

    started.folder, started.says = folder, (quick_path / "says").read_text
    return started


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that was never stopped."""
    return trained_run(tmp_path_factory.mktemp("whole"), OPTIONS).folder


CASES = {  # what is slow; for how long; the signal; other options
    "steps": ("step", SHORT, signal.SIGTERM),
    "Ctrl-C": ("step", SHORT, signal.SIGINT),
    "SLURM": ("step", SHORT, getattr(signal, "SIGUSR1", signal.SIGTERM)),
    "loading": ("train", LONG, getattr(signal, "SIGUSR2", signal.SIGTERM)),
    "validation": ("validation", LONG, signal.SIGTERM),
    "saving": ("save", SHORT, signal.SIGTERM),
    "preparing": ("start", LONG, signal.SIGTERM),
}


@pytest.mark.parametrize("case", CASES)
def test_a_signal_saves_in_time_and_training_goes_on(fork_server, start, whole, case):
    slow, seconds, number = CASES[case]
    process, before = start(slow, seconds), time.monotonic()
    os.kill(process, number)
    assert fork_server.wait() == STOPPED
    assert time.monotonic() - before < GRACE
    assert f"statecast train --resume {start.folder}" in start.says()
    done = load_checkpoint(start.folder).step if list_checkpoints(start.folder) else None
    assert done == {"loading": 2, "validation": 4, "saving": 3, "preparing": None}.get(case, 1)
    assert fork_server.run("train", arguments=["--resume", str(start.folder)]) == 0
    same_run(whole, start.folder)


def test_a_last_validation_that_was_broken_off_is_made_up_for(
    fork_server, recipe, quick_path, start
):
    options = [*OPTIONS, "--train.validate_every=12"]
    folder = quick_path / "late"
    arguments = [recipe, "--output", str(folder), *options]
    process = start("validation", LONG, train=arguments)
    os.kill(process, signal.SIGTERM)
    assert fork_server.wait() == STOPPED
    assert load_checkpoint(folder).step == 12
    assert load_checkpoint(folder).state["best"] is None
    assert fork_server.run("train", arguments=["--resume", str(folder)]) == 0
    whole = create_run(recipe, quick_path / "whole", options)
    assert train_run(whole).best == load_checkpoint(folder, "best").state["best"]
    same_run(whole.folder, folder)


def test_workers_outlive_a_signal_to_the_whole_group(fork_server, recipe, quick_path, start):
    folder = quick_path / "workers"
    arguments = [recipe, "--output", str(folder), *OPTIONS, "--train.loader_workers=2"]
    process = start("step", SHORT, train=arguments)
    for _ in range(2):  # as `timeout` does: the process, then its group
        os.killpg(process, signal.SIGTERM)
    assert fork_server.wait() == STOPPED, start.says()
    assert load_checkpoint(folder).step == 1
    assert not there_is(process)  # its workers have gone with it


def there_is(group):
    """Whether a process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, INTERRUPTED)]
)
def test_a_second_signal_ends_at_once_without_harm(fork_server, start, number, code):
    process, before = start("save", LONG), time.monotonic()
    os.kill(process, number)
    time.sleep(1.2)  # a second one right after the first is the same request
    os.kill(process, number)
    assert fork_server.wait() == code
    assert time.monotonic() - before < GRACE
    with pytest.raises(FileError, match="no checkpoint"):
        load_checkpoint(start.folder)
    assert fork_server.run("train", arguments=["--resume", str(start.folder)]) == 0
    assert load_checkpoint(start.folder).step == 12
    assert not list(start.folder.rglob("*.part*"))


@pytest.mark.slow
def test_workers_end_with_a_main_process_that_is_killed(fork_server, recipe, quick_path, start):
    folder = quick_path / "workers"
    arguments = [recipe, "--output", str(folder), *OPTIONS, "--train.loader_workers=2"]
    process = start("step", SHORT, train=arguments)
    os.kill(process, signal.SIGKILL)
    assert fork_server.wait() == KILLED
    end = time.monotonic() + 60
    while there_is(process) and time.monotonic() < end:  # PyTorch's workers look every 5 s
        time.sleep(0.1)
    assert not there_is(process)


@pytest.mark.slow
def test_signals_at_random_moments(fork_server, recipe, quick_path):
    """Any signal, at any moment, again and again: in the end the same run."""
    options = [*OPTIONS, "--train.steps=150", "--train.validate_every=7"]
    whole = create_run(recipe, quick_path / "whole", options)
    train_run(whole)
    parts = create_run(recipe, quick_path / "parts", options).folder
    chance, marks, codes = random.Random(0), quick_path / "marks", []
    says = quick_path / "says"
    while 0 not in codes:  # until it was let alone for long enough to end
        marks.unlink(missing_ok=True)
        process = fork_server.start(
            "train", arguments=["--resume", str(parts)], slow="step", seconds=0.02,
            marks=str(marks), says=str(says),
        )  # fmt: skip
        if chance.random() < 0.5:  # in its steps, however busy the machine is
            await_file(marks)
        time.sleep(chance.uniform(0.0, 0.7))
        number = chance.choice([signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGKILL])
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)
        codes.append(fork_server.wait())
    # One that was hit before it began to train has died of it, and nothing was lost.
    early = {-signal.SIGTERM, -signal.SIGUSR1, INTERRUPTED}
    assert set(codes) <= {0, STOPPED, KILLED} | early, says.read_text()
    assert codes.count(STOPPED) > 2
    assert fork_server.run("train", arguments=["--resume", str(parts)]) == 0
    same_run(whole.folder, parts)
