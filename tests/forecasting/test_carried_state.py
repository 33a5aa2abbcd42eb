"""A followed source: forecasts from a carried state are those from all frames since it began."""

import logging
import threading
import time

import numpy as np
import pytest
import torch
import xarray
from helpers.field_files import labelled
from helpers.small_srvp import SPEC, small
from PIL import Image

from statecast.cli.main import main
from statecast.data.base import seeded_generator
from statecast.forecasting.carried_state import CarriedState, why_no_state
from statecast.forecasting.forecast_file import forecast_file
from statecast.forecasting.predictor import Predictor
from statecast.frames import FrameSpec
from statecast.io.fields.time_steps import Step, frame_number
from statecast.io.video.discovery import find_clips
from statecast.io.video.options import ClipOptions
from statecast.io.video.preprocessing import last_prepared
from statecast.models.baselines import Persistence
from statecast.models.calibration import Calibration
from statecast.models.change import ChangeForecaster
from statecast.models.kvae.model import KVAE
from statecast.models.td_vae.model import TDVAE
from statecast.runs.load import load

VIDEO = np.random.default_rng(3).random((20, 9), dtype=np.float32)
CONTEXT = SPEC.context


def model_of(name):
    generator = seeded_generator(1)
    if name == "kvae":
        return KVAE(SPEC, architecture="mlp", filters=(8,), generator=generator)
    if name == "td_vae":
        return TDVAE(
            SPEC, code_size=8, belief_size=6, latent_size=3, map_hidden=7, decoder_hidden=9,
            generator=generator,
        )  # fmt: skip
    return small(noise="white")


class Followed:
    """A file that grows, and forecasts of what follows it."""

    def __init__(self, model, folder, samples=3):
        self.source, self.output = folder / "seen.npy", folder / "future.npz"
        self.predictor = Predictor(model)
        self.carried = CarriedState(self.predictor, samples=samples, seed=2)

    def look(self, values):
        np.save(self.source, values)
        forecast_file(
            self.predictor, self.source, self.output, samples=self.carried.samples, seed=2,
            carried=self.carried,
        )  # fmt: skip
        with np.load(self.output) as found:
            return torch.from_numpy(found["samples"])

    def expected(self, values):
        frames = torch.from_numpy(values)[None, :, None]
        generator = seeded_generator(2)
        samples = self.carried.samples
        return self.predictor.forecast(frames, samples=samples, generator=generator).samples


@pytest.mark.parametrize("name", ["kvae", "td_vae", "srvp"])
def test_a_state_goes_on_by_the_frames_that_are_new(name, tmp_path, caplog):
    logging.getLogger("statecast").propagate = True
    followed = Followed(model_of(name), tmp_path)
    first = 6 - CONTEXT  # where the context of the first look begins
    for length in (6, 7, 9, 9, 16):  # by one, by two, by none, by more than a context
        found = followed.look(VIDEO[:length])
        expected = followed.expected(VIDEO[first:length])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    alone = followed.expected(VIDEO[16 - CONTEXT : 16])
    # Earlier frames are remembered.
    assert float((found - alone).abs().max()) > 30 * float((found - expected).abs().max())
    assert not caplog.records


def test_a_source_that_does_not_go_on_begins_a_state(tmp_path, caplog):
    logging.getLogger("statecast").propagate = True
    followed = Followed(model_of("kvae"), tmp_path)
    followed.look(VIDEO[:8])
    others = [VIDEO[:6], VIDEO[6:12], VIDEO[4:14]]  # shorter, of other frames, longer and other
    for number, values in enumerate(others, 1):
        found = followed.look(values)
        torch.testing.assert_close(found, followed.expected(values[-CONTEXT:]))
        assert caplog.text.count("The state starts again") == number


def sizes(state):
    """Sizes of the tensors of a state."""
    if isinstance(state, torch.Tensor):
        return [state.shape]
    return [size for part in state for size in sizes(part)] if isinstance(state, tuple) else []


@pytest.mark.parametrize("name", ["kvae", "td_vae", "srvp"])
def test_the_size_of_a_state_does_not_grow(name, tmp_path):
    followed = Followed(model_of(name), tmp_path)
    followed.look(VIDEO[:5])
    before = sizes(followed.carried.state)
    followed.look(VIDEO[:20])
    assert sizes(followed.carried.state) == before
    assert len(followed.carried.seen.frames) == CONTEXT


def test_forecasts_from_a_state_are_calibrated(tmp_path):
    model = model_of("kvae")
    followed = Followed(model, tmp_path)
    plain = followed.look(VIDEO[:6])
    times, none = (1.0, 2.0), torch.zeros(2, 1)
    model.calibration = Calibration(
        lead_times=times, channels=SPEC.channels, inflation=none, bias=none
    )
    found = followed.look(VIDEO[:6])
    torch.testing.assert_close(found, plain.mean(dim=0, keepdim=True).expand_as(plain))


FIELDS = """
model: {name: kvae, architecture: mlp, filters: [8], code_size: 3, state_size: 4}
data: {name: fields, context: 3, horizon: 2, test_horizon: 3, multiple: 1}
train: {steps: 2, batch_size: 4, validate_every: 0, precision: float32}
"""


