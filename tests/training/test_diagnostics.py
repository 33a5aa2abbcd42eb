"""Diagnostics: terms of the loss again, collapse told apart from life, training left as it is."""

import logging

import pytest
import torch
from helpers.trainings import interrupt_at
from PIL import Image

from statecast.cli.main import tell
from statecast.data.base import seeded_generator
from statecast.models.base import evaluation_mode
from statecast.models.baselines import Persistence
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.plots.curves import plot_history
from statecast.runs.create import create_run
from statecast.runs.run import open_run, train_run
from statecast.training.checkpoints import load_checkpoint
from statecast.training.diagnostics import DIAGNOSTICS_NAME, Diagnostics, diagnose
from statecast.training.logs import read_log

SMALL = {"architecture": "mlp"}


def srvp(data, **options):
    sizes = {"width": 12, "code_size": 6, "latent_size": 4, "noise_size": 3,
             "inference_hidden": 8, "content_size": 8, "transition_hidden": 10}  # fmt: skip
    return SRVP(data.spec, **sizes | SMALL | options, generator=seeded_generator(0))


def separable(data, **options):
    sizes = {"encoder_width": 8, "decoder_width": 8, "content_size": 3, "latent_size": 4,
             "dynamics_hidden": 8}  # fmt: skip
    return Separable(data.spec, **sizes | SMALL | options, generator=seeded_generator(0))


def found(model, data, **options):
    return diagnose(model, data.windows("validation"), **{"batch_size": 40, "seed": 1} | options)


def test_divergences_and_residual_are_those_of_the_loss(data):
    model = srvp(data, substeps=2)
    batch = data.windows("validation").batch(torch.arange(40))
    with evaluation_mode(model), torch.no_grad():
        terms = model.loss(batch, generator=seeded_generator(1, 3, 0))
    diagnosed = found(model, data)
    intervals = data.spec.length - 1
    for name, term, share in (
        ("divergence_initial", "divergence_initial", 1),
        ("divergence_noise_per_frame", "divergence_noise", intervals),
        ("residual_per_frame", "residual", intervals),
    ):
        assert diagnosed[name] == pytest.approx(float(terms[term]) / share, rel=1e-5)


def test_batches_add_up(data):
    # A deterministic model, because draws depend on batches.
    together, apart = (found(separable(data), data, batch_size=size) for size in (40, 7))
    assert together.keys() == apart.keys()
    assert together == pytest.approx(apart, rel=1e-6)


