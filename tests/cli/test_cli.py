"""The command line: every verb from start to end, and every mistake on one line with code 2."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from statecast.cli.evaluate import INCOMPLETE
from statecast.cli.main import main
from statecast.cli.train import STOPPED
from statecast.runs.create import create_run
from statecast.runs.load import load
from statecast.runs.run import train_run


@pytest.fixture
def run(recipe, tmp_path):
    made = create_run(recipe, tmp_path / "run", ["--train.steps", "4"])
    train_run(made)
    return made.folder


@pytest.fixture
def frames(tmp_path):
    path = tmp_path / "frames.npy"
    np.save(path, np.random.default_rng(0).random((9, 6), dtype=np.float32))
    return path


def kind_of(path):
    with Image.open(path) as image:
        return image.format


def test_train_evaluate_forecast(recipe, frames, tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", recipe, "--output", str(folder), "--train.steps", "6"]) == 0
    assert f"statecast evaluate {folder}" in capsys.readouterr().out
    assert main(["evaluate", str(folder), "--evaluate.samples", "2"]) == 0
    assert "persistence" in capsys.readouterr().out
    assert json.loads((folder / "scores.json").read_text())["protocol"]["samples"] == 2
    assert kind_of(folder / "scores.png") == "PNG"
    output = tmp_path / "out.npz"
    arguments = ["forecast", str(folder), str(frames), "--output", str(output)]
    assert main([*arguments, "--horizon", "7", "--samples", "3"]) == 0
    with np.load(output) as content:
        assert content["samples"].shape == (3, 1, 7, 1, 6)
        model = load(folder)
        context = torch.from_numpy(np.load(frames))[None, -4:, None]
        from statecast.data.base import seeded_generator

        expected = model.forecast(context, 7, samples=3, generator=seeded_generator(1))
        np.testing.assert_array_equal(content["samples"], expected.samples)


IMAGES = """
model: {name: srvp, architecture: dcgan, width: 4, code_size: 6, latent_size: 4, noise_size: 3,
        inference_hidden: 8, content_size: 8, transition_hidden: 10}
