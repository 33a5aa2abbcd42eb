"""Forecasts from videos to videos: the last frames, prepared as in training."""

import numpy as np
import pytest
import torch
from helpers.sample_videos import cut, noise, write_video
from PIL import Image

from statecast.cli.main import MISTAKE, main
from statecast.data.base import seeded_generator
from statecast.errors import InputError
from statecast.forecasting.inputs import read_context
from statecast.forecasting.predictor import Predictor
from statecast.frames import FrameSpec
from statecast.io.video.decoding import decode_video, video_facts
from statecast.io.video.encoding import write_mp4
from statecast.models import MODELS
from statecast.runs.load import load

SMALL = """
model: {name: srvp, architecture: mlp, width: 8, code_size: 6, latent_size: 4, noise_size: 3,
        inference_hidden: 8, content_size: 8, transition_hidden: 10}
data: {name: videos, size: [12, 16], frame_step: 2, crop: [2, 0, 30, 28]}
train: {steps: 2, batch_size: 4, validate_every: 0, precision: float32}
evaluate: {samples: 2, metrics: [mse], batch_size: 4}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run on videos that are gone, and videos to forecast from."""
    folder = tmp_path_factory.mktemp("videos")
    patch = pytest.MonkeyPatch()
    patch.setenv("STATECAST_CACHE", str(folder / "cache"))
    (folder / "small.yaml").write_text(SMALL)
    (folder / "clips").mkdir()
    for number in range(4):
        write_video(folder / "clips" / f"{number}.mkv", noise(16, seed=number))
    words = ["train", str(folder / "small.yaml"), "--output", str(folder / "run")]
    assert main([*words, "--data.path", str(folder / "clips")]) == 0
    assert main(["evaluate", str(folder / "run")]) == 0
    for path in (folder / "clips").iterdir():
        path.unlink()
    write_video(folder / "new.mkv", noise(11, seed=9))
    (folder / "images").mkdir()
    for number, frame in enumerate(noise(11, seed=9)):
        Image.fromarray(frame).save(folder / "images" / f"{number}.png")
    patch.undo()
    return folder


def expected_context(count):
    """The last frames of `new.mkv`, every second one, by Pillow alone."""
    frames = noise(11, seed=9)[::-2][:count][::-1]
    prepared = [
        np.asarray(
            Image.fromarray(f).resize((16, 12), Image.Resampling.BOX, (2, 0, 30, 28)).convert("L")
        )
        for f in frames
    ]
    return torch.from_numpy(np.stack(prepared)[None, :, None] / np.float32(255))


@pytest.mark.parametrize("source", ["new.mkv", "images"])
def test_the_context_is_the_last_frames_as_in_training(folder, source):
    model = load(folder / "run")
    context = read_context(folder / source, model)
    torch.testing.assert_close(context.values, expected_context(model.spec.context))
    assert context.channels == ("intensity",)
    longer = read_context(folder / source, model, 6)
    torch.testing.assert_close(longer.values, expected_context(6))
    with pytest.raises(InputError, match="needs 7"):
        read_context(folder / source, model, 7)


def test_a_model_of_other_data_takes_videos_of_its_size(folder):
    spec = FrameSpec(
        channels=("red", "green", "blue"), space=(32, 32), context=3, horizon=2,
        value_range=(0.0, 1.0),
    )  # fmt: skip
    context = read_context(folder / "new.mkv", Predictor(MODELS["persistence"](spec)))
    expected = noise(11, seed=9)[-3:].transpose(0, 3, 1, 2)[None] / np.float32(255)
    torch.testing.assert_close(context.values, torch.from_numpy(expected))
    points = FrameSpec(channels=("a",), space=(9,), context=3, horizon=2)
    with pytest.raises(InputError, match="A video has 1 or 3 channels"):
        read_context(folder / "new.mkv", Predictor(MODELS["persistence"](points)))


def test_a_forecast_is_written_as_a_video(folder, tmp_path):
    output = tmp_path / "future.mp4"
    words = ["forecast", str(folder / "run"), str(folder / "new.mkv"), "--output", str(output)]
    assert main([*words, "--samples", "3", "--horizon", "4"]) == 0
    facts = video_facts(output)
    assert facts.codec in ("h264", "mpeg4")
    observed = load(folder / "run").spec.context
    frames = [frame.pixels for frame in decode_video(output)]
    assert len(frames) >= observed + 4
    # The border of the first panel is green while frames are observed, and purple afterwards.
    borders = [frame[40, 7].astype(int) for frame in frames]
    assert all(border[1] > border[0] for border in borders[:observed])
    assert all(border[0] > border[1] for border in borders[observed:])
    assert [path.name for path in tmp_path.iterdir()] == ["future.mp4"]


