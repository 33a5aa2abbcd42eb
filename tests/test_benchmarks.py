"""Benchmarks compare what is the same: plain code gives our losses, frames, scores and data."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from statecast.data.base import generator_of
from statecast.data.rendering import render
from statecast.data.trajectories import trajectories
from statecast.data.waves_simulation import draw_parameters, simulate
from statecast.frames import Batch
from statecast.trainer import NOISE

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PARTS = ("plain", "measuring", "speed", "speed_rows", "scaling")
SMALL = {
    "srvp": {
        "width": 4, "code_size": 6, "latent_size": 5, "noise_size": 3, "inference_hidden": 8,
        "transition_hidden": 9,
    },
    "separable": {
        "encoder_width": 8, "decoder_width": 8, "content_size": 5, "latent_size": 5,
        "dynamics_hidden": 9,
    },
}  # fmt: skip
RECIPES = (
    "srvp-digits-stochastic",
    "srvp-kth",
    "separable-wave-100",
    "separable-wave",
    "separable-digits",
)


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in PARTS]:
        del sys.modules[name]


def settings_for(recipe, **options):
    from speed_rows.base import Settings

    sizes = SMALL[recipe.split("-")[0]]
    return Settings(device=torch.device("cpu"), sizes=sizes, **options)


@pytest.mark.parametrize("recipe", RECIPES)
def test_plain_training_has_our_loss_gradients_and_steps(recipe):
    from plain.descent import Descent
    from speed_rows.base import SEED, model_of
    from speed_rows.training import build, plain_loss

    settings = settings_for(recipe, batch=3)
    model = model_of(recipe, settings).train()
    spec = model.spec
    frames = torch.rand(3, spec.length, *spec.frame_shape, generator=generator_of(1))
    names = [name for name, _ in model.named_parameters()]
    # A step of size 0 leaves gradients behind.
    descent = Descent(model.state_dict(), names, rate=0.0, betas=(0.9, 0.999))
    loss = plain_loss(model, 3)
    theirs = descent.step(lambda weights: loss(weights, frames))
    ours = model.loss(Batch.of(frames, spec.context), generator_of(SEED, NOISE, 0))["total"]
    ours.backward()
    assert ours.item() == pytest.approx(theirs, rel=1e-5)
    # Biases before a normalisation have gradients of 0, but for rounding.
    small = 1e-4 * max(float(weight.grad.abs().max()) for weight in model.parameters())
    for name, weight in model.named_parameters():
        torch.testing.assert_close(descent.state[name].grad, weight.grad, atol=small, rtol=1e-3)
    for name, statistic in model.named_buffers():
        if "running" in name:
            torch.testing.assert_close(descent.state[name], statistic, atol=1e-5, rtol=1e-4)
    # Several steps of Adam stay together as well.
    case = build(recipe, settings)
    for _ in range(3):
        one, other = case.ours(), case.plain()
        assert case.difference(one, other) < 1e-3
    assert other < theirs


@pytest.mark.parametrize("recipe", RECIPES)
def test_plain_forecasts_are_ours(recipe):
    from speed_rows.forecasting import plain_forecast, setting_of

    samples = 3 if recipe.startswith("srvp") else 1
    setting = setting_of(recipe, settings_for(recipe), samples=samples, frames=4, windows=2)
    ours, plain = setting.forecast("float32").samples, plain_forecast(setting)()
    assert ours.shape == plain.shape
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=0)
    # Of random weights frames differ little; what moves in them must agree as well.
    moved = ours.diff(dim=2)
    assert float(moved.std()) > 1e-5
    torch.testing.assert_close(moved, plain.diff(dim=2), atol=0.05 * float(moved.std()), rtol=0)


@pytest.mark.parametrize("recipe", ["srvp-kth", "srvp-digits-stochastic"])
def test_plain_scores_of_the_best_sample_are_ours(recipe):
    from speed_rows.forecasting import best_of_n, scoring

    settings = settings_for(recipe, samples=3, frames=4, windows=2)
    for build in (best_of_n, scoring):
        case = build(recipe, settings)
        ours, plain = case.ours(), case.plain()
        assert set(ours) == {"psnr", "ssim"}
        assert ours == pytest.approx(plain, rel=1e-4)
        assert case.difference(ours, plain) < 1e-4


@pytest.mark.parametrize("stochastic", [True, False])
def test_plain_digits_move_and_look_as_ours(stochastic):
    from plain import digits

    def numbers(generator):
        return lambda low, high: torch.randint(low, high + 1, (2,), generator=generator).numpy()

    options = {"room": 36, "stochastic": stochastic}
    paths, ours = [], []
    for seed in range(20):
        moved = trajectories(1, 50, max_speed=4, generator=generator_of(seed), **options)
        ours.append(moved.positions[:, 0])
        paths.append(digits.path(50, speed=4, numbers=numbers(generator_of(seed)), **options))
    np.testing.assert_array_equal(ours, paths)
    glyphs = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    drawn = render(glyphs[None], np.stack(ours, axis=1)[:, None], 64)[0]
    np.testing.assert_array_equal(drawn, digits.draw(glyphs, paths, 64))


@pytest.mark.parametrize("by", ["lines", "slices"])
def test_plain_waves_are_ours(by):
    from plain import waves

    parameters = draw_parameters(2, 1)
    (ours,) = simulate(parameters, frames=30)
    plain = waves.simulate(parameters.source, parameters.speed, 30, by=by)
    np.testing.assert_allclose(ours.numpy(), plain, atol=1e-5 * float(ours.abs().max()))