def test_active_units_are_those_whose_means_vary(data):
    model = srvp(data)
    last = model.initial[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.weight[:2] = 1e6 * torch.randn(2, 8, generator=seeded_generator(1))
    assert found(model, data)["initial_active"] == 2
    with torch.no_grad():
        last.weight.zero_()
    assert found(model, data)["initial_active"] == 0


def test_a_posterior_that_is_its_prior_has_no_active_unit_and_no_gap(data):
    model = srvp(data)
    model.prior[-1].weight.data.zero_()
    model.posterior.weight.data.zero_()
    model.posterior.bias.data.copy_(model.prior[-1].bias)
    diagnosed = found(model, data)
    for name in ("noise_active", "noise_gap", "divergence_noise_per_frame"):
        assert diagnosed[name] == pytest.approx(0, abs=1e-6)
    assert "z has collapsed" in model.training_warning({**diagnosed, "initial_active": 2.0})
    assert "kl_noise_weight" in model.training_warning({**diagnosed, "initial_active": 2.0})
    assert "y₁ has collapsed" in model.training_warning({**diagnosed, "initial_active": 0.0})
    assert model.training_warning({"initial_active": 1.0, "noise_active": 1.0}) is None
    # The gap is in standard deviations of the prior.
    std = torch.nn.functional.softplus(model.prior[-1].bias[3:])
    model.posterior.bias.data[:3] += 2.5 * std
    assert found(model, data)["noise_gap"] == pytest.approx(2.5, rel=1e-4)


def test_a_model_without_noise_has_no_diagnostics_of_it(data):
    diagnosed = found(srvp(data, stochastic=False), data)
    assert not [name for name in diagnosed if "noise" in name]
    assert srvp(data).training_warning({"initial_active": 3.0}) is None


def test_separable_reports_how_fast_and_how_constant_its_codes_are(data):
    model = separable(data).requires_grad_(False)
    diagnosed = found(model, data)
    batch = data.windows("validation").batch(torch.arange(40))
    first, last = (model.content_of(v).code for v in (batch.values[:, :4], batch.values[:, -4:]))
    gap = ((first - last).norm(dim=1) / (first.norm(dim=1) + last.norm(dim=1))).mean()
    assert diagnosed["invariance_gap"] == pytest.approx(float(gap), rel=1e-5)
    variance = first.var(dim=0, correction=0)
    assert diagnosed["content_variance"] == pytest.approx(float(variance.mean()), rel=1e-4)
    assert diagnosed["content_active"] == float((variance > 0.01).sum())
    with torch.no_grad():
        for block in model.dynamics_blocks:
            block[-1].weight.zero_()
            block[-1].bias.fill_(0.5)
    assert found(model, data)["latent_speed"] == pytest.approx(0.5 * 4**0.5, rel=1e-5)
    assert "content_active" not in found(separable(data, content="constant"), data)


def test_a_baseline_has_none(data):
    assert found(Persistence(data.spec), data) == {}


def test_a_resumed_training_has_the_same_table_and_weights(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(SRVP, "training_warning", lambda self, found: "it has collapsed")
    tell(logging.INFO)
    whole, parts = (create_run(recipe, tmp_path / name) for name in ("whole", "parts"))
    train_run(whole)
    assert "it has collapsed" not in capsys.readouterr().err  # 12 steps are too few to tell
    interrupt_at(8, monkeypatch)  # a step of a validation, which is owed
    assert train_run(parts).reason == "signal"
    table = parts.folder / DIAGNOSTICS_NAME
    assert read_log(parts.folder, DIAGNOSTICS_NAME)["step"] == [4]
    # Rows of steps that will be done again, and one cut off, are dropped.
    table.write_text(table.read_text() + table.read_text().splitlines()[1].replace("4,", "9,", 1))
    interrupt_at(None, monkeypatch)
    train_run(open_run(parts.folder), resume=True)
    assert table.read_text() == (whole.folder / DIAGNOSTICS_NAME).read_text()
    assert read_log(parts.folder, DIAGNOSTICS_NAME)["step"] == [4, 8, 12]
    one, other = (load_checkpoint(run.folder).model for run in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_passes_a_warning_on(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Diagnostics, "record", lambda self, step: f"warning at step {step}: told")
    tell(logging.INFO)
    train_run(create_run(recipe, tmp_path / "run"))
    assert "warning at step 4: told" in capsys.readouterr().err


def test_the_history_has_panels_for_them(tmp_path):
    history, watched = {"step": [1, 2], "total": [3.0, 2.0]}, {"step": [2], "noise_gap": [0.5]}
    widths = []
    for diagnostics in (None, watched):
        plot_history(history, tmp_path / "a.png", diagnostics=diagnostics)
        with Image.open(tmp_path / "a.png") as image:
            widths.append(image.size[0])
    assert widths[1] == 2 * widths[0]


def test_diagnosing_leaves_the_model_as_it_was(data):
    model = srvp(data).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found(model, data)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def collapsing(data, folder, monkeypatch, *, steps):
    """The table of a training whose model always has something to warn of."""
    monkeypatch.setattr(SRVP, "training_warning", lambda self, found: "it has collapsed")
    return Diagnostics(
        srvp(data), data.windows("validation"), folder, start=0, steps=steps, batch_size=40,
        count=8, seed=1,
    )  # fmt: skip


def test_a_collapse_is_told_once_and_not_in_the_warm_up(data, tmp_path, monkeypatch):
    table = collapsing(data, tmp_path, monkeypatch, steps=3000)
    said = [table.record(step) for step in (1, 250, 300, 400)]
    assert said == [None, None, "warning at step 300: it has collapsed", None]
    again = table.path.read_text()
    assert table.record(400) is None
    assert table.path.read_text() == again  # a row per step


def test_a_short_training_is_not_told_of_a_collapse(data, tmp_path, monkeypatch):
    table = collapsing(data, tmp_path, monkeypatch, steps=8)
    assert [table.record(step) for step in (4, 8)] == [None, None]