@pytest.mark.parametrize("picture", ["mean", "sample"])
def test_plain_frames_have_the_size_and_the_rate_of_the_source(folder, tmp_path, picture):
    output = tmp_path / "future.mp4"
    words = ["forecast", str(folder / "run"), str(folder / "new.mkv"), "--output", str(output)]
    assert main([*words, "--samples", "3", "--horizon", "5", "--picture", picture]) == 0
    facts = video_facts(output)
    assert (facts.height, facts.width, facts.frames) == (12, 16, 5)
    assert facts.rate == pytest.approx(25 / 2)  # every second frame of 25 a second
    model = load(folder / "run")
    forecast = model.forecast(
        read_context(folder / "new.mkv", model), 5, samples=3, generator=seeded_generator(1)
    )
    expected = forecast.mean if picture == "mean" else forecast.samples[0]
    shown = np.stack([frame.pixels[..., 0] for frame in decode_video(output)]) / 255
    assert np.abs(shown - expected[0, :, 0].clamp(0, 1).numpy()).mean() < 0.05


def test_several_videos_are_a_batch_and_options_are_taken(folder, tmp_path):
    for number in range(2):
        write_video(tmp_path / f"{number}.mkv", noise(11, seed=number))
    model = load(folder / "run")
    found = read_context([str(tmp_path / "0.mkv"), str(tmp_path / "1.mkv")], model)
    assert torch.equal(found.values, read_context(tmp_path, model).values)
    assert torch.equal(found.values[1:], read_context(tmp_path / "1.mkv", model).values)
    single = read_context(tmp_path / "1.mkv", model, reading={"frame_step": 1})
    assert torch.equal(single.values[:, -1], found.values[1:, -1])
    assert not torch.equal(single.values[:, -2], found.values[1:, -2])
    with pytest.raises(InputError, match=r"got 'axes'"):
        read_context(tmp_path, model, reading={"axes": "tyx"})


def test_damaged_videos_are_named_or_skipped_as_in_training(folder, tmp_path, capsys):
    for number in range(2):
        write_video(tmp_path / f"{number}.mkv", noise(11, seed=number))
    cut(tmp_path / "0.mkv", 0.6)
    output = str(folder / "skipped.mp4")
    words = ["forecast", str(folder / "run"), str(tmp_path), "--output", output]
    assert main(words) == MISTAKE
    error = capsys.readouterr().err
    assert "0.mkv is cut off" in error
    assert "Skip it with --data.on_error skip" in error
    assert main([*words, "--data.on_error", "skip"]) == 0
    model = load(folder / "run")
    found = read_context(tmp_path, model, reading={"on_error": "skip"})
    assert torch.equal(found.values, read_context(tmp_path / "1.mkv", model).values)


def test_a_video_holds_the_pictures_it_was_given(tmp_path):
    levels = np.linspace(0, 255, 6).astype(np.uint8)
    pictures = [np.full((33, 47, 3), level, np.uint8) for level in levels]
    path = write_mp4(pictures, tmp_path / "a.mp4", 7.5, pause=3)
    frames = list(decode_video(path))
    assert len(frames) == 8
    found = [frame.pixels[:30, :44].mean() for frame in frames]
    np.testing.assert_allclose(found, [*levels, levels[-1], levels[-1]], atol=3)
    assert frames[1].time - frames[0].time == pytest.approx(1 / 7.5, abs=1e-3)
    with pytest.raises(InputError, match="positive speed"):
        write_mp4(pictures, tmp_path / "b.mp4", 0.0)


@pytest.mark.parametrize(
    ("source", "message"),
    [("clips", "holds no videos"), ("small.mp4", "text or a playlist")],
)
def test_what_is_no_video_is_one_line(folder, tmp_path, refused, source, message):
    (folder / "small.mp4").write_text(SMALL)
    words = ["forecast", folder / "run", folder / source, "--output", tmp_path / "a.mp4"]
    refused(message, words)
