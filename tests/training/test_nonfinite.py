"""Losses that are not finite: training stops and names the windows, or leaves steps out."""

import math

import pytest
import torch
from helpers.small_models import build_points
from helpers.toy_data import PendulumWindows
from helpers.trainings import same

from statecast.errors import InputError, NonFiniteLossError
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.runs.create import create_run
from statecast.runs.run import open_run, train_run
from statecast.training.checkpoints import load_checkpoint
from statecast.training.logs import read_log
from statecast.training.options import TrainingOptions
from statecast.training.train import train

BATCH = 5  # of the recipe


def spoil(monkeypatch, window, value):
    """Give one training window a value that the model cannot take."""
    batch = PendulumWindows.batch

    def spoilt(self, indices):
        made = batch(self, indices)
        if self.stream == 0:
            made.target.values[indices == window, 2, 0, 3] = value
        return made

    monkeypatch.setattr(PendulumWindows, "batch", spoilt)


def drawn(data, step):
    """Numbers of the windows in the batch of a step, from 0, of the recipe."""
    return data.windows("train").training_indices(step, BATCH, seed=1)


def step_with(data, window):
    """The first step, from 1, whose batch has a window."""
    return next(step + 1 for step in range(8) if window in drawn(data, step))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_windows_with_values_that_are_not_finite_are_named(
    recipe, data, tmp_path, monkeypatch, value
):
    window = int(drawn(data, 5)[3])
    assert step_with(data, window) == 6
    spoil(monkeypatch, window, value)
    run = create_run(recipe, tmp_path / "run")
    held = ", ".join(str(number) for number in drawn(data, 5).tolist())
    with pytest.raises(NonFiniteLossError) as caught:
        train_run(run)
    message = str(caught.value)
    assert "stopped at step 6: total, " in message
    assert f"the windows {held} of the training split; window {window} has" in message
    assert "\n" not in message
    assert load_checkpoint(run.folder).step == 4
    assert all(t.isfinite().all() for t in load_checkpoint(run.folder).model.values())


def test_a_finite_window_whose_loss_overflows_is_found(recipe, data, tmp_path, monkeypatch):
    window = int(drawn(data, 2)[1])
    spoil(monkeypatch, window, 1e30)  # its square is infinite
    with pytest.raises(NonFiniteLossError) as caught:
        train_run(create_run(recipe, tmp_path / "run"))
    assert "step 3: " in str(caught.value)
    assert "all their values are finite" in str(caught.value)
    assert f"Alone, window {window} has a loss or gradient" in str(caught.value)


def test_a_gradient_that_is_not_finite_is_found_though_the_loss_is(data, tmp_path, monkeypatch):
    loss = Separable.loss

    def cornered(self, batch, *, step=0, generator=None):
        terms = loss(self, batch, step=step, generator=generator)
        weight = list(self.parameters())[-1].flatten()[0]
        # The root of zero: its value is 0, and its slope infinite.
        terms["total"] = terms["total"] + (weight - weight.detach()).sqrt()
        return terms

    monkeypatch.setattr(Separable, "loss", cornered)
    model = build_points("separable", data.spec)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with pytest.raises(NonFiniteLossError, match="step 1: gradient_norm became inf"):
        train(model, data, tmp_path, TrainingOptions(steps=3, batch_size=4))
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name])


def test_fresh_windows_are_told_by_what_draws_them(data):
    from statecast.training.nonfinite import describe_batch

    batch = data.windows("train").batch(torch.arange(3))
    said = describe_batch(None, 7, 2, batch)
    assert "training_batch(7, 3, seed=2)" in said
    batch.context.values[2, 0, 0, 0] = math.nan
    found = describe_batch(None, 7, 2, batch)
    assert "the window at position 2 has values that are not finite" in found


def test_unknown_values_are_no_fault(data):
    from statecast.frames import Batch
    from statecast.training.nonfinite import not_finite

    values = torch.zeros(3, 9, 1, 6)
    values[1, 4] = math.nan
    known = ~values.isnan()
    assert not_finite(Batch.of(values, 4, mask=known)).tolist() == []
    assert not_finite(Batch.of(values, 4)).tolist() == [1]


