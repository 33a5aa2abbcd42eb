"""The records that cross layers: they check themselves at the door."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

import statecast
from statecast.errors import FileError, InputError
from statecast.frames import Batch, Forecast, Frames, FrameSpec, as_tensor


def spec(**options):
    defaults = {"channels": ("u",), "space": (4, 5), "context": 2, "horizon": 3}
    return FrameSpec(**(defaults | options))


def forecast(samples=5):
    values = torch.randn(samples, 2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(0))
    return Forecast(samples=values, times=torch.arange(1.0, 4.0), channels=("u",))


@pytest.mark.parametrize(
    "options", [{"channels": ()}, {"channels": ("u", "u")}, {"space": ()}, {"space": (0, 4)},
                {"space": (2, 2, 2)}, {"context": 0}, {"horizon": 0}],
)  # fmt: skip
def test_impossible_specs_are_refused(options):
    with pytest.raises(InputError):
        spec(**options)


def test_times_count_from_the_last_observed_frame():
    batch = Batch.of(torch.rand(2, 5, 1, 4, 4), 2)
    assert batch.context.times.tolist() == [-1, 0]
    assert batch.target.times.tolist() == [1, 2, 3]
    assert batch.values.shape == (2, 5, 1, 4, 4)
    assert len(batch.select(slice(0, 1))) == 1


def test_arrays_are_taken_whatever_their_memory_looks_like():
    array = np.arange(40.0, dtype=">f8").reshape(1, 2, 1, 4, 5)[:, ::-1]
    frames = Frames.context_of(array)
    assert frames.values.dtype == torch.float32
    np.testing.assert_array_equal(frames.values, array)
    frozen = np.zeros((1, 2, 1, 4), np.float32)
    frozen.flags.writeable = False
    assert as_tensor(frozen).shape == (1, 2, 1, 4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3)), "space dimensions"),
        (np.zeros((2, 3, 1, 4, 5, 6)), "space dimensions"),
        (np.zeros((0, 3, 1, 4)), "empty"),
        (np.zeros((2, 3, 1, 4), np.uint8), "values / 255"),
        (np.zeros((2, 3, 1, 4), "U3"), "dtype"),
        (np.array([object()]), "dtype"),
        ("frames.npy", "forecast_file"),
    ],
)
def test_values_that_are_no_frames_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        Frames.context_of(values)


def test_names_and_times_must_fit():
    values = torch.zeros(1, 2, 1, 4)
    with pytest.raises(InputError, match="2 are named"):
        Frames(values=values, times=torch.arange(2.0), channels=("u", "v"))
    with pytest.raises(InputError, match="2 times"):
        Frames(values=values, times=torch.arange(3.0), channels=("u",))
    with pytest.raises(InputError, match="increase"):
        Frames(values=values, times=torch.tensor([1.0, 1.0]), channels=("u",))
    with pytest.raises(InputError, match="share"):
        Batch(context=Frames.context_of(values), target=Frames.target_of(torch.zeros(2, 2, 1, 4)))


def test_the_first_value_that_is_not_finite_is_named():
    values = torch.zeros(2, 3, 1, 4)
    values[1, 2, 0, 3] = torch.nan
    with pytest.raises(InputError, match=r"1 NaN.*\(1, 2, 0, 3\)"):
        Frames.context_of(values).require_finite()


def test_mean_spread_and_quantiles_are_those_of_numpy():
    found = forecast()
    samples = found.samples.numpy()
    np.testing.assert_allclose(found.mean, samples.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(found.std, samples.std(axis=0, ddof=1), atol=1e-6)
    for probability in (0.0, 0.1, 0.5, 0.77, 1.0):
        expected = np.quantile(samples, probability, axis=0)
        np.testing.assert_allclose(found.quantile(probability), expected, atol=1e-6)
    several = found.quantile([0.1, 0.77])
    assert torch.equal(several, torch.stack([found.quantile(0.1), found.quantile(0.77)]))
    for wrong in (1.2, [0.1, 1.2], []):
        with pytest.raises(InputError, match="probability"):
            found.quantile(wrong)
    assert forecast(1).std.abs().max() == 0


def test_a_saved_forecast_reads_the_same(tmp_path):
    found = forecast()
    with np.load(found.save(tmp_path / "a.npz")) as content:
        np.testing.assert_array_equal(content["samples"], found.samples)
        np.testing.assert_array_equal(content["times"], found.times)
        assert content["channels"].tolist() == ["u"]
    with pytest.raises(FileError, match="Cannot write"):
        found.save(tmp_path / "none" / "a.npz")


def test_exported_dimensions_have_names():
    data = forecast().to_xarray()
    assert dict(data.sizes) == {"realization": 5, "batch": 2, "lead_time": 3, "y": 4, "x": 5}
    assert data.lead_time.values.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(data["u"], forecast().samples[:, :, :, 0])


def test_a_mask_travels_with_its_frames_and_its_gaps_are_nan():
    values = torch.rand(3, 5, 1, 4)
    mask = torch.rand(3, 5, 1, 4) > 0.3
    gaps = values.masked_fill(~mask, torch.nan)
    batch = Batch.of(gaps, 2, mask=mask)
    assert torch.equal(batch.mask, mask)
    assert torch.equal(batch.select(slice(1, 3)).mask, mask[1:])
    assert torch.equal(batch.to("cpu").target.mask, mask[:, 2:])
    batch.context.require_finite()
    assert Batch.of(values, 2).mask is None
    with pytest.raises(InputError, match="must be NaN"):
        Batch.of(values, 2, mask=mask)
    with pytest.raises(InputError, match="mask must be boolean"):
        Batch.of(gaps, 2, mask=mask.float())


def test_what_a_notebook_shows_is_short_and_moves():
    values = torch.rand(2, 5, 1, 8, 6)
    mask = torch.rand(values.shape) > 0.25
    assert repr(Frames.context_of(values, ("heat",))) == (
        "Frames(batch 2, time 5, channel 1, space 8×6, heat, times -4 … 0)"
    )
    gaps = values.masked_fill(~mask, torch.nan)
    assert "% unknown)" in repr(Frames.context_of(gaps, mask=mask))
    forecast = Forecast(samples=values[None], times=torch.arange(1.0, 6), channels=("<heat>",))
    assert repr(forecast) == (
        "Forecast(sample 1, batch 2, time 5, channel 1, space 8×6, <heat>, times 1 … 5)"
    )
    batch = Batch.of(values, 2, latents={"speed": torch.rand(2, 5, 1)})
    assert repr(batch) == f"Batch({batch.context!r}, {batch.target!r}, speed)"
    predictor = statecast.load("digits")
    assert repr(predictor).startswith("Predictor(SRVP, ")
    assert repr(predictor).endswith(" parameters, context 5, horizon 10, intensity, space 32×32)")
    shown = forecast._repr_html_()
    picture = base64.b64decode(shown.split("base64,")[1].split('"')[0])
    with Image.open(io.BytesIO(picture)) as moving:
        assert moving.n_frames == 5
    assert "&lt;heat&gt;" in shown
    assert "image/gif" in batch.context._repr_html_()
    shown = predictor._repr_html_()
    assert "<td>5 → " in shown
    assert "<td>32×32</td>" in shown
    latents = predictor.infer_latents(statecast.example("digits").context, samples=2)
    shape = "×".join(map(str, latents.states.shape))
    assert f"<th>states (sample, batch, time, latent)</th><td>{shape}</td>" in latents._repr_html_()