def test_dates_tell_which_fields_are_new_and_which_are_missing(tmp_path):
    whole = labelled(60)
    whole.to_netcdf(tmp_path / "past.nc")
    (tmp_path / "small.yaml").write_text(FIELDS)
    run = str(tmp_path / "run")
    words = ["train", str(tmp_path / "small.yaml"), "--output", run]
    assert main([*words, "--data.path", str(tmp_path / "past.nc")]) == 0
    predictor = load(run)
    reading = {"uneven_times": "fill", "missing_frames": "keep"}
    carried = CarriedState(predictor, samples=2, seed=4)
    source = tmp_path / "seen.zarr"
    time = next(iter(whole.dims))
    for places in ([*range(10)], [*range(3, 10), 12, 13]):  # the last days, two of them missing
        whole.isel({time: places}).to_zarr(source, mode="w", consolidated=False)
        made = forecast_file(
            predictor, source, tmp_path / "a.nc", samples=2, seed=4, reading=reading,
            carried=carried,
        )  # fmt: skip
    expected = forecast_file(
        predictor, source, tmp_path / "b.nc", samples=2, seed=4, reading=reading, context=7
    )
    assert made.shape == expected.shape
    with xarray.open_dataset(tmp_path / "a.nc") as a, xarray.open_dataset(tmp_path / "b.nc") as b:
        xarray.testing.assert_allclose(a.load(), b.load(), rtol=1e-4)


def test_images_that_arrive_in_a_folder_are_followed(tmp_path):
    folder, output = tmp_path / "seen", tmp_path / "future.npz"
    folder.mkdir()
    spec = FrameSpec(channels=("y",), space=(4, 6), context=3, horizon=2, value_range=(0.0, 1.0))
    model = KVAE(spec, architecture="mlp", filters=(8,), generator=seeded_generator(1))
    predictor = Predictor(model)
    pixels = np.random.default_rng(5).integers(0, 256, (9, 4, 6), dtype=np.uint8)
    carried = CarriedState(predictor, samples=2, seed=1)
    for number in range(9):
        Image.fromarray(pixels[number]).save(folder / f"{number:03}.png")
        if number >= 3:
            forecast_file(predictor, folder, output, samples=2, carried=carried)
    frames = torch.from_numpy(pixels[1:])[None, :, None] / 255
    expected = predictor.forecast(frames, samples=2, generator=seeded_generator(1)).samples
    with np.load(output) as found:
        torch.testing.assert_close(torch.from_numpy(found["samples"]), expected)


def test_every_second_image_is_a_frame_at_every_second_image(tmp_path):
    for number in range(7):
        Image.fromarray(np.full((4, 6), 30 * number, dtype=np.uint8)).save(
            tmp_path / f"{number:03}.png"
        )
        if number >= 4:
            clip = find_clips(tmp_path).clips[0]
            last = last_prepared(clip, ClipOptions(size=(4, 6), colour="grey", frame_step=2), 2)
            assert last.end == (number + 1) / 2
            assert last.values[:, 0, 0, 0].tolist() == [30 * (number - 2), 30 * number]


def test_frames_are_numbered_by_dates():
    day, month = Step(86400.0, "seconds"), Step(2.0, "months")
    date = np.datetime64("2001-01-05T12:00", "us")
    later = np.datetime64("2001-03-05T12:00", "us")
    assert frame_number(later, day) - frame_number(date, day) == 31 + 28
    assert frame_number(later, month) - frame_number(date, month) == 1
    assert frame_number(7.5, Step(0.5, "numbers")) == 15
    cftime = pytest.importorskip("cftime")
    first, last = (cftime.Datetime360Day(2001, m, 5, 12) for m in (1, 3))
    assert frame_number(last, day) - frame_number(first, day) == 60


def test_the_command_says_when_forecasts_are_made_anew(recipe, tmp_path, capsys):
    run, source = str(tmp_path / "run"), tmp_path / "frames.npy"
    assert main(["train", recipe, "--output", run]) == 0
    np.save(source, VIDEO[:9, :6])
    words = ["follow", run, str(source), "--output", str(tmp_path / "a.npz"), "--count", "1"]
    assert main(words) == 0
    assert "anew" not in capsys.readouterr().err
    assert main([*words, "--substeps", "2"]) == 0
    assert "own solver: each forecast starts anew" in capsys.readouterr().err


def test_the_command_goes_on_while_its_source_grows(recipe, tmp_path, capsys):
    run, source, output = str(tmp_path / "run"), tmp_path / "frames.npy", tmp_path / "a.npz"
    data = ["--model.noise", "white"]  # whose samples are those of all frames at once
    assert main(["train", recipe, "--output", run, *data]) == 0
    np.save(source, VIDEO[:6, :6])

    def grow():
        while not output.exists():
            time.sleep(0.02)
        np.save(tmp_path / "next.npy", VIDEO[:8, :6])
        (tmp_path / "next.npy").replace(source)

    arrivals = threading.Thread(target=grow, daemon=True)
    arrivals.start()
    words = ["follow", run, str(source), "--output", str(output), "--samples", "2"]
    assert main([*words, "--seconds", "0.05", "--count", "2"]) == 0
    arrivals.join()
    assert "starts again" not in capsys.readouterr().err
    predictor = load(run)
    frames = torch.from_numpy(VIDEO[2:8, :6])[None, :, None]  # since the first context of four
    expected = predictor.forecast(frames, samples=2, generator=seeded_generator(1)).samples
    with np.load(output) as found:
        torch.testing.assert_close(
            torch.from_numpy(found["samples"]), expected, rtol=1e-4, atol=1e-5
        )


def test_a_model_that_cannot_go_on_says_why():
    assert "has no state" in why_no_state(Predictor(Persistence(SPEC)))
    changed = ChangeForecaster(SPEC, Persistence, reference="persistence")
    assert "has no state" in why_no_state(Predictor(changed))
    kvae = KVAE(SPEC, architecture="mlp", filters=(8,), forecast_from="means")
    assert "whole context" in why_no_state(Predictor(kvae))
    assert "after the last frame" in why_no_state(Predictor(model_of("srvp")), times=[-1.0, 2.0])
    assert why_no_state(Predictor(model_of("srvp")), times=[0.5]) is None
