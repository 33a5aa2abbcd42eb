"""Calibration finds the bias and the spread that a forecast lacks, and is kept and asked for."""

import json
import math
from typing import ClassVar

import pytest
import torch
from helpers.seeds import seeded
from helpers.toy_data import Pendulum

from statecast.cli.main import main
from statecast.data.base import DataSource, Windows
from statecast.errors import CorruptionError, FileError, InputError
from statecast.evaluation.calibrate import fit_calibration, least_crps
from statecast.evaluation.evaluate import evaluate
from statecast.frames import Batch, Forecast, FrameSpec
from statecast.metrics.ensemble import crps
from statecast.models.base import Forecaster
from statecast.models.calibration import Calibration
from statecast.nn.random import standard_normal
from statecast.runs.create import create_run
from statecast.runs.load import load
from statecast.runs.run import evaluate_run, open_run, train_run
from statecast.runs.verify import verify_run


class NoiseWindows(Windows):
    """Two channels of noise about what the context says: of standard deviation 2 and 3."""

    def __init__(self, seed):
        generator = seeded(seed)
        level = torch.randn(120, 1, 1, 1, generator=generator).expand(120, 2, 2, 12)
        noise = torch.randn(120, 3, 2, 12, generator=generator)
        future = level[:, :1] + torch.tensor([2.0, 3.0]).view(2, 1) * noise
        self.values = torch.cat([level, future], dim=1)

    def __len__(self):
        return 120

    def batch(self, indices):
        return Batch.of(self.values[indices], 2, channels=("u", "v"))

    @property
    def digest(self):
        return "noise"


class Noise(DataSource):
    spec = FrameSpec(channels=("u", "v"), space=(12,), context=2, horizon=3, unit="m, s")
    card: ClassVar = {"name": "noise"}

    def windows(self, split):
        return NoiseWindows({"train": 0, "validation": 1, "test": 2}[split])


class TooSure(Forecaster):
    """Knows the level, is off by 0.5, and spreads by 1 only."""

    stochastic = True

    def loss(self, batch, *, step=0, generator=None):
        raise NotImplementedError

    def predict(self, context, times, *, samples, substeps, solver, content_from, generator):
        shape = (samples, len(context.values), len(times), *self.spec.frame_shape)
        noise = standard_normal(shape, context.values, generator)
        return context.values[:, -1:] + 0.5 + noise


def test_a_known_bias_and_inflation_are_found():
    found = fit_calibration(TooSure(Noise.spec), Noise().windows("validation"), samples=30)
    expected = torch.tensor([2.0, 3.0]).expand(3, 2).double()
    torch.testing.assert_close(found.inflation, expected, rtol=0.06, atol=0.0)
    torch.testing.assert_close(found.bias, torch.full((3, 2), -0.5).double(), rtol=0.0, atol=0.25)
    assert found.lead_times == (1.0, 2.0, 3.0)


def test_what_is_fitted_on_other_windows_mends_those_of_the_test():
    data, model = Noise(), TooSure(Noise.spec)
    names = ("crps", "energy", "spread_skill", "coverage")
    before = evaluate(model, data, metrics=names, samples=20).forecasters["model"]
    model.calibration = fit_calibration(model, data.windows("validation"))
    found = evaluate(model, data, metrics=names, samples=20)
    after = found.forecasters["model"]
    for metric in ("crps", "energy", "coverage"):
        assert after[metric]["ensemble"].value < before[metric]["ensemble"].value
    assert before["spread_skill"]["ensemble"].value < 0.5
    assert after["spread_skill"]["ensemble"].value == pytest.approx(1, abs=0.05)
    inside = found.details["model"]["coverage"]["inside_0.9"]
    assert inside == pytest.approx([0.9] * 3, abs=0.03)
    # Exact for normal values: CRPS of N(0, 2²) is 2/√π where the spread is right.
    exact = (2 + 3) / 2 / math.sqrt(math.pi)
    assert after["crps"]["ensemble"].value == pytest.approx(exact, rel=0.05)


def test_no_other_inflation_or_bias_has_a_lower_crps():
    generator = seeded(3)
    samples = torch.randn(200, 100, 2, generator=generator).double()
    truth = 0.3 + 1.7 * torch.randn(100, 2, generator=generator).double()
    inflation, bias = least_crps(samples, truth)
    mean = samples.mean(dim=0)

    def score(a, b):
        return crps(mean + b + a * (samples - mean), truth).mean(dim=0)

    best = score(inflation, bias)
    for a in (-0.2, -0.02, 0, 0.02, 0.2):
        for b in (-0.2, -0.02, 0, 0.02, 0.2):
            assert (score(inflation + a, bias + b) >= best - 1e-4).all()


