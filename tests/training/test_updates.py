"""Several updates in a step, phases, and a plateau: each exact across a stop at any step."""

import pytest
import torch
from helpers.trainings import interrupt_at, same

from statecast.data.base import seeded_generator
from statecast.errors import InputError
from statecast.models.base import Update
from statecast.models.srvp import SRVP
from statecast.runs.create import create_run
from statecast.runs.run import open_run, train_run
from statecast.training.checkpoints import load_checkpoint
from statecast.training.logs import read_log
from statecast.training.options import Phase, TrainingOptions
from statecast.training.schedules import Plateau


class Alternating(SRVP):
    """SRVP whose decoder learns in an update of its own, at half the rate."""

    def __init__(self, spec, **options):
        super().__init__(spec, **options)

    @property
    def updates(self):
        rest = ("encoder", "filter", "initial", "posterior", "prior", "transition", "content")
        return (Update("inference", rest), Update("decoder", ("decoder",), 0.5))

    def update_loss(self, name, batch, *, step=0, generator=None):
        terms = self.loss(batch, step=step, generator=generator)
        scale = 1.0 if name == "inference" else 2.0
        return {key: scale * value for key, value in terms.items()}


def trainer_of(data, folder, model, **options):
    from statecast.training.loop import Trainer

    return Trainer(model, data, folder, TrainingOptions(precision="float32", **options))


def small(data, kind=SRVP):
    return kind(
        data.spec, architecture="mlp", width=4, code_size=4, latent_size=2, noise_size=2,
        generator=seeded_generator(0),
    )  # fmt: skip


def test_each_update_is_a_step_of_adam_on_its_own_weights_in_order(data, tmp_path):
    model, twin = small(data, Alternating), small(data, Alternating)
    trainer = trainer_of(data, tmp_path, model, learning_rate=0.01, batch_size=4)
    batch = data.windows("train").batch(torch.arange(4))
    values = trainer.training_step(batch)
    twin.train()
    for number, (update, scale) in enumerate(zip(twin.updates, (1.0, 2.0), strict=True)):
        weights = [w for n, w in twin.named_parameters() if n.startswith(update.parameters)]
        rate = 0.01 * update.learning_rate_scale
        optimizer = torch.optim.Adam(weights, lr=rate, betas=(0.9, 0.999))
        key = (1, 1, 0, *((number,) if number else ()))
        total = scale * twin.loss(batch, generator=seeded_generator(*key))["total"]
        twin.zero_grad()
        total.backward()
        optimizer.step()
        prefix = "" if number == 0 else f"{update.name}_"
        assert values[f"{prefix}total"] == pytest.approx(total.item(), rel=1e-5)
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight, dict(twin.named_parameters())[name], msg=name)


def test_updates_that_share_take_one_optimiser_and_the_same_noise(data, tmp_path):
    class Twice(SRVP):
        updates = (Update("model"), Update("again", shares="model"))

        def __init__(self, spec, **options):
            super().__init__(spec, **options)

    model = small(data, Twice)
    trainer = trainer_of(data, tmp_path, model, learning_rate=0.0, batch_size=4)
    values = trainer.training_step(data.windows("train").batch(torch.arange(4)))
    assert trainer.updaters[0].optimizer is trainer.updaters[1].optimizer
    assert values["again_total"] == values["total"]
    steps = {int(s["step"]) for s in trainer.updaters[0].optimizer.state.values()}
    assert steps == {2}


PHASES = (Phase("codecs", 5, ("transition",)), Phase("dynamics", 7, ("encoder", "decoder")))


def test_what_a_phase_freezes_does_not_change(data, tmp_path):
    model = small(data)
    trainer = trainer_of(
        data, tmp_path, model, steps=12, phases=PHASES, learning_rate=0.01, batch_size=4
    )
    batch = data.windows("train").batch(torch.arange(4))
    for frozen, steps in (("transition", 5), ("encoder", 7)):
        before = {name: weight.clone() for name, weight in model.named_parameters()}
        for _ in range(steps):
            trainer.training_step(batch)
            trainer.step += 1
        changed = {n for n, w in model.named_parameters() if not torch.equal(w, before[n])}
        assert changed
        assert not any(name.startswith(frozen) for name in changed)