def test_steps_are_left_out_up_to_the_number_asked_for(recipe, data, tmp_path, monkeypatch):
    window = int(drawn(data, 2)[0])  # again in the second epoch: 40 windows, 8 steps an epoch
    again = 9 + next(s for s in range(8) if window in drawn(data, 8 + s))
    spoil(monkeypatch, window, math.nan)
    options = ["--train.steps=20", "--train.log_every=1"]
    once = create_run(recipe, tmp_path / "once", [*options, "--train.max_nonfinite_steps=1"])
    with pytest.raises(NonFiniteLossError, match=f"step {again}: .* Steps skipped before: 1"):
        train_run(once)
    often = create_run(recipe, tmp_path / "often", [*options, "--train.max_nonfinite_steps=9"])
    train_run(often)
    log = read_log(often.folder)
    left_out = [int(s) for s, skipped in zip(log["step"], log["skipped"], strict=True) if skipped]
    assert left_out[:2] == [3, again]
    assert load_checkpoint(often.folder).state["skipped"] == len(left_out)
    for step, total in zip(log["step"], log["total"], strict=True):
        assert math.isnan(total) == (step in left_out)


def test_a_row_averages_the_steps_that_were_taken(recipe, data, tmp_path, monkeypatch):
    options = ["--train.steps=4", "--train.max_nonfinite_steps=1"]
    each = create_run(recipe, tmp_path / "each", [*options, "--train.log_every=1"])
    pairs = create_run(recipe, tmp_path / "pairs", [*options, "--train.log_every=2"])
    spoil(monkeypatch, int(drawn(data, 0)[0]), math.nan)
    train_run(each)
    train_run(pairs)
    single, double = read_log(each.folder), read_log(pairs.folder)
    assert double["skipped"] == [0.5, 0.0]
    assert double["total"][0] == single["total"][1]
    assert double["total"][1] == pytest.approx((single["total"][2] + single["total"][3]) / 2)


def test_a_step_left_out_touches_nothing(data, tmp_path, monkeypatch):
    """Weights, optimizer and running means are those of a training without that step."""
    from statecast.training.loop import Trainer

    model = build_points("srvp", data.spec)
    model.register_buffer("running", torch.zeros(3))
    loss = SRVP.loss

    def moving(self, batch, *, step=0, generator=None):
        terms = loss(self, batch, step=step, generator=generator)
        self.running.add_(terms["total"].detach())
        return terms

    monkeypatch.setattr(SRVP, "loss", moving)
    options = TrainingOptions(
        learning_rate=1e-5, gradient_clip=1.0, max_nonfinite_steps=1, precision="float32"
    )
    trainer = Trainer(model, data, tmp_path, options)
    batch = data.windows("train").batch(torch.arange(4))
    trainer.log.__enter__()
    trainer.training_step(batch)
    trainer.step = 1
    before = state_of(trainer)
    broken = data.windows("train").batch(torch.arange(4))
    broken.context.values[1, 1] = math.nan
    assert trainer.training_step(broken)["skipped"] == 1
    assert same(before, state_of(trainer))
    assert trainer.training_step(batch)["skipped"] == 0
    assert not same(before, state_of(trainer))
    with pytest.raises(NonFiniteLossError):
        trainer.training_step(broken)


def state_of(trainer):
    import copy

    return copy.deepcopy([trainer.model.state_dict(), trainer.updaters[0].optimizer.state_dict()])


def test_a_resumed_training_goes_on_with_the_count(recipe, data, tmp_path, monkeypatch):
    from helpers.trainings import interrupt_at

    spoil(monkeypatch, int(drawn(data, 2)[0]), math.nan)
    options = ["--train.steps=20", "--train.max_nonfinite_steps=1", "--train.log_every=5"]
    whole = create_run(recipe, tmp_path / "whole", options)
    parts = create_run(recipe, tmp_path / "parts", options)
    with pytest.raises(NonFiniteLossError) as first:
        train_run(whole)
    interrupt_at(6, monkeypatch)
    assert train_run(parts).reason == "signal"
    assert load_checkpoint(parts.folder).state["skipped"] == 1
    interrupt_at(None, monkeypatch)
    with pytest.raises(NonFiniteLossError) as second:
        train_run(open_run(parts.folder), resume=True)
    assert str(first.value) == str(second.value)
    one, other = load_checkpoint(whole.folder), load_checkpoint(parts.folder)
    assert same(one.model, other.model)
    assert same(one.state, other.state)
    assert (parts.folder / "metrics.csv").read_text() == (whole.folder / "metrics.csv").read_text()


def test_a_negative_number_is_refused(recipe, tmp_path):
    with pytest.raises(InputError, match="max_nonfinite_steps must be at least 0"):
        train_run(create_run(recipe, tmp_path / "run", ["--train.max_nonfinite_steps=-1"]))
