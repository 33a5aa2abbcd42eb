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


def small(data, kind=SRVP, width=4):
    return kind(
        data.spec, architecture="mlp", width=width, code_size=4, latent_size=2, noise_size=2,
        generator=seeded_generator(0),
    )  # fmt: skip


@pytest.mark.parametrize("clip", [None, 0.1])
def test_each_update_is_a_step_of_adam_on_its_own_weights_in_order(data, tmp_path, clip):
    """Two steps, to a twentieth of one: in the second all of Adam's options matter."""
    model, twin = small(data, Alternating), small(data, Alternating)
    options = {"learning_rate": 0.001, "adam_betas": (0.5, 0.9), "batch_size": 4}
    trainer = trainer_of(data, tmp_path, model, gradient_clip=clip, **options)
    batch = data.windows("train").batch(torch.arange(4))
    parts = [
        [w for n, w in twin.named_parameters() if n.startswith(update.parameters)]
        for update in twin.updates
    ]
    optimizers = [
        torch.optim.Adam(
            weights, lr=0.001 * update.learning_rate_scale, betas=(0.5, 0.9), eps=1e-8,
            weight_decay=0.0,
        )
        for update, weights in zip(twin.updates, parts, strict=True)
    ]  # fmt: skip
    twin.train()
    for step in range(2):
        values = trainer.training_step(batch)
        trainer.step += 1
        for number, prefix in enumerate(("", "decoder_")):
            key = (1, 1, step, *((number,) if number else ()))
            total = (number + 1.0) * twin.loss(batch, generator=seeded_generator(*key))["total"]
            twin.zero_grad()
            total.backward()
            norm = torch.cat([w.grad.flatten() for w in parts[number]]).norm().item()
            if clip is not None:
                assert norm > 2 * clip
                for weight in parts[number]:
                    weight.grad *= clip / norm
            optimizers[number].step()
            assert values[f"{prefix}total"] == pytest.approx(total.item(), rel=1e-5)
            assert values[f"{prefix}gradient_norm"] == pytest.approx(norm, rel=1e-4)
    for name, weight in model.named_parameters():
        expected = dict(twin.named_parameters())[name]
        torch.testing.assert_close(weight, expected, msg=name, rtol=1e-4, atol=5e-5)


def test_noise_differs_from_step_to_step_and_from_seed_to_seed(data, tmp_path):
    totals = []
    for seed in (1, 2):
        trainer = trainer_of(data, tmp_path, small(data), learning_rate=0.0, seed=seed)
        for _ in range(2):
            batch = data.windows("train").batch(torch.arange(4))
            totals.append(trainer.training_step(batch)["total"])
            trainer.step += 1
    assert len(set(totals)) == 4


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
    with pytest.raises(InputError, match="must be resumed with the same seed"):
        Trainer(small(data), data, tmp_path, TrainingOptions(seed=7), checkpoint)
    with pytest.raises(InputError, match=r"the same model: the weights in .* do not fit"):
        Trainer(small(data, width=5), data, tmp_path, edited, checkpoint)


def test_phases_that_do_not_add_up_are_refused():
    with pytest.raises(InputError, match="add up to steps = 10"):
        TrainingOptions(steps=10, phases=(Phase("a", 3),))


def test_an_update_whose_weights_all_rest_is_left_out(data, tmp_path):
    model = small(data, Alternating)
    phases = (Phase("inference", 1, ("decoder",)), Phase("both", 1))
    trainer = trainer_of(data, tmp_path, model, steps=2, phases=phases, batch_size=4)
    batch = data.windows("train").batch(torch.arange(4))
    assert "decoder_total" not in trainer.training_step(batch)
    trainer.step = 1
    assert "decoder_total" in trainer.training_step(batch)


def test_each_gradient_is_shortened_by_itself(data, tmp_path):
    batch = data.windows("train").batch(torch.arange(4))
    gradients = []
    for limit in (None, 0.01):
        model = small(data)
        trainer_of(data, tmp_path, model, batch_size=4, gradient_clip_each=limit).training_step(
            batch
        )
        gradients.append([weight.grad for weight in model.parameters()])
    for whole, short in zip(*gradients, strict=True):
        scale = min(1.0, 0.01 / float(whole.norm() + 1e-30))
        torch.testing.assert_close(short, scale * whole, rtol=1e-3, atol=1e-8)
    assert sum(float(whole.norm()) > 0.01 for whole in gradients[0]) > 1


def test_a_phase_that_freezes_nothing_is_refused_and_leaves_no_folder(recipe, tmp_path):
    phases = '[{"name": "a", "steps": 12, "frozen": ["transition", "transitoin"]}]'
    with pytest.raises(InputError, match=r"'a' freezes 'transitoin'.* encoder, .*transition"):
        create_run(recipe, tmp_path / "run", ["--train.phases", phases])
    assert not (tmp_path / "run").exists()
