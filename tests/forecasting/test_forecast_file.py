"""From file to file: trained on one, forecasting a later one; part by part, whole or not at all."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray
from helpers.labelled_fields import PACKED, sea_surface, write_field

import statecast
from statecast.cli.main import MISTAKE, main
from statecast.data.base import seeded_generator
from statecast.errors import FileError, InputError
from statecast.forecasting.forecast_file import forecast_file
from statecast.forecasting.inputs import read_context
from statecast.forecasting.outputs import ForecastRequest, drawn, write_labelled_forecast
from statecast.frames import Forecast
from statecast.io.fields.writers import write_labelled
from statecast.plots.panels import panels_of
from statecast.runs.load import load
from statecast.version import __version__

SMALL = """
model: {name: srvp, architecture: auto, width: 8, code_size: 6, latent_size: 4, noise_size: 3,
        inference_hidden: 8, content_size: 8, transition_hidden: 10}
data: {name: fields, context: 3, horizon: 2, test_horizon: 3}
train: {steps: 3, batch_size: 4, validate_every: 0, precision: float32}
evaluate: {samples: 3, metrics: [mse, crps], batch_size: 4}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a packed file with an island, and a later file of the same sea."""
    folder = tmp_path_factory.mktemp("fields")
    (folder / "small.yaml").write_text(SMALL)
    sea = sea_surface(80, island=True)
    past = write_field(folder / "past.nc", sea.isel(time=slice(0, 60)), encoding=PACKED)
    write_field(folder / "later.nc", sea.isel(time=slice(60, 80)))
    write_field(folder / "later.zarr", sea.isel(time=slice(60, 80)))
    run = folder / "run"
    words = ["train", str(folder / "small.yaml"), "--output", str(run), "--data.path", past]
    assert main([*words, "--data.variables", "sst"]) == 0
    Path(past).unlink()  # a forecast needs no training data
    return folder


@pytest.mark.parametrize("source", ["later.nc", "later.zarr"])
@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_a_later_file_is_forecast_without_the_training_data(trained, tmp_path, source, ending):
    output = tmp_path / f"future.{ending}"
    words = ["forecast", str(trained / "run"), str(trained / source), "--output", str(output)]
    assert main([*words, "--horizon", "7", "--samples", "5", "--quantiles", "0.2", "0.8"]) == 0
    later = xarray.open_dataset(trained / "later.nc").load()
    model = load(trained / "run")
    expected = model.forecast(later["sst"], 7, samples=5, generator=seeded_generator(1))
    with xarray.open_dataset(output, decode_timedelta=True) as found:
        xarray.testing.assert_allclose(
            found.load(), expected.to_xarray(statistics=True, quantiles=(0.2, 0.8)), rtol=1e-5
        )
        known = ~np.isnan(later["sst"].values[-1])
        assert (np.isfinite(found["sst"].values) == known).all()
        assert found.attrs["Conventions"].startswith("CF-")
        assert found["sst"].attrs == {
            "units": "degC", "standard_name": "sea_surface_temperature",
        }  # fmt: skip
        assert found["lead_time"].values[-1] == np.timedelta64(7, "D")
        assert found["valid_time"].values[0] == later.time.values[-1] + np.timedelta64(1, "D")
    assert sorted(path.name for path in tmp_path.iterdir()) == [output.name]


def test_times_may_lie_between_frames_and_before_the_context(trained, tmp_path):
    output = tmp_path / "path.npz"
    words = ["forecast", str(trained / "run"), str(trained / "later.nc"), "--output", str(output)]
    times = ["--times", "-4", "-1", "0.5", "2"]
    assert main([*words, *times, "--solver", "reversible_heun", "--substeps", "2"]) == 0
    with np.load(output) as content:
        assert content["times"].tolist() == [-4, -1, 0.5, 2]
        assert content["samples"].shape == (1, 1, 4, 1, 6, 9)
    assert main([*words, *times]) == MISTAKE  # steps of Euler's cannot be undone


def test_a_run_on_fields_is_evaluated(trained, tmp_path, capsys):
    # Land, and unknown points at the edges: validation and scores count neither.
    path = write_field(tmp_path / "sea.nc", sea_surface(island=True))
    run = str(tmp_path / "run")
    words = ["train", str(trained / "small.yaml"), "--output", run, "--data.path", path]
    words += ["--data.multiple", "4", "--data.split_gap", "0", "--train.validate_every", "2"]
    assert main(words) == 0
    said = capsys.readouterr().err
    for choice in ("variables: sst", "time is time, space is lat, lon", "42 train", "mean 0"):
        assert choice in said
    assert main(["evaluate", run]) == 0
    assert "persistence" in capsys.readouterr().out
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    found = scores["forecasters"]
    assert found["srvp"].keys() == {"mse", "crps"}
    assert all(
        np.isfinite(score["value"])
        for scored in found.values()
        for selections in scored.values()
        for score in selections.values()
    )
    # Persistence by hand, over known points of the test windows: frames 51 … 59 as 3 → 3.
    values = sea_surface(island=True)["sst"].values[51:]
    errors = [(values[i + 3 : i + 6] - values[i + 2]) ** 2 for i in range(4)]
    still = found["persistence"]["mse"]["mean"]["value"]
    assert still == pytest.approx(np.nanmean(errors), rel=1e-4)


def test_a_forecast_written_in_parts_is_the_whole(trained, tmp_path):
    predictor, output = load(trained / "run"), tmp_path / "whole.nc"
    forecast_file(
        predictor, trained / "later.nc", output, horizon=4, samples=5, quantiles=[0.5], seed=3
    )
    request = ForecastRequest(
        predictor, read_context(trained / "later.nc", predictor, None), horizon=4, samples=5,
        substeps=None, solver=None, seed=3, quantiles=(0.5,),
        part_bytes=2 * 4 * 4 * 54,  # two samples of 4 frames
    )  # fmt: skip
    assert [len(part.samples) for part in request.parts()] == [2, 2, 1]
    write_labelled_forecast(request, tmp_path / "parts.nc")
    with (
        xarray.open_dataset(tmp_path / "parts.nc", decode_timedelta=True) as found,
        xarray.open_dataset(output, decode_timedelta=True) as whole,
    ):
        xarray.testing.assert_allclose(found, whole, atol=1e-5)  # float32 near 18 °C
        samples = found["sst"].values
        assert len(np.unique(samples[:, 0, 0, 0])) == 5  # no part repeats another
        np.testing.assert_allclose(found["sst_mean"], samples.mean(axis=0), rtol=1e-5)
        middle = found["sst_quantiles"].sel(quantile=0.5)
        np.testing.assert_allclose(middle, np.median(samples, axis=0), rtol=1e-5)


def test_a_file_tells_which_weights_made_it_from_what(trained, tmp_path):
    predictor, sources = load(trained / "run"), []
    for name in ("first.nc", "again.zarr", "other.nc"):
        if name == "other.nc":
            with torch.no_grad():
                next(predictor.model.parameters()).add_(1)
        forecast_file(predictor, trained / "later.nc", tmp_path / name, samples=3, seed=7)
        with xarray.open_dataset(tmp_path / name, decode_timedelta=True) as found:
            sources.append(found.attrs["source"])
            assert found.attrs["history"].endswith("forecast of later.nc, samples 3, seed 7")
            assert str(datetime.now(UTC).year) == found.attrs["history"][:4]
    assert sources[0] == sources[1] != sources[2]
    assert sources[0].startswith(f"statecast {__version__}, SRVP ")


def test_anomalies_are_what_is_left_of_observations_and_forecast_without_the_climatology(
    trained, tmp_path
):
    predictor = load(trained / "run")
    request = ForecastRequest(
        predictor, read_context(trained / "later.nc", predictor, None), horizon=4, samples=3,
        substeps=None, solver=None, seed=3, picture="anomaly",
    )  # fmt: skip
    context, forecast, _ = drawn(request)
    labels, usual = request.context.coordinates, predictor.preparation.climatology
    inner = request.context.values[predictor.preparation.inner]
    known = ~inner.isnan()
    torch.testing.assert_close(context.values[known], inner[known], atol=1e-4, rtol=0)
    whole = predictor.preparation.restore(forecast.samples, labels, forecast.times)
    torch.testing.assert_close(whole, request.whole().samples, atol=1e-4, rtol=0, equal_nan=True)
    assert usual is not None
    assert not torch.allclose(whole, forecast.samples, equal_nan=True)
    (panels,) = panels_of(context, forecast, None, 0, 1, centred=True)
    assert panels.label == "sst anomaly / degC"
    assert panels.scale.low == -panels.scale.high < 0
    forecast_file(
        predictor, trained / "later.nc", tmp_path / "anomaly.gif", samples=2, picture="anomaly"
    )
    bare = ForecastRequest(
        statecast.load("digits"), statecast.example("digits").context, horizon=2, samples=1,
        substeps=None, solver=None, seed=1, picture="anomaly",
    )  # fmt: skip
    with pytest.raises(InputError, match="climatology"):
        drawn(bare)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sea: sea.rename(sst="sss"), "not 'sst'"),
        (lambda sea: sea.isel(lat=slice(0, 4)), "(4, 9)"),
        (lambda sea: sea.isel(time=[0, 2, 1]), "sort"),
    ],
)
def test_files_that_do_not_fit_are_one_line(trained, tmp_path, refused, change, message):
    path = write_field(tmp_path / "bad.nc", change(sea_surface(8)))
    out = tmp_path / "out.nc"
    refused(message, ["forecast", trained / "run", path, "--output", out])
    assert not out.exists()


def forecast(samples=4):
    values = torch.randn(samples, 1, 3, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    return Forecast(samples=values, times=torch.arange(1.0, 4.0), channels=("u",))


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_an_older_forecast_stays_until_the_new_one_is_whole(tmp_path, ending):
    path = forecast().save(tmp_path / f"a.{ending}")
    layout = forecast(6).layout()

    def broken():
        yield forecast().samples.numpy()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_labelled(path, layout, broken())
    with xarray.open_dataset(path) as found:
        np.testing.assert_array_equal(found["u"][:, 0], forecast().samples[:, 0, :, 0])
    forecast(6).save(path)
    with xarray.open_dataset(path) as found:
        assert found.sizes["realization"] == 6
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


HEAD = """
import sys, time, numpy
from statecast.errors import FileError, InputError
from statecast.io.fields.forecast_layout import Layout
from statecast.io.fields.writers import write_labelled
one = numpy.random.default_rng(0).random((1, 1, 3, 1, 50, 60), dtype=numpy.float32)
layout = Layout(channels=("u",), shape=(1000, *one.shape[1:]), lead_times=(1.0, 2.0, 3.0))
"""
WRITER = f"""{HEAD}
def parts():
    for number in range(1000):
        print(number, flush=True)
        yield one
        time.sleep(0.01)