def test_what_is_found_does_not_depend_on_the_number_of_samples():
    generator = seeded(3)
    level = torch.randn(4000, 1, generator=generator)
    samples = level + torch.randn(64, 4000, 1, generator=generator)
    truth = level + 0.3 + 1.7 * torch.randn(4000, 1, generator=generator)
    for few in (4, 10):
        found, whole = least_crps(samples[:few], truth), least_crps(samples, truth)
        torch.testing.assert_close(found, whole, rtol=0.05, atol=0.05)


def test_unknown_points_count_nowhere_and_a_dead_spread_is_left_alone():
    samples, truth = torch.zeros(5, 40, 1), torch.full((40, 1), 2.0)
    truth[::2] = torch.nan
    inflation, bias = least_crps(samples, truth)
    assert (float(inflation), float(bias)) == (1.0, 2.0)


def test_between_lead_times_it_is_linear_and_beyond_them_constant():
    made = Calibration(
        lead_times=(1.0, 2.0), channels=("u",),
        inflation=torch.tensor([[1.0], [3.0]]), bias=torch.tensor([[0.0], [1.0]]),
    )  # fmt: skip
    samples = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1, 1).expand(2, 1, 4, 1, 1)
    times = torch.tensor([0.5, 1.0, 1.5, 9.0])
    forecast = Forecast(samples=samples, times=times, channels=("u",))
    found = made.apply(forecast)
    assert found.mean.flatten().tolist() == [0.0, 0.0, 0.5, 1.0]
    assert (found.samples[1] - found.mean).flatten().tolist() == [1.0, 1.0, 2.0, 3.0]
    assert made.apply(forecast, (-0.5, 2.0)).samples.flatten().tolist()[-1] == 2.0
    assert Calibration.from_json(json.loads(json.dumps(made.to_json()))).to_json() == made.to_json()
    with pytest.raises(InputError, match="for the channels"):
        made.apply(Forecast(samples=samples, times=times, channels=("v",)))
    with pytest.raises(InputError, match="finite"):
        Calibration(lead_times=(1.0,), channels=("u",), inflation=torch.ones(1, 1),
                    bias=torch.full((1, 1), torch.nan))  # fmt: skip


def test_a_run_is_calibrated_and_forecasts_are_on_request(recipe, tmp_path, capsys):
    run = create_run(recipe, tmp_path / "run")
    train_run(run)
    with pytest.raises(FileError, match="statecast calibrate"):
        run.load(calibrated=True)
    assert main(["calibrate", str(run.folder), "--samples", "6"]) == 0
    said = capsys.readouterr().out
    assert "inside_0.9" in said
    windows = len(Pendulum().windows("validation"))
    assert f"On the {windows} validation windows that it was fitted on" in said
    assert "calibration.json" in said
    context = Pendulum().windows("test").batch(torch.arange(2)).context
    plain, corrected = load(run.folder), load(run.folder, calibrated=True)
    options = {"samples": 5, "horizon": 3}
    one, other = (p.forecast(context, generator=seeded(1), **options) for p in (plain, corrected))
    made = corrected.model.calibration
    torch.testing.assert_close(made.apply(one, (0.0, 1.0)).samples, other.samples)
    assert not torch.equal(one.samples, other.samples)
    scores = evaluate_run(run, calibrated=True, device="cpu")
    assert scores.protocol["calibrated"] is True
    assert evaluate_run(run, device="cpu").protocol["calibrated"] is False
    stored = json.loads((run.folder / "calibration.json").read_text())
    assert stored["after"]["crps"] <= stored["before"]["crps"]
    path = run.folder / "calibration.json"
    content = path.read_text()
    assert [c.state for c in verify_run(run.folder) if c.path == path] == ["ok"]
    path.write_text(content.replace('"step": 12', '"step": 11').replace('"seed": 1', '"seed": 2'))
    assert [c.state for c in verify_run(run.folder) if c.path == path] == ["FAULT"]
    with pytest.raises(CorruptionError):
        open_run(run.folder).load(calibrated=True)


def test_a_calibration_is_for_one_checkpoint(recipe, tmp_path):
    run = create_run(recipe, tmp_path / "run", ["--train.validate_every", "3"])
    train_run(run)
    assert main(["calibrate", str(run.folder), "--checkpoint", "best", "--samples", "2"]) == 0
    assert run.load("best", calibrated=True).calibration is not None
    with pytest.raises(InputError, match="fitted for the checkpoint of step 3"):
        run.load("last", calibrated=True)
