"""Labelled fields to a model and back: coordinates, calendars, units, land, and what is refused."""

import numpy as np
import pytest
import torch
import xarray
from helpers.labelled_fields import sea_surface

from statecast.data.base import seeded_generator
from statecast.errors import CorruptionError, InputError
from statecast.forecasting.forecast_file import forecast_file
from statecast.forecasting.predictor import Predictor
from statecast.frames import Frames, FrameSpec
from statecast.io.fields.climatology import Climatology
from statecast.io.fields.orientation import turned
from statecast.io.fields.preprocessing import (
    FILE_NAME,
    Preparation,
    read_preparation,
    same_unit,
    write_preparation,
)
from statecast.io.fields.source import FieldOptions
from statecast.io.fields.time_steps import Step
from statecast.models.baselines import Persistence
from statecast.models.srvp import SRVP

SPEC = FrameSpec(channels=("sst",), space=(8, 16), context=3, horizon=2)


def prepared(**options):
    made = sea_surface()
    defaults = {
        "options": FieldOptions(variables=("sst",)),
        "space": (6, 9),
        "padded": (8, 16),
        "units": ("degC",),
        "step": Step(86400, "seconds"),
        "grid": {"lat": made.lat.values, "lon": made.lon.values},
        "climatology": Climatology(np.full((1, 1, 6, 9), 3.0, np.float32)),
    }
    return Preparation(**(defaults | options))


def persistence(**options):
    return Predictor(Persistence(SPEC), prepared(**options))


def test_persistence_of_a_labelled_field_is_its_last_frame_with_its_labels():
    sea = sea_surface(island=True)
    forecast = persistence().forecast(sea["sst"], 4, samples=2)
    assert forecast.samples.shape == (2, 1, 4, 1, 6, 9)
    found = forecast.to_xarray()
    assert found["sst"].dims == ("realization", "lead_time", "lat", "lon")
    last = sea["sst"].values[-1]
    np.testing.assert_allclose(found["sst"].values[1, 3], last, rtol=1e-6)  # NaN on the island
    assert found["sst"].attrs["units"] == "degC"
    assert found.lat.attrs["units"] == "degrees_north"
    np.testing.assert_array_equal(found.lon, sea.lon)
    days = np.array([1, 2, 3, 4], "m8[D]")
    np.testing.assert_array_equal(found.lead_time.values, days)
    np.testing.assert_array_equal(found.valid_time.values, sea.time.values[-1] + days)
    assert found.init_time.values == sea.time.values[-1]


def test_a_dataset_and_other_orders_of_dimensions_give_the_same():
    sea = sea_surface()
    one = persistence().forecast(sea["sst"], 2).samples
    other = persistence().forecast(sea.transpose("lon", "time", "lat"), 2).samples
    assert torch.equal(one, other)


def test_seasons_are_taken_off_and_added_for_the_dates_of_the_forecast():
    coefficients = np.zeros((5, 1, 6, 9), np.float32)
    coefficients[1] = 4.0  # the year's cosine
    climatology = Climatology(coefficients)
    sea = sea_surface()
    found = persistence(climatology=climatology).forecast(sea, 30).to_xarray()
    anomaly = sea["sst"].values[-1] - climatology.at(sea.time.values[-1:])[0, 0]
    expected = anomaly + climatology.at(found.valid_time.values)[:, 0]
    np.testing.assert_allclose(found["sst"][0], expected, rtol=1e-5)


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_the_time_axis_goes_on_in_its_calendar(calendar, tmp_path):
    times = xarray.date_range("2004-02-20", periods=70, calendar=calendar, use_cftime=True)
    sea = sea_surface(70).assign_coords(time=("time", times))
    model = persistence()
    found = model.forecast(sea.isel(time=slice(0, 6)), 64)
    assert found.to_xarray().valid_time.values.tolist() == list(times[6:])
    with xarray.open_dataset(found.save(tmp_path / "a.nc"), decode_timedelta=True) as back:
        assert back.valid_time.values.tolist() == list(times[6:])


@pytest.mark.parametrize(
    ("months", "lead", "unit"), [(1, 1, "months"), (3, 3, "months"), (24, 2, "years")]
)
def test_leads_of_calendar_steps_are_numbers_with_a_unit(months, lead, unit, tmp_path):
    times = xarray.date_range("2001-01-01", periods=30, freq=f"{months}MS")
    sea = sea_surface(30).assign_coords(time=("time", times))
    model = persistence(step=Step(months, "months"))
    found = model.forecast(sea.isel(time=slice(0, 6)), 24).to_xarray()
    assert found.lead_time.values.tolist() == [lead * frame for frame in range(1, 25)]
    assert found.lead_time.attrs["standard_name"] == "forecast_period"
    np.testing.assert_array_equal(found.valid_time.values, times[6:].values)
    sea.to_netcdf(tmp_path / "sea.nc")
    forecast_file(model, tmp_path / "sea.nc", tmp_path / "future.nc", horizon=2)
    with xarray.open_dataset(tmp_path / "future.nc") as written:
        assert written.lead_time.attrs["units"] == unit
        # Coordinates have no missing values, by the CF conventions.
        assert not [name for name in written.coords if "_FillValue" in written[name].encoding]


