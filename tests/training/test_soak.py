"""A long training, with validations and checkpoints: memory, open files and processes stay."""

import os
import signal
import statistics
import time
from pathlib import Path

import pytest

from statecast.cli.train import STOPPED
from statecast.runs.create import create_run
from statecast.training.checkpoints import load_checkpoint

SECONDS = float(os.environ.get("STATECAST_SOAK_SECONDS", "300"))
WARM_UP = 0.25  # of the time
EVERY = 0.25  # seconds between looks
GROWTH_MIB = 2.0  # that counts as none: allocators round up
OPTIONS = [
    "--train.steps=100000000", "--train.loader_workers=2", "--train.validate_every=25",
    "--train.checkpoint_every=10", "--train.log_every=5", "--train.keep_checkpoints=2",
]  # fmt: skip


def look(process):
    """Resident memory in MiB, open files, and child processes."""
    place = Path(f"/proc/{process}")
    status = dict(
        line.split(":", 1) for line in (place / "status").read_text().splitlines() if ":" in line
    )
    children = (place / "task" / str(process) / "children").read_text().split()
    return int(status["VmRSS"].split()[0]) / 1024, len(list((place / "fd").iterdir())), children


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_long_training_takes_no_more_and_more(fork_server, recipe, tmp_path, capsys):
    folder = create_run(recipe, tmp_path / "run", OPTIONS).folder
    process = fork_server.start("train", arguments=["--resume", str(folder)])
    time.sleep(WARM_UP * SECONDS)
    first = load_checkpoint(folder).step
    looks, end = [], time.monotonic() + (1 - WARM_UP) * SECONDS
    while time.monotonic() < end:
        looks.append(look(process))
        time.sleep(EVERY)
    os.kill(process, signal.SIGTERM)
    assert fork_server.wait() == STOPPED
    last = load_checkpoint(folder).step
    third = len(looks) // 3
    early, late = looks[:third], looks[-third:]
    memory = [statistics.median(found[0] for found in part) for part in (early, late)]
    # The fewest, since a few are open while a checkpoint is written.
    files = [min(found[1] for found in part) for part in (early, late)]
    with capsys.disabled():
        print(
            f"\n{SECONDS:.0f} s, steps {first} to {last}: memory {memory[0]:.1f} MiB, then "
            f"{memory[1]:.1f}; open files {files[0]}, then {files[1]}"
        )
    assert last > first + 100
    assert memory[1] - memory[0] < GROWTH_MIB
    assert files[1] == files[0]
    assert {tuple(found[2]) for found in looks} == {tuple(looks[0][2])}  # the same two workers
    assert len(looks[0][2]) == 2
    assert len(list(folder.rglob("*"))) < 25  # and no more files on disk
