"""Benchmarks compare what is the same: plain code gives our losses, frames, scores and data."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from statecast.data.base import seeded_generator
from statecast.data.synthetic.rendering import render
from statecast.data.synthetic.trajectories import trajectories
from statecast.data.synthetic.waves_simulation import draw_parameters, simulate
from statecast.frames import Batch
from statecast.nn.fast import switches as fast_paths
from statecast.training.loop import NOISE

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PARTS = ("plain", "measuring", "speed", "speed_rows", "scaling", "gpu", "gpu_parts")
SMALL = {
    "srvp": {
        "width": 4, "code_size": 6, "latent_size": 5, "noise_size": 3, "inference_hidden": 8,
        "content_size": 8,
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
    """Without the paths that round otherwise, of which `test_fast_paths.py` takes care."""
    with fast_paths.without("channels_last", "kernel_as_matmul", "winograd"):
        check_plain_training(recipe)


def check_plain_training(recipe):
    from plain.descent import Descent, own_copy
    from speed_rows.base import SEED, model_of
    from speed_rows.training import build, plain_loss

    settings = settings_for(recipe, batch=2)
    model = model_of(recipe, settings).train()
    spec = model.spec
    frames = torch.rand(2, spec.length, *spec.frame_shape, generator=seeded_generator(1))
    names = [name for name, _ in model.named_parameters()]
    # A step of size 0 leaves gradients behind.
    descent = Descent(own_copy(model.state_dict()), names, rate=0.0, betas=(0.9, 0.999))
    loss = plain_loss(model, 2)
    theirs = descent.step(lambda weights: loss(weights, frames))
    ours = model.loss(Batch.of(frames, spec.context), generator=seeded_generator(SEED, NOISE, 0))[
        "total"
    ]
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
    for _ in range(2):
        one, other = case.ours(), case.plain()
        assert case.difference(one, other) < 1e-3
    assert other != theirs  # weights do change


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


SYSTEMS = (
    "svg", "phydnet", "mim", "predrnn", "convlstm", "cdna", "sv2p", "savp", "struct-vrnn",
    "drnet", "mcnet", "pknl", "ddpae", "dsvae", "kvae", "td-vae",
)  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_plain_systems_have_our_losses_and_gradients(name):
    from speed_rows.base import Settings
    from speed_rows.systems import sides_of

    settings = Settings(device=torch.device("cpu"), batch=2)
    with fast_paths.without("channels_last", "kernel_as_matmul", "winograd"):
        sides = sides_of(f"{name}-digits-small", settings)
        assert sides.ours() == pytest.approx(sides.plain(), rel=1e-5)
    weights = dict(sides.trainer.model.named_parameters())
    beginnings = sides.trainer.updaters[len(sides.updates) - 1].update.parameters
    trained = [name for name in weights if name.startswith(beginnings)]
    # Rounding reaches 8e-4 of the largest gradient of SAVP on processors with AVX2.
    small = 1e-3 * max(float(weights[name].grad.abs().max()) for name in trained)
    for name in trained:  # those of the last update
        wanted = weights[name].grad
        torch.testing.assert_close(sides.state[name].grad, wanted, atol=small, rtol=1e-3)


@pytest.mark.parametrize("name", SYSTEMS)
def test_plain_systems_have_our_forecasts(name):
    from speed_rows.base import Settings
    from speed_rows.systems import forecast

    settings = Settings(device=torch.device("cpu"), windows=2, frames=4, samples=3)
    case = forecast(f"{name}-digits-small", settings)
    ours, plain = case.ours().samples, case.plain()
    assert ours.shape == plain.shape
    torch.testing.assert_close(ours, plain, atol=3e-5, rtol=0)
    moved = ours.diff(dim=2)
    assert float(moved.std()) > 2e-6
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
        moved = trajectories(1, 50, max_speed=4, generator=seeded_generator(seed), **options)
        ours.append(moved.positions[:, 0])
        paths.append(digits.path(50, speed=4, numbers=numbers(seeded_generator(seed)), **options))
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


def test_turns_give_medians_of_their_ratios():
    from measuring.clock import in_turns

    order = []
    seconds = {"ours": iter([1.0, 4.0, 2.0, 1.0]), "plain": iter([2.0, 4.0, 8.0, 3.0])}

    def side(name):
        def measure():
            order.append(name)
            return next(seconds[name])

        return measure

    timing = in_turns([side("ours"), side("plain")], repeats=4)
    assert order == ["ours", "plain", "plain", "ours"] * 2
    assert timing == (1.5, 3.5, 2.5, 1.0, 4.0, 4)
    # Ratios of turns are 2, 1, 4 and 3: their median is not the ratio of medians.
    over = in_turns([lambda: 1.0, lambda: 1.0], repeats=9, budget=0.0)
    assert over.turns == 3


def test_operations_of_a_product_are_counted():
    from measuring.peaks import operations

    left, right = torch.rand(3, 5), torch.rand(5, 7)
    count, product = operations(lambda: left @ right)
    assert count == 2 * 3 * 5 * 7
    torch.testing.assert_close(product, left @ right)


def test_memory_that_calls_add_is_seen():
    code = (  # in a process of its own, whose memory no other test has changed
        "import time, torch; from measuring.footprint import added_by\n"
        "def call():\n"
        "    torch.ones(2**24)  # 64 MiB\n"
        "    held = torch.ones(2**24)\n"
        "    time.sleep(0.05)\n"
        "print(added_by(call, torch.device('cpu')))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )
    assert 0.9 * 2**26 < float(ran.stdout) < 1.5 * 2**26


def test_a_table_of_speed_is_printed_and_written(monkeypatch, capsys, tmp_path):
    import speed
    from measuring import peaks

    monkeypatch.setattr(peaks, "SIDES", {"cpu": (64,)})
    monkeypatch.setattr(peaks, "COPIED", {"cpu": 2**20})
    rows = ["data-digits", "forecast-separable-wave-100", "start-import"]
    speed.main(["--rows", *rows, "--quick", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert printed.strip() == (tmp_path / "speed.md").read_text().strip()
    content = json.loads((tmp_path / "speed.json").read_text())
    # In the order of the table, whatever that of the command line.
    found = {row["row"]: row for row in content["rows"]}
    assert list(found) == ["forecast-separable-wave-100", "data-digits", "start-import"]
    forecast = found["forecast-separable-wave-100"]
    timing = forecast["timing"]
    assert timing["ratio"] == pytest.approx(timing["plain"] / timing["ours"])
    assert forecast["difference"] < 1e-5
    assert forecast["operations"][0] == forecast["operations"][1] > 1e7
    assert found["data-digits"]["moved"] == 2 * 15 * 64**2 * 6
    assert set(content["run"]["peaks"]) == {"float32", "copy"}
    with pytest.raises(SystemExit):
        speed.main(["--rows", "no-such-row"])
    assert "There is no row 'no-such-row'" in capsys.readouterr().err


def test_an_ablation_switches_each_fast_path_off(monkeypatch, capsys):
    from contextlib import contextmanager
    from types import SimpleNamespace

    import speed
    from measuring import switches

    switched = []

    @contextmanager
    def without(name):
        switched.append(name)
        yield
        switched.append(None)

    paths = SimpleNamespace(without=without)
    monkeypatch.setattr(switches, "NAMES", {"cached": "keeps bands", "folded": "folds samples"})
    monkeypatch.setattr(switches, "import_module", lambda name: paths)
    speed.main(["--ablation", "data-digits", "--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[-2:]] == ["cached", "folded"]
    assert set(switched) == {"cached", "folded", None}
    assert switches.switched_off(["cached=off", "folded=off", "folded=on"]) == ("cached",)
    for wrong in ("cashed=off", "cached=maybe", "cached"):
        with pytest.raises(ValueError, match="Expected NAME=on or NAME=off"):
            switches.switched_off([wrong])


def test_exponents_of_growth():
    import scaling
    from measuring.growth import Point

    sizes = [1, 2, 4, 8, 16]
    assert scaling.exponent(sizes, [3 * size**2 for size in sizes]) == pytest.approx(2)
    # What small sizes cost beside does not count: the larger half alone is fitted.
    assert scaling.exponent(sizes, [9, 9, 4, 8, 16]) == pytest.approx(1)
    points = [Point("forecast", "samples", size, 0.1 * size, 2**20) for size in sizes]
    (row,) = scaling.rows_of(points)
    assert row[-2:] == ("1.00", "0.00")
    assert row[3].startswith("100 ms, 200 ms")


def test_a_point_of_growth_is_measured_and_drawn(tmp_path):
    from measuring.growth import measured
    from measuring.growth_plot import plot

    settings = settings_for("srvp-digits-stochastic")
    points = [
        measured("srvp-digits-stochastic", settings, work=work, growing="horizon", size=size)
        for work in ("forecast", "train")
        for size in (2,)
    ]
    assert all(point.seconds > 0 for point in points)
    drawn = plot([point._replace(held=2**20) for point in points], tmp_path / "s.png", title="t")
    assert drawn.read_bytes().startswith(b"\x89PNG")