write_labelled(sys.argv[1], layout, parts())
"""


def test_a_forecast_does_not_replace_its_observations(trained):
    predictor, path = load(trained / "run"), trained / "later.nc"
    before = path.read_bytes()
    for source in (path, str(trained / "late*.nc")):
        with pytest.raises(InputError, match="holds the observations"):
            forecast_file(predictor, source, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("ending", ["nc", "zarr"])
def test_a_killed_writer_leaves_nothing_under_the_name_and_is_swept_later(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while process.stdout.readline().strip() != "5":
        time.sleep(0)
    process.kill()
    process.wait()
    process.stdout.close()
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    assert left[0].name.startswith(".a.")
    forecast().save(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_error_in_drawing_is_not_called_one_in_writing(tmp_path):
    def parts():
        yield forecast().samples.numpy()
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        write_labelled(tmp_path / "a.nc", forecast(8).layout(), parts())
    assert list(tmp_path.iterdir()) == []


def test_statistics_that_would_hide_a_channel_are_refused():
    values = torch.zeros(2, 1, 3, 2, 4)
    made = Forecast(samples=values, times=torch.arange(1.0, 4.0), channels=("u", "u_std"))
    assert set(made.to_xarray(quantiles=(0.5,))) >= {"u", "u_std", "u_quantiles"}
    with pytest.raises(InputError, match="u_std"):
        made.to_xarray(statistics=True)


def test_folders_that_are_no_store_are_not_replaced(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("years")
    with pytest.raises(FileError, match="not a Zarr store to replace"):
        forecast().save(tmp_path / "a.zarr")
    assert (tmp_path / "a.zarr" / "thesis.txt").read_text() == "years"
    with pytest.raises(FileError, match="there is no folder"):
        forecast().save(tmp_path / "none" / "a.nc")