def test_numbers_as_times_go_on_as_numbers():
    field = xarray.DataArray(
        np.random.default_rng(0).random((9, 5)), dims=("time", "x"),
        coords={"time": ("time", 2.0 + 0.5 * np.arange(9), {"units": "s"})}, name="height",
    )  # fmt: skip
    model = Persistence(FrameSpec(channels=("anything",), space=(5,), context=2, horizon=2))
    found = Predictor(model).forecast(field, 3).to_xarray()
    assert found["anything"].dims == ("realization", "lead_time", "x")
    np.testing.assert_allclose(found.valid_time, [6.5, 7.0, 7.5])
    assert found.valid_time.attrs["units"] == "s"


def test_bare_arrays_are_refused_where_the_model_works_on_anomalies():
    values = torch.rand(2, 3, 1, 8, 16)
    model = persistence()
    with pytest.raises(InputError, match=r"anomalies, which need dates: pass an xarray\.DataArray"):
        model.forecast(values, 2)
    frames = Frames(values=values, times=torch.arange(3.0), channels=model.spec.channels)
    assert torch.equal(model.forecast(frames, 2).samples[0, :, 0], values[:, -1])


def test_bare_arrays_stay_as_they_were():
    model = Predictor(persistence().model)
    values = torch.rand(2, 3, 1, 8, 16)
    assert torch.equal(model.forecast(values, 2).samples[0, :, 0], values[:, -1])
    gaps = values.clone()
    gaps[0, 1, 0, 2, 3] = torch.nan
    with pytest.raises(InputError, match=r"must be finite.*mask=~numpy\.isnan\(values\)"):
        model.forecast(gaps, 2)
    advised = Frames.context_of(gaps.numpy(), mask=~np.isnan(gaps.numpy()))
    assert torch.isfinite(model.forecast(advised, 2).samples).all()


def test_nan_in_bare_arrays_is_unknown_to_a_model_of_fields():
    sea = sea_surface(island=True)["sst"]
    model = persistence(climatology=None)
    bare = model.forecast(sea.transpose("time", "lat", "lon").values[-3:], 2).samples
    assert bare[0, 0, 0].isnan().any()  # the island
    torch.testing.assert_close(bare, model.forecast(sea, 2).samples, equal_nan=True)


def test_values_in_other_units_than_the_range_of_the_data_are_refused():
    model = Persistence(FrameSpec(channels=("grey",), space=(8, 16), context=3, horizon=2,
                                  value_range=(0.0, 1.0)))  # fmt: skip
    values = torch.rand(2, 3, 1, 8, 16)
    with pytest.raises(InputError, match=r"values in \[0, 1\].*values / 255"):
        model.forecast(255 * values, 2)
    model.forecast(2 * values - 0.5, 2)


@pytest.mark.filterwarnings("ignore:sst lies")  # the model has seen no data
def test_statistics_and_quantiles_on_request():
    model = SRVP(SPEC, architecture="mlp", width=8, code_size=6, latent_size=4, noise_size=3,
                 inference_hidden=8, content_size=8, transition_hidden=9)  # fmt: skip
    forecast = Predictor(model, prepared()).forecast(
        sea_surface(), 3, samples=9, generator=seeded_generator(1)
    )
    found = forecast.to_xarray(statistics=True, quantiles=(0.25, 0.5))
    samples = found["sst"].values
    np.testing.assert_allclose(found["sst_mean"], samples.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found["sst_std"], samples.std(axis=0, ddof=1), rtol=1e-3, atol=1e-5)
    assert found["sst_quantiles"].dims == ("lead_time", "quantile", "lat", "lon")
    np.testing.assert_allclose(
        found["sst_quantiles"].sel(quantile=0.5), np.median(samples, axis=0), rtol=1e-5
    )
    for wrong in ((0.5, 0.2), (1.5,)):
        with pytest.raises(InputError, match="Probabilities"):
            forecast.to_xarray(quantiles=wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sea: sea.isel(lon=slice(1, None)), r"\(6, 9\) points.*has \(6, 8\)"),
        (lambda sea: sea.assign_coords(lat=sea.lat + 5), "lat from -30 to 30.*from -25 to 35"),
        (lambda sea: sea.rename(lat="lon", lon="lat"), "trained on lat from"),
        (lambda sea: sea.isel(time=slice(None, None, 2)), "1 day apart.*2 days apart"),
        (lambda sea: sea.isel(time=[0, 1, 5]), "uneven"),
        (lambda sea: sea.isel(time=[0, 2, 1]), "sort: true"),
        (lambda sea: sea.rename(sst="sss"), r"\['sss'\], but not 'sst'"),
        (lambda sea: sea["sst"].rename("sss"), "trained on 'sst'.*named 'sss'"),
        (lambda sea: sea["sst"].assign_attrs(units="K"), "in 'degC'.*in 'K'"),
        (lambda sea: sea.isel(time=0, drop=True), "none of them is recognised as time"),
        (lambda sea: sea * np.nan, "no known value"),
    ],
)
def test_fields_that_do_not_fit_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        persistence().forecast(change(sea_surface(8)), 2)