data: {name: arrays, path: images.npy, context: 3, horizon: 2, value_range: [0.0, 1.0]}
train: {steps: 1, batch_size: 2, validate_every: 0, precision: float32}
evaluate: {samples: 2, metrics: [lpips, mse, fvd], max_windows: 2}
"""


def test_scores_that_lack_weights_end_with_a_code_of_their_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for place in ("STATECAST_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(place, str(tmp_path))
    np.save("images.npy", np.random.default_rng(0).random((60, 1, 32, 32), dtype=np.float32))
    (tmp_path / "images.yaml").write_text(IMAGES)
    train_run(create_run("images.yaml", "run"))
    capsys.readouterr()
    assert main(["evaluate", "run"]) == INCOMPLETE
    assert capsys.readouterr().err.count("\n") == 1
    assert "mse" in json.loads((tmp_path / "run/scores.json").read_text())["forecasters"]["srvp"]
    before = (tmp_path / "run/scores.json").read_bytes()
    assert main(["evaluate", "run", "--evaluate.metrics", "[lpips]"]) == INCOMPLETE
    assert (tmp_path / "run/scores.json").read_bytes() == before
    asked = ["--evaluate.metrics", "[lpips]", "--evaluate.analyses", "[steps]"]
    capsys.readouterr()
    assert main(["evaluate", "run", *asked]) == INCOMPLETE
    assert "steps:" in capsys.readouterr().out  # an analysis does not replace scores
    assert (tmp_path / "run/scores.json").read_bytes() == before
    assert main(["evaluate", "run", "--evaluate.metrics", "[mse]"]) == 0


def test_scores_are_written_where_nothing_can_draw_them(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["evaluate", str(run), "--evaluate.samples", "2"]) == 0
    assert (run / "scores.json").is_file()
    assert not (run / "scores.png").exists()
    assert "statecast[plots]" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
def test_forecasts_are_drawn(run, frames, tmp_path, ending):
    output = tmp_path / f"out.{ending}"
    assert main(["forecast", str(run), str(frames), "--output", str(output)]) == 0
    assert kind_of(output) == ending.upper()


def test_options_of_metrics_reach_them_and_what_cannot_be_computed_is_named(run, capsys):
    words = ["evaluate", str(run), "--evaluate.metrics", "[brier, fvd]", "--allow-download"]
    assert main([*words, "--evaluate.thresholds", "[0.2, 0.8]"]) == 0
    assert "fvd was not computed: it needs images" in capsys.readouterr().out
    protocol = json.loads((run / "scores.json").read_text())["protocol"]
    assert protocol["metric_settings"] == {"brier": {"thresholds": [0.2, 0.8]}}
    assert main(["evaluate", str(run), "--evaluate.metrics", "[fvd]"]) == 0  # nothing to draw


def test_list_and_print_config(capsys, recipe):
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    for name in ("srvp-digits-small", "separable", "moving_digits", "crps"):
        assert f"  {name}" in listed
    assert main(["list", "metrics"]) == 0
    assert capsys.readouterr().out.count("\n\n") == 1  # a single section
    assert main(["train", recipe, "--print_config", "--train.steps", "5"]) == 0
    assert "steps: 5" in capsys.readouterr().out


def test_help_after_a_recipe_lists_its_options_and_values(recipe, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", recipe, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for text in ("--model.code_size CODE_SIZE size of a frame's code. (type: int, default: 6)",
                 "(type: int, default: 12)", "--evaluate.samples", "--resume RUN"):  # fmt: skip
        assert text in said
    assert "CONFIG" not in said


def test_a_resumed_training_goes_on(recipe, tmp_path, capsys, monkeypatch):
    from helpers.trainings import interrupt_at

    folder = tmp_path / "run"
    interrupt_at(2, monkeypatch)
    assert main(["train", recipe, "--output", str(folder)]) == STOPPED
    assert f"statecast train --resume {folder}" in capsys.readouterr().out
    interrupt_at(None, monkeypatch)
    assert main(["train", "--resume", str(folder)]) == 0
    assert "Trained 12 steps" in capsys.readouterr().out


def mistakes(tmp_path, run, frames):
    """Arguments, and what the one line of the error must say."""
    bad = tmp_path / "bad"
    bad.mkdir()
    np.save(bad / "shape.npy", np.zeros((9, 7), np.float32))
    np.save(bad / "nan.npy", np.full((9, 6), np.nan, np.float32))
    np.save(bad / "short.npy", np.zeros((2, 6), np.float32))
    np.save(bad / "text.npy", np.full((9, 6), "a"))
    np.save(bad / "object.npy", np.array([{}]), allow_pickle=True)
    (bad / "cut.npy").write_bytes(frames.read_bytes()[:100])
    np.savez(bad / "two.npz", a=np.zeros(3), b=np.zeros(3))
    (bad / "video.doc").write_bytes(b"x")
    out = str(tmp_path / "out.npz")

    def forecast(source, *options):
        return ["forecast", str(run), str(source), "--output", out, *options]

    return [
        (forecast(bad / "shape.npy"), "(1, 6)"),
        (forecast(bad / "nan.npy"), "finite"),
        (forecast(bad / "short.npy"), "at least 4 frame"),
        (forecast(bad / "text.npy"), "numbers"),
        (forecast(bad / "object.npy"), "holds Python objects"),
        (forecast(bad / "cut.npy"), "cannot be read as an array of numbers"),
        (forecast(bad / "two.npz"), "holds a (3,), b (3,)"),
        (forecast(bad / "video.doc"), ".npy, .npz"),
        (forecast(bad / "none.npy"), "no file"),
        (forecast(frames, "--horizon", "0"), "at least 1 frame"),
        (forecast(frames, "--samples", "0"), "at least 1 sample"),
        (["forecast", str(bad), str(frames), "--output", out], "not a run folder"),
        (["forecast", str(run), str(frames), "--output", "out.doc"], ".gif, .webp, .mp4"),
        (
            ["forecast", str(run), str(frames), "--output", str(bad / "x" / "a.npz")],
            "does not exist",
        ),
        (forecast(frames, "--checkpoint", "99"), "no checkpoint of step 99"),
        (forecast(frames, "--device", "gpu"), "no device 'gpu'"),
        (["train", "srvp-digit"], "did you mean"),
        (["train"], "--resume RUN"),
        (["train", "--resume", str(run), "--model.width", "3"], "--model.width cannot"),
        (["evaluate", str(run), "--evaluate.metrics", "[accuracy]"], "'accuracy'"),
    ]


def test_every_mistake_is_one_line_with_code_2_and_nothing_written(tmp_path, run, frames, refused):
    cases = mistakes(tmp_path, run, frames)
    before = sorted(p for p in tmp_path.rglob("*"))
    for arguments, message in cases:
        refused(message, arguments)
    assert sorted(p for p in tmp_path.rglob("*")) == before


def test_a_damaged_checkpoint_is_named(run, frames, tmp_path, refused):
    (weights,) = run.glob("checkpoints/*/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    out = tmp_path / "out.npz"
    refused(str(weights), ["forecast", run, frames, "--output", out])
    assert not out.exists()


def test_published_folders_forecast_as_they_are(tmp_path, capsys):
    from pathlib import Path

    golden = Path(__file__).parents[1] / "golden" / "srvp_dcgan"
    with np.load(golden / "expected.npz") as expected:
        np.save(tmp_path / "in.npy", expected["context"])
    out = tmp_path / "out.npz"
    arguments = ["forecast", str(golden), str(tmp_path / "in.npy"), "--output", str(out)]
    assert main([*arguments, "--horizon", "4", "--substeps", "2"]) == 0
    with np.load(out) as found, np.load(golden / "expected.npz") as expected:
        thinned = found["samples"][0][..., ::4, ::4]
        np.testing.assert_allclose(thinned, expected["forecast_euler2"], atol=1e-4)


def test_public_names_are_there():
    import statecast

    for name in statecast.__all__:
        assert getattr(statecast, name) is not None
    with pytest.raises(AttributeError, match="forcast"):
        _ = statecast.forcast
