"""Training: resumed runs are the same runs, signals save, NaN stops, the best is kept."""

import signal
from collections import Counter

import pytest
import torch
from helpers.toy_data import PendulumWindows
from helpers.trainings import ORIGINAL_LOSS, interrupt_at, same

from statecast.data.base import SPLITS
from statecast.errors import InputError
from statecast.evaluation.evaluate import evaluate
from statecast.evaluation.scoring import score_windows
from statecast.models.baselines import Climatology, Persistence
from statecast.models.dmd import DMD
from statecast.models.srvp import SRVP
from statecast.runs.create import create_run
from statecast.runs.run import open_run, train_run
from statecast.training.checkpoints import load_checkpoint
from statecast.training.logs import read_log
from statecast.training.options import TrainingOptions
from statecast.training.train import train


def weights(folder, which="last"):
    return load_checkpoint(folder, which).model


@pytest.mark.parametrize("stop", [3, 4, 7])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_stopped_and_resumed_training_equals_one_never_stopped(
    recipe, tmp_path, monkeypatch, stop, workers
):
    options = ["--train.loader_workers", str(workers), "--train.schedule", "cosine"]
    whole = create_run(recipe, tmp_path / "whole", options)
    train_run(whole)
    parts = create_run(recipe, tmp_path / "parts", options)
    interrupt_at(stop, monkeypatch)
    assert train_run(parts).reason == "signal"
    assert load_checkpoint(parts.folder).step == stop
    interrupt_at(None, monkeypatch)
    result = train_run(open_run(parts.folder), resume=True)
    assert (result.step, result.reason) == (12, "steps")
    one, other = load_checkpoint(whole.folder), load_checkpoint(parts.folder)
    assert same(one.model, other.model)
    for key, state in one.state["optimizers"]["model"].items():
        assert same(state, other.state["optimizers"]["model"][key])
    assert one.state["best"] == other.state["best"]
    assert read_log(parts.folder)["step"] == read_log(whole.folder)["step"]


def test_a_loss_is_told_the_steps_done_before_also_once_resumed(recipe, tmp_path, monkeypatch):
    told, loss = [], ORIGINAL_LOSS

    def listening(self, batch, *, step=0, generator=None):
        if self.training:
            told.append(step)
        return loss(self, batch, step=step, generator=generator)

    run = create_run(recipe, tmp_path / "run", ["--train.steps", "5", "--train.precision=float32"])
    monkeypatch.setattr(SRVP, "loss", listening)
    train_run(run)
    assert told == [0, 1, 2, 3, 4]
    parts = create_run(recipe, tmp_path / "parts", ["--train.precision=float32"])
    interrupt_at(3, monkeypatch)
    train_run(parts)
    told.clear()
    monkeypatch.setattr(SRVP, "loss", listening)
    train_run(open_run(parts.folder), resume=True)
    assert told == list(range(3, 12))


