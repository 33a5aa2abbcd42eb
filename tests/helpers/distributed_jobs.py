"""Joint jobs of processes in tests; each function runs in all of them at once."""

import json
import signal
import time

import pytest
import torch

from statecast.data.base import seeded_generator
from statecast.distributed import (
    all_gather,
    all_reduce_max,
    all_reduce_sum,
    part_of_batch,
    process_group,
    rank,
    run_on_main,
    world_size,
)
from statecast.errors import InputError
from statecast.models.srvp import SRVP
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.random import PartGenerator
from statecast.runs.create import create_run
from statecast.runs.run import open_run, train_run

LOSS = SRVP.loss
MLP = ["--model.architecture=mlp", "--model.skips=false"]  # no batch norm, and soon done


def several(recipe, folders):
    """A training; one that is stopped, and gone on with; and one that is left to be."""
    with process_group():
        reasons = [train_new(recipe, folders["whole"], None)]
        reasons += [train_new(recipe, folders["again"], 4)]
        again = run_on_main(lambda: open_run(folders["again"]))
        reasons += [train_run(again, resume=True).reason]
        reasons += [train_new(recipe, folders["alone"], 4)]
    print(json.dumps(reasons))


def endings(recipe, folder):
    """Trainings that end because of one process alone: its minutes, or its loss."""
    with process_group():
        monotonic = time.monotonic
        if rank() == 1:
            time.monotonic = lambda: 1000 * monotonic()
        made = run_on_main(
            lambda: create_run(recipe, f"{folder}/minutes", [*MLP, "--train.max_minutes=1"])
        )
        found = train_run(made)
        time.monotonic = monotonic
        print(json.dumps(all_gather((found.reason, found.step))))
        calls = []

        def broken(self, batch, *, step=0, generator=None):
            calls.append(1)
            terms = LOSS(self, batch, step=step, generator=generator)
            bad = torch.nan if rank() == 1 and len(calls) == 5 else 1.0
            return {name: bad * value for name, value in terms.items()}

        SRVP.loss = broken
        made = run_on_main(lambda: create_run(recipe, f"{folder}/diverged", MLP))
        train_run(made)


def cannot_save(*words):
    """The command, where a checkpoint cannot be written."""
    import statecast.training.loop
    from statecast.cli.main import main
    from statecast.errors import FileError

    def refuse(*arguments, **options):
        raise FileError("Cannot write the checkpoint: No space left on device.")

    statecast.training.loop.save_checkpoint = refuse
    return main(words)


def train_new(recipe, folder, stop):
    """How a training ended, of which the last process is signalled in a step, if any."""
    calls = []

    def interrupted(self, batch, *, step=0, generator=None):
        calls.append(len(batch))
        if len(calls) == stop and rank() == world_size() - 1:
            signal.raise_signal(signal.SIGTERM)
        return LOSS(self, batch, step=step, generator=generator)

    SRVP.loss = interrupted
    made = run_on_main(lambda: create_run(recipe, folder))
    reason = train_run(made).reason
    SRVP.loss = LOSS
    assert set(calls) == {3}
    return reason


def checks():
    """Each of the functions below, which assert."""
    found = (draws, averages, numbers)
    with process_group():
        for check in found:
            check()
    print(len(found), "checked")


def draws():
    """A part draws its rows of what the whole draws."""
    mean = torch.zeros(6, 4)
    whole = DiagonalGaussian(mean, mean + 1).draw(seeded_generator(3), 2)
    part = part_of_batch(6)
    own = mean[part.rows]
    found = DiagonalGaussian(own, own + 1).draw(PartGenerator(seeded_generator(3), part), 2)
    assert torch.equal(torch.cat(all_gather(found), dim=1), whole)


def averages():
    """A sum over processes is the same everywhere."""
    assert all_reduce_sum(torch.tensor([1.0 + rank()])).tolist() == [3.0]
    assert all_gather(rank()) == [0, 1]


def numbers():
    """The largest number counts, the main process decides, and parts are equal."""
    assert all_reduce_max(rank()) == 1
    assert run_on_main(rank) == 0
    assert part_of_batch(6).rows == [slice(0, 3), slice(3, 6)][rank()]
    with pytest.raises(InputError, match="does not divide equally among 2 processes"):
        part_of_batch(7)
