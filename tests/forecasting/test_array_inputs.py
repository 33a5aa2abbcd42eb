"""Forecasts from arrays: whatever training takes, in whatever order of axes."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from helpers.gaps import with_gaps
from helpers.seeds import seeded
from helpers.small_models import SPEC, build
from PIL import Image

import statecast
from statecast.cli.main import main
from statecast.errors import FileError, InputError
from statecast.forecasting.forecast_file import forecast_file
from statecast.forecasting.inputs import read_context
from statecast.forecasting.predictor import Predictor
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.io.fields.preprocessing import plain_preparation
from statecast.io.video.decoding import decode_video, video_facts
from statecast.models import MODELS


def model_for(channels=1, space=(24, 24), value_range=None):
    names = tuple(f"channel_{i}" for i in range(channels))
    spec = FrameSpec(channels=names, space=space, context=3, horizon=2, value_range=value_range)
    return Predictor(MODELS["persistence"](spec))


def moving(sequences=6, frames=12, side=24):
    """Bars that move, each at its own place: (sequence, time, y, x) bytes."""
    found = np.zeros((sequences, frames, side, side), np.uint8)
    for sequence in range(sequences):
        for time in range(frames):
            found[sequence, time, (7 * sequence) % side, time : time + 9] = 200
    return found


def test_axes_that_are_not_needed_are_left_out():
    context = torch.rand(1, 4, 1, 24, 24)
    whole = model_for().forecast(context).samples
    for bare in (context[0], context[0, :, 0], context[0, :, 0].numpy()):
        assert torch.equal(model_for().forecast(bare).samples, whole)
    with pytest.raises(InputError, match=r"Those of the context are \(24, 24\)|should|must"):
        model_for(channels=2).forecast(context[0, :, 0])


class TestActions:
    spec = FrameSpec(channels=("c",), space=(8, 8), context=2, horizon=3, actions=2, agent_states=1)
    values = np.random.default_rng(0).random((3, 6, 1, 8, 8), np.float32)
    actions = np.random.default_rng(1).random((3, 9, 2), np.float32)
    states = np.random.default_rng(2).random((3, 6, 1), np.float32)

    def model(self):
        generator = torch.Generator().manual_seed(0)
        return Predictor(MODELS["cdna"](self.spec, width=2, lstm_widths=(2,) * 7,
                                        generator=generator))  # fmt: skip

    def written(self, path, **changes):
        arrays = {"frames": self.values, "actions": self.actions, "agent_states": self.states}
        if path.suffix == ".npz":
            np.savez(path, **(arrays | changes))
            return path
        with h5py.File(path, "w") as content:
            for name, array in (arrays | changes).items():
                content[name] = array
        return path

    @pytest.mark.parametrize("ending", ["npz", "h5"])
    def test_actions_and_states_of_a_file_are_those_of_its_last_frames(self, tmp_path, ending):
        path = self.written(tmp_path / f"a.{ending}")
        context = read_context(path, self.model())
        assert torch.equal(context.values, torch.from_numpy(self.values[:, 4:]))
        assert torch.equal(context.actions, torch.from_numpy(self.actions[:, 4:]))
        assert torch.equal(context.agent_states, torch.from_numpy(self.states[:, 4:]))
        whole = Frames.context_of(self.values[:, 4:], actions=self.actions[:, 4:],
                                  agent_states=self.states[:, 4:])  # fmt: skip
        written = forecast_file(self.model(), path, tmp_path / "b.npz", horizon=4)
        found = np.load(written.path)["samples"]
        expected = self.model().forecast(whole, 4).samples
        np.testing.assert_array_equal(found, expected.numpy())

    def test_files_of_a_sequence_each(self, tmp_path):
        for number in range(2):
            self.written(
                tmp_path / f"{number}.npz",
                frames=self.values[number, number:],
                actions=self.actions[number, number:],
                agent_states=self.states[number, number:],
            )
        context = read_context(tmp_path, self.model())
        assert torch.equal(context.actions, torch.from_numpy(self.actions[:2, 4:]))
        assert torch.equal(context.agent_states, torch.from_numpy(self.states[:2, 4:]))

    def test_what_is_missing_too_short_or_ignored_is_said(self, tmp_path):
        path = self.written(tmp_path / "a.npz")
        with pytest.raises(InputError, match=r"actions of shape \(batch, 6, 2\).* got \(3, 5, 2\)"):
            forecast_file(self.model(), path, tmp_path / "b.npz", horizon=5)
        with pytest.raises(InputError, match="this Persistence does not use actions"):
            read_context(path, model_for(space=(8, 8)))
        other = self.written(tmp_path / "c.npz", actions=self.actions[:2])
        with pytest.raises(InputError, match=r"each of 3 sequence\(s\), got \(2, 9, 2\)"):
            read_context(other, self.model())
        np.savez(tmp_path / "d.npz", frames=self.values)
        with pytest.raises(InputError, match=r"actions of shape .* got None"):
            forecast_file(self.model(), tmp_path / "d.npz", tmp_path / "b.npz")


class TestContexts:
    frames = moving()
    expected = torch.from_numpy(moving()[:, -3:, None] / np.float32(255))

    @pytest.mark.parametrize("axes", ["ntyx", "tnyx", "ntcyx", "tncyx", "nyxt", "ntyxc"])
    @pytest.mark.parametrize("ending", ["npy", "h5"])
    def test_every_sequence_of_a_file_whatever_its_axes(self, tmp_path, axes, ending):
        values = self.frames.transpose(["ntyx".index(a) for a in axes.replace("c", "")])
        if "c" in axes:
            values = np.expand_dims(values, axes.index("c"))
        path = tmp_path / f"a.{ending}"
        if ending == "npy":
            np.save(path, values)
        else:
            with h5py.File(path, "w") as content:
                content["u"], content["t"] = values, np.arange(12.0)
        model = model_for(value_range=(0.0, 1.0))
        assert torch.equal(read_context(path, model).values, self.expected)
        assert torch.equal(read_context(path, model, reading={"axes": axes}).values, self.expected)
        bare = path.rename(tmp_path / "a.dat")
        assert torch.equal(read_context(bare, model).values, self.expected)

    def test_axes_are_those_that_training_was_told(self, tmp_path):
        path, noise = tmp_path / "a.npy", np.random.default_rng(0).random((6, 5, 24, 24))
        np.save(path, noise)  # whose neighbours tell nothing
        told = Predictor(model_for().model, axes="tnyx")
        expected = torch.from_numpy(noise[-3:].transpose(1, 0, 2, 3)[:, :, None]).float()
        assert torch.equal(read_context(path, told).values, expected)
        assert read_context(path, model_for()).values.shape[0] == 6
        np.save(path, noise[0])  # one sequence, without that axis
        alone = torch.from_numpy(noise[0, -3:]).float()
        assert torch.equal(read_context(path, told).values[0, :, 0], alone)

    def test_folders_patterns_and_lists(self, tmp_path):
        folder = tmp_path / "runs [2]"
        folder.mkdir()
        for number, values in enumerate(self.frames):
            np.save(folder / f"{number}.npy", values[number:])  # of different lengths
        listed = [str(folder / f"{number}.npy") for number in range(6)]
        model = model_for(value_range=(0.0, 1.0))
        for path in (str(folder), f"{folder}/*.npy", listed):
            assert torch.equal(read_context(path, model).values, self.expected)

    def test_an_array_is_named_with_the_option_that_the_message_advises(self, tmp_path):
        with h5py.File(tmp_path / "a.h5", "w") as content:
            content["u"], content["v"] = self.frames, self.frames[:, ::-1]
        model = model_for(value_range=(0.0, 1.0))
        with pytest.raises(InputError, match="dataset"):
            read_context(tmp_path / "a.h5", model)
        found = read_context(tmp_path / "a.h5", model, reading={"dataset": "u"})
        assert torch.equal(found.values, self.expected)
        with pytest.raises(InputError, match=r"takes --data\.\{dataset,axes\}, got .frame_step"):
            read_context(tmp_path / "a.h5", model, reading={"frame_step": 2})

    def test_points(self, tmp_path):
        values = np.random.default_rng(0).random((5, 7, 30), dtype=np.float32)
        np.save(tmp_path / "a.npy", values)
        found = read_context(tmp_path / "a.npy", model_for(space=(30,))).values
        assert torch.equal(found, torch.from_numpy(values[:, -3:, None]))

    def test_what_does_not_fit_is_told_with_the_way_out(self, tmp_path):
        np.save(tmp_path / "a.npy", np.zeros((8, 20, 30)))
        with pytest.raises(InputError, match=r"got shape \(8, 20, 30\).*--data\.axes"):
            read_context(tmp_path / "a.npy", model_for())


class TestBareArrays:
    def test_frames_of_a_file_have_the_channels_of_the_model(self, tmp_path):
        spec = FrameSpec(channels=("intensity",), space=(24, 24), context=3, horizon=2)
        np.save(tmp_path / "a.npy", np.zeros((4, *spec.frame_shape), np.float32))
        found = read_context(tmp_path / "a.npy", Predictor(MODELS["persistence"](spec)))
        assert found.channels == ("intensity",)

    def test_a_grid_of_the_original_size_is_padded_and_cut_again(self):
        model = model_for(space=(64, 80))
        prepared = plain_preparation(model.spec.channels, (60, 80))
        fields = replace(prepared, padded=(64, 80))
        model = replace(model, fields=fields)
        values = np.random.default_rng(0).random((1, 4, 1, 60, 80)).astype(np.float32)
        found = model.forecast(values)
        assert found.samples.shape == (1, 1, 2, 1, 60, 80)
        assert torch.equal(found.samples[0, 0, 0], torch.from_numpy(values[0, -1]))
        padded = model.context(values)
        assert not padded.known[..., 60:, :].any()
        assert padded.known[..., :60, :].all()


class TestSave:
    @pytest.fixture
    def forecast(self):
        values = torch.rand(2, 1, 5, 1, 20, 30, generator=torch.Generator().manual_seed(0))
        return Forecast(samples=values, times=torch.arange(1.0, 6.0), channels=("intensity",))

    @pytest.mark.parametrize("ending", ["gif", "mp4"])
    def test_moving_pictures_are_the_frames_of_the_mean(self, forecast, tmp_path, ending):
        path = forecast.save(tmp_path / f"a.{ending}")
        frames = np.stack([frame.pixels for frame in decode_video(path)])
        assert frames.shape == (5, 20, 30, 3)
        expected = 255 * forecast.mean[0, :, 0].numpy()
        assert np.abs(frames[..., 0] - expected).mean() < (20 if ending == "gif" else 8)

    def test_pictures_beside_the_context(self, forecast, tmp_path):
        context = Frames.context_of(torch.rand(1, 3, 1, 20, 30), ("intensity",))
        assert len(list(decode_video(forecast.save(tmp_path / "a.gif", context=context)))) == 8
        with Image.open(forecast.save(tmp_path / "a.png", context=context)) as picture:
            assert picture.format == "PNG"
        with pytest.raises(InputError, match="context"):
            forecast.save(tmp_path / "b.png")

    def test_other_endings_are_refused(self, forecast, tmp_path):
        for name in ("x.tif", "x", "x.jpg"):
            with pytest.raises(FileError, match=r"\.zarr, \.npz, \.gif, \.webp, \.mp4, \.png"):
                forecast.save(tmp_path / name)
        assert list(tmp_path.iterdir()) == []


def test_the_command_takes_options_of_reading(tmp_path, recipe):
    values = np.random.default_rng(0).random((14, 30, 6)).astype(np.float32)
    np.savez(tmp_path / "a.npz", u=values, v=values)
    run = str(tmp_path / "run")
    words = ["--data.name=arrays", f"--data.path={tmp_path}/a.npz", "--data.axes=ntx",
             "--data.context=3", "--data.horizon=2", "--data.dataset=u"]  # fmt: skip
    assert main(["train", recipe, "--output", run, *words]) == 0
    output = tmp_path / "future.npz"
    forecast = ["forecast", run, str(tmp_path / "a.npz"), "--output", str(output)]
    assert main(forecast) != 0
    assert main([*forecast, "--data.dataset", "v", "--data.axes", "ntx"]) == 0
    with np.load(output) as content:
        assert content["samples"].shape == (1, 14, 2, 1, 6)
    assert main([*forecast, "--train.steps", "3"]) != 0


def test_facts_of_a_saved_video(tmp_path):
    values = torch.rand(1, 1, 5, 1, 20, 30)
    forecast = Forecast(samples=values, times=torch.arange(1.0, 6.0), channels=("intensity",))
    assert video_facts(forecast.save(tmp_path / "a.mp4")).rate == pytest.approx(6)


def test_equal_samples_are_told(tmp_path):
    spec = FrameSpec(channels=("c",), space=(4, 4), context=2, horizon=1)
    np.save(tmp_path / "a.npy", np.ones((2, 1, 4, 4), np.float32))
    predictor = Predictor(MODELS["persistence"](spec))
    for samples, told in ((5, ("The model is deterministic: its 5 samples are equal.",)), (1, ())):
        output = tmp_path / f"{samples}.npz"
        assert (
            forecast_file(predictor, tmp_path / "a.npy", output, samples=samples).warnings == told
        )


class TestArguments:
    """Arguments of forecasts by a model that comes with the package."""

    context = statecast.example("digits").context

    def refused(self, message, *arguments, **options):
        with pytest.raises(InputError, match=message):
            statecast.load("digits").forecast(*arguments, **options)

    def test_devices_and_checkpoints(self):
        predictor = statecast.load("digits", device=torch.device("cpu"))
        assert predictor.model.normaliser.location.device.type == "cpu"
        for device in ("gpu", "meta"):
            with pytest.raises(InputError, match="'auto' or 'cpu'"):
                statecast.load("digits", device=device)
        with pytest.raises(InputError, match="one checkpoint"):
            statecast.load("digits", "last")
        with pytest.raises(FileError, match="did you mean 'digits'"):
            statecast.load("digit")

    def test_times_may_be_an_array(self):
        predictor, times = statecast.load("digits"), [0.5, 1.0]
        found, expected = (
            predictor.forecast(self.context, times=given, generator=seeded()).samples
            for given in (np.array(times), times)
        )
        assert torch.equal(found, expected)

    def test_what_is_no_context_is_told_what_to_pass(self):
        values = self.context.values
        self.refused(r"Batch. Pass its `\.context`", statecast.example("digits"))
        self.refused("values\\[:, :, None\\]", values[:, :, 0])
        self.refused("xarray data sets, got Tensor", {"a": values})

    def test_values_in_other_units_are_refused(self):
        for values in (2 * self.context.values - 1, 2 * self.context.values):
            self.refused("same units", values)
        statecast.load("digits").forecast(1.3 * self.context.values - 0.15)

    def test_a_seed_is_a_generator(self):
        for generator in (0, np.random.default_rng(0)):
            self.refused(r"torch\.Generator\(\)\.manual_seed", self.context, generator=generator)
        with pytest.raises(TypeError, match="manual_seed"):
            statecast.load("digits").forecast(self.context, seed=0)
        self.refused("too large", self.context, 10**30)

    def test_missing_frames_and_uneven_times_are_told_where_a_model_sees_neither(self):
        values = self.context.values.clone()
        values[:, 2] = torch.nan
        missing = Frames.context_of(values, mask=~values.isnan())
        with pytest.warns(UserWarning, match="lacks frames"):
            statecast.load("digits").forecast(missing, 1)
        model = MODELS["convlstm"](statecast.load("digits").spec)
        uneven = replace(self.context, times=2 * self.context.times)
        with pytest.warns(UserWarning, match="lacks frames"):
            Predictor(model).forecast(uneven, 1)
        values = torch.rand(1, 6, *SPEC.frame_shape)
        Predictor(build("kvae")).context(with_gaps(values, [1, 3], channels=SPEC.channels))

    def test_gradients_of_a_context_are_no_matter(self):
        statecast.load("digits").forecast(self.context.values.clone().requires_grad_(), 1)

    def test_a_state_prints_its_shapes(self):
        state = statecast.load("digits").model.filter(self.context, samples=3)
        assert "latent=tensor 3×4×16" in repr(state)
        assert len(repr(state)) < 300