def test_latents_of_a_labelled_field_are_those_of_its_prepared_frames():
    model = SRVP(
        SPEC, architecture="mlp", width=8, inference_hidden=8, content_size=8, transition_hidden=9
    )
    predictor, sea = Predictor(model, prepared()), sea_surface(island=True)
    found = predictor.infer_latents(sea["sst"], samples=2, generator=seeded_generator(1))
    context = predictor.context(sea["sst"])
    assert context.values.shape == (1, SPEC.context, 1, 8, 16)
    expected = model.infer_latents(context, samples=2, generator=seeded_generator(1))
    assert torch.equal(found.states, expected.states)
    with pytest.raises(InputError, match="no latent space"):
        persistence().infer_latents(sea["sst"])


def test_spellings_of_a_unit_are_one_unit():
    assert same_unit("degC", "degrees_Celsius")
    assert same_unit("m s-1", "m/s")
    assert not same_unit("degC", "K")


@pytest.mark.parametrize("names", [False, True])
def test_a_preparation_is_kept_with_its_run(tmp_path, names):
    grid = {"station": np.array(["a", "bc"])} if names else {"lat": np.arange(3.0)}
    options = FieldOptions(variables=("u", "v"), crop={"lat": (1.0, 2.0)}, sort=True)
    made = prepared(
        options=options, grid=grid, climatology=None if names else prepared().climatology
    )
    assert read_preparation(tmp_path) is None
    path = write_preparation(made, tmp_path)
    found = read_preparation(tmp_path)
    assert found.options == made.options
    assert (found.space, found.padded, found.units, found.step) == (
        made.space, made.padded, made.units, made.step,
    )  # fmt: skip
    np.testing.assert_array_equal(*[list(p.grid.values()) for p in (found, made)])
    if not names:
        np.testing.assert_array_equal(found.climatology.coefficients, made.climatology.coefficients)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CorruptionError, match=FILE_NAME):
        read_preparation(tmp_path)


@pytest.mark.parametrize("offset", [0.0, 1e-5, -1e-5, 0.05])
def test_a_globe_is_turned_to_the_first_meridian_of_training_despite_rounding(offset):
    expected = np.arange(0, 360, 0.75).astype("f4").astype("f8")
    around = (expected + offset + 180) % 360 - 180
    order = np.argsort(around)
    dataset = xarray.Dataset(
        {"sst": (("time", "lon"), np.arange(480.0)[None, order])},
        coords={"lon": ("lon", around[order], {"units": "degrees_east"})},
    )
    found = turned(dataset, {"lon": expected})
    right = offset < 0.05
    assert (found.sst.values[0] == np.arange(480)).all() == right


def test_fewer_frames_than_in_training_are_told_unless_asked_for(tmp_path):
    sea = sea_surface()[["sst"]].isel(time=slice(-1, None))
    sea.to_netcdf(tmp_path / "a.nc")
    model = persistence(climatology=None)
    told = f"The context has 1 of the {SPEC.context} frames that the model was trained on."
    with pytest.warns(UserWarning, match=told):
        model.forecast(sea, 2)
    output = tmp_path / "b.nc"
    assert told in forecast_file(model, tmp_path / "a.nc", output, horizon=2).warnings
    assert not forecast_file(model, tmp_path / "a.nc", output, horizon=2, context=1).warnings


@pytest.mark.parametrize(
    ("trained", "frequency", "way"),
    [
        (Step(2 * 86400.0, "seconds"), "D", "Average them: --data.time_step 2D"),
        (Step(1, "months"), "D", "Average them: --data.time_step 1M"),
        (Step(2 * 86400.0, "seconds"), "MS", "Give it frames of that step"),
        (Step(6 * 3600.0, "seconds"), "D", "Give it frames of that step"),
    ],
)
def test_frames_of_another_step_are_averaged_where_they_can_be(trained, frequency, way):
    times = xarray.date_range("2001-01-01", periods=30, freq=frequency)
    sea = sea_surface(30).assign_coords(time=("time", times))
    with pytest.raises(InputError, match=way):
        persistence(step=trained).forecast(sea, 2)