def test_signals_are_handled_as_before_once_training_is_over(recipe, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    interrupt_at(2, monkeypatch)
    train_run(create_run(recipe, tmp_path / "run"))
    assert signal.getsignal(signal.SIGTERM) is before


def test_training_lowers_the_loss_and_logs_every_term(recipe, tmp_path):
    run = create_run(recipe, tmp_path / "run", ["--train.steps", "60", "--train.log_every", "1"])
    train_run(run)
    log = read_log(run.folder)
    assert log["step"] == list(range(1, 61))
    assert sum(log["total"][-10:]) < sum(log["total"][:10])
    names = {"reconstruction", "divergence_initial", "divergence_noise", "residual"}
    assert names | {"total", "gradient_norm", "learning_rate", "step"} == set(log)


def test_a_training_ends_when_its_minutes_are_over(recipe, tmp_path):
    run = create_run(
        recipe, tmp_path / "run", ["--train.max_minutes", "0.0", "--train.steps", "1000"]
    )
    result = train_run(run)
    assert (result.reason, result.step) == ("minutes", 1)
    assert load_checkpoint(run.folder, "best").step == 1


def test_validation_leaves_training_as_it_is(recipe, tmp_path):
    often = create_run(recipe, tmp_path / "often", ["--train.validate_every", "1"])
    never = create_run(recipe, tmp_path / "never", ["--train.validate_every", "0"])
    train_run(often)
    train_run(never)
    assert same(weights(often.folder), weights(never.folder))


def test_each_part_of_a_training_and_an_evaluation_is_given_its_own_split(
    data, tmp_path, monkeypatch
):
    """Windows asked for, by split: trained on 2 × 4; validated and diagnosed twice on 7 each."""
    asked = Counter()
    batch = PendulumWindows.batch

    def counted(self, indices):
        asked[SPLITS[self.stream]] += len(indices)
        return batch(self, indices)

    monkeypatch.setattr(PendulumWindows, "batch", counted)
    model = SRVP(data.spec, architecture="mlp", width=4, code_size=4, latent_size=2, noise_size=2)
    options = TrainingOptions(steps=2, batch_size=4, validate_every=1, validation_windows=7)
    train(model, data, tmp_path, options)
    assert asked == {"train": 2 * 4, "validation": 2 * (7 + 7)}
    for split in ("validation", "test"):
        asked.clear()
        evaluate(model, data, split=split, metrics=("mse",), samples=1, baselines=("climatology",))
        # The model and two baselines are scored; the climatology is fitted; then contexts of all
        # windows are held against those of training, whose channels one more window tells.
        fitted = 2 * 32  # no more batches than all 40 windows fill
        assert asked == {"train": fitted + 40 + 1, split: 3 * 40 + 40}


def test_the_windows_of_a_training_follow_from_its_seed(data, tmp_path, monkeypatch):
    asked, batch = [], PendulumWindows.batch

    def listening(self, indices):
        asked.append(indices.tolist())
        return batch(self, indices)

    monkeypatch.setattr(PendulumWindows, "batch", listening)
    drawn = data.windows("train").training_indices
    for seed in (1, 5):
        model = SRVP(data.spec, architecture="mlp", width=4, code_size=4, latent_size=2)
        options = TrainingOptions(steps=3, batch_size=4, validate_every=0, seed=seed)
        train(model, data, tmp_path, options)
        assert asked == [drawn(step, 4, seed=seed).tolist() for step in range(3)]
        asked.clear()


def test_baselines_are_fitted_in_no_steps(data, tmp_path):
    model = Climatology(data.spec)
    result = train(model, data, tmp_path, TrainingOptions(batch_size=8))
    assert result.step == 0
    again = Climatology(data.spec)
    again.load_state_dict(load_checkpoint(tmp_path, "best").model)
    assert torch.equal(again.mean, model.mean)
    assert abs(float(again.mean.mean()) - 0.5) < 0.1
    assert train(Persistence(data.spec), data, tmp_path, TrainingOptions(batch_size=8)).step == 0


def test_a_linear_model_is_fitted_in_no_steps_and_beats_persistence(data, tmp_path):
    model = DMD(data.spec)
    assert train(model, data, tmp_path, TrainingOptions(batch_size=8)).step == 0
    again = DMD(data.spec)
    again.load_state_dict(load_checkpoint(tmp_path, "best").model)
    found, trivial = (
        score_windows(m, data.windows("test"), metrics=["mse"]).of("mse", "mean").value
        for m in (again, Persistence(data.spec))
    )
    assert found < 0.1 * trivial


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"batch_size": 0}, {"validation_batch_size": 0},
     {"validation_metric": "accuracy"},
     {"schedule": "linear", "decay_start": 20, "steps": 10}, {"device": "cuda:99"},
     {"loader_workers": -1}],
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(data, tmp_path, options):
    model = SRVP(data.spec, architecture="mlp", width=4, code_size=4, latent_size=2, noise_size=2)
    with pytest.raises(InputError):
        train(model, data, tmp_path, TrainingOptions(**options))
    assert not list(tmp_path.iterdir())