@pytest.mark.parametrize("stop", [3, 5, 9])
def test_a_training_in_phases_with_a_plateau_goes_on_exactly(recipe, tmp_path, monkeypatch, stop):
    phases = '[{"name": "a", "steps": 5, "frozen": ["transition"]}, {"name": "b", "steps": 7}]'
    options = ["--train.steps=12", f"--train.phases={phases}", "--train.validate_every=2",
               "--train.schedule=plateau", "--train.patience=1",
               "--train.learning_rate=0.05", "--train.log_every=1"]  # fmt: skip
    whole = create_run(recipe, tmp_path / "whole", options)
    train_run(whole)
    parts = create_run(recipe, tmp_path / "parts", options)
    interrupt_at(stop, monkeypatch)
    assert train_run(parts).reason == "signal"
    interrupt_at(None, monkeypatch)
    train_run(open_run(parts.folder), resume=True)
    one, other = load_checkpoint(whole.folder), load_checkpoint(parts.folder)
    assert same(one.model, other.model)
    assert same(one.state, other.state)
    rates = read_log(whole.folder)["learning_rate"]
    assert read_log(parts.folder)["learning_rate"] == rates


def test_a_plateau_decays_when_patience_is_exhausted():
    options = TrainingOptions(schedule="plateau", patience=2, decay_factor=0.1)
    plateau = Plateau()
    scales = []
    for improved in (True, False, False, False, False, False, False, True, False):
        plateau.observe(improved, options)
        scales.append(round(plateau.scale(options), 6))
    # As `torch.optim.lr_scheduler.ReduceLROnPlateau(patience=2, factor=0.1)` does.
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, patience=2, factor=0.1, threshold=0.0
    )
    expected = []
    for score in (5.0, 6.0, 6.0, 6.0, 6.0, 6.0, 6.0, 4.0, 6.0):
        theirs.step(score)
        expected.append(round(optimizer.param_groups[0]["lr"], 6))
    assert scales == expected


def test_options_of_the_optimiser_come_from_the_recipe_and_its_state_from_the_checkpoint(
    data, tmp_path
):
    from statecast.training.loop import Trainer

    model = small(data)
    first = trainer_of(data, tmp_path, model, batch_size=4)
    first.training_step(data.windows("train").batch(torch.arange(4)))
    first.step = 1
    first.save(best=True)
    checkpoint = load_checkpoint(tmp_path, "last")
    edited = TrainingOptions(precision="float32", adam_betas=(0.5, 0.9), batch_size=4)
    again = Trainer(small(data), data, tmp_path, edited, checkpoint)
    optimizer = again.updaters[0].optimizer
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.9)
    before = first.updaters[0].optimizer.state_dict()["state"]
    assert same(optimizer.state_dict()["state"], before)
    with pytest.raises(InputError, match="cannot go on with another seed"):
        Trainer(small(data), data, tmp_path, TrainingOptions(seed=7), checkpoint)


def test_phases_that_do_not_add_up_are_refused():
    with pytest.raises(InputError, match="add up to steps, 10"):
        TrainingOptions(steps=10, phases=(Phase("a", 3),))


def test_an_update_whose_weights_all_rest_is_left_out(data, tmp_path):
    model = small(data, Alternating)
    phases = (Phase("inference", 1, ("decoder",)), Phase("both", 1))
    trainer = trainer_of(data, tmp_path, model, steps=2, phases=phases, batch_size=4)
    batch = data.windows("train").batch(torch.arange(4))
    assert "decoder_total" not in trainer.training_step(batch)
    trainer.step = 1
    assert "decoder_total" in trainer.training_step(batch)
