"""Trainings that are interrupted, and what must be equal afterwards."""

import signal

import torch

from statecast.models.srvp import SRVP
from statecast.training.checkpoint_folders import list_checkpoints
from statecast.training.checkpoints import load_checkpoint

KILLED = -signal.SIGKILL


def same_run(one, other):
    """The same checkpoints to the bit, the same rows of the logs, and nothing left over."""
    assert [p.name for p in list_checkpoints(one)] == [p.name for p in list_checkpoints(other)]
    for which in ("last", "best"):
        first, second = load_checkpoint(one, which), load_checkpoint(other, which)
        for part in ("model", "state"):
            assert same(getattr(first, part), getattr(second, part))
    for name in ("metrics.csv", "diagnostics.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert not list(other.rglob("*.part*"))


def same(one, other):
    """Equality of nested values, of all but the time that they took."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            key == "seconds" or same(one[key], other[key]) for key in one
        )
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


ORIGINAL_LOSS = SRVP.loss


def interrupt_at(call, monkeypatch):
    """Raise SIGTERM in this process during the given call of the loss, or never again."""
    loss = ORIGINAL_LOSS

    def interrupted(self, batch, *, step=0, generator=None):
        interrupted.calls += 1
        if interrupted.calls == call:
            signal.raise_signal(signal.SIGTERM)
        return loss(self, batch, step=step, generator=generator)

    interrupted.calls = 0
    monkeypatch.setattr(SRVP, "loss", interrupted)
