"""Scores of variables, regions and seasons are those of what lies in them."""

import numpy as np
import pytest
import torch
import xarray
from helpers.labelled_fields import sea_surface

from statecast.data.user.fields import Fields
from statecast.errors import InputError
from statecast.evaluation.evaluate import evaluate
from statecast.evaluation.subsets import SEASONS, calendar_of
from statecast.models.baselines import Persistence

METRICS = ("mse", "rmse", "acc", "bias", "brier")


@pytest.fixture(scope="module")
def sea(tmp_path_factory):
    """Two variables in different units, over a year and a half."""
    field = sea_surface(frames=200, height=8, width=10)
    field["salinity"] = (0.1 * field["sst"] + 30).assign_attrs(units="psu")
    field["time"] = np.datetime64("2001-01-01", "ns") + np.arange(200) * np.timedelta64(3, "D")
    path = tmp_path_factory.mktemp("sea") / "sea.nc"
    field.to_netcdf(path)
    options = {"path": str(path), "context": 3, "horizon": 3, "anomaly": "none", "multiple": 4}
    return Fields(**options, variables="sst,salinity"), options


@pytest.fixture(scope="module")
def scores(sea):
    data, _ = sea
    middle = data.field.variables["lat"].values.mean()
    regions = {"south": {"lat": (-90.0, float(middle))}}
    model = Persistence(data.spec)
    return evaluate(model, data, metrics=METRICS, thresholds=(20.0,), regions=regions, seasons=True)


def errors(data):
    windows = data.windows("test")
    batch = windows.batch(torch.arange(len(windows)))
    return batch, batch.target.values - batch.context.values[:, -1:]


def mse_of(scores, kind, name):
    return scores.parts[kind][name].forecasters["model"]["mse"]["mean"]


def test_a_variable_is_scored_as_it_would_be_alone(sea, scores):
    data, options = sea
    assert {name: part.unit for name, part in scores.parts["variable"].items()} == dict(
        zip(data.spec.channels, data.spec.units, strict=True)
    )
    assert scores.parts["variable"]["salinity"].unit == "psu"
    alone = Fields(**options, variables="salinity")
    found = evaluate(Persistence(alone.spec), alone, metrics=METRICS, thresholds=(20.0,))
    for metric, selections in found.forecasters["model"].items():
        for selection, score in selections.items():
            held = scores.parts["variable"]["salinity"].forecasters["model"][metric][selection]
            torch.testing.assert_close(
                held.per_lead_time, score.per_lead_time, rtol=1e-5, atol=1e-7
            )


def test_a_region_holds_its_points_and_a_season_its_dates(sea, scores):
    data, _ = sea
    batch, error = errors(data)
    labels = data.windows("test").coordinates(0)
    latitudes = labels.variables["lat"].values
    inside = np.zeros(error.shape[-2], dtype=bool)
    inside[: len(latitudes)] = latitudes <= latitudes.mean()
    squares = error[..., inside, :].square().numpy()
    expected = np.nanmean(squares, axis=(2, 3, 4)).mean(axis=0)
    found = mse_of(scores, "region", "south").per_lead_time
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    # Frames of a season: squares of those alone, as each window has one of each lead time.
    windows = data.windows("test")
    for name, held in SEASONS.items():
        months = calendar_of(windows, torch.arange(len(windows)), batch.target.times)
        within = torch.isin(months, torch.tensor(held))
        means = error.square().flatten(2).nanmean(dim=2)
        found = mse_of(scores, "season", name).per_lead_time
        for lead in range(len(found)):
            expected = means[within[:, lead], lead].double().mean()
            assert float(found[lead]) == pytest.approx(float(expected), rel=1e-5, nan_ok=True)


def test_points_weigh_as_much_as_their_area(sea):
    data, _ = sea
    model, names = Persistence(data.spec), ("mse", "mae", "bias", "crps", "energy")
    found = evaluate(model, data, metrics=names, area_weights=True)
    assert found.protocol["area_weights"] is True
    _, error = errors(data)
    latitudes = data.windows("test").coordinates(0).variables["lat"].values
    weights = np.zeros(error.shape[-2:])
    weights[: len(latitudes)] = np.cos(np.deg2rad(latitudes))[:, None]
    values = error.double().numpy()
    weights = np.where(np.isnan(values), 0, weights)
    for name, points in (("mse", values**2), ("mae", abs(values)), ("bias", -values)):
        sums = np.nansum(points * weights, axis=(2, 3, 4)) / weights.sum(axis=(2, 3, 4))
        (score, *_) = found.forecasters["model"][name].values()
        expected = sums.mean(axis=0).tolist()
        assert score.per_lead_time.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    # Without spread, the CRPS is the absolute error, and the energy score the norm of the error.
    one, other = (found.forecasters["model"][n] for n in ("crps", "mae"))
    assert one["ensemble"].value == pytest.approx(other["mean"].value, rel=1e-5)
    norm = np.sqrt(np.nansum(values**2 * weights, axis=(2, 3, 4)) / weights.sum(axis=(2, 3, 4)))
    energy = found.forecasters["model"]["energy"]["ensemble"].value
    assert energy == pytest.approx(norm.mean(), rel=1e-4)


def test_months_are_those_of_the_forecast_frames(sea):
    data, _ = sea
    windows = data.windows("test")
    found = calendar_of(windows, torch.tensor([0]), torch.tensor([1.0, 2.0, 12.0]))
    last = windows.coordinates(0).times[-1]
    for month, frames in zip(found[0].tolist(), (1, 2, 12), strict=True):
        date = last + frames * np.timedelta64(3, "D")
        assert month == int(str(date)[5:7])


def test_scores_as_a_labelled_data_set(sea, scores):
    found = scores.to_xarray()
    assert isinstance(found, xarray.Dataset)
    assert found.sizes["lead_time"] == len(scores.lead_times)
    assert found["variable"].values.tolist() == ["all", *sea[0].spec.channels]
    value = found["rmse"].sel(
        variable="salinity", region="all", season="all", forecaster="model",
        selection="ensemble_mean", lead_time=2.0,
    )  # fmt: skip
    table = scores.parts["variable"]["salinity"].forecasters["model"]
    assert float(value) == pytest.approx(float(table["rmse"]["ensemble_mean"].per_lead_time[1]))
    assert found["unit"].sel(variable="salinity") == "psu"


def test_regions_that_are_not_there_are_refused(sea):
    data, _ = sea
    for regions, message in (
        ({"a": {"depth": (0.0, 1.0)}}, "bounded by 'depth'"),
        ({"a": {"lat": (200.0, 300.0)}}, "holds no point"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate(Persistence(data.spec), data, metrics=("mse",), regions=regions)


def test_metrics_of_whole_frames_are_not_computed_in_a_region(sea):
    data = Fields(**sea[1] | {"multiple": 2}, variables="sst")
    regions = {"south": {"lat": (-90.0, float(data.field.variables["lat"].values.mean()))}}
    found = evaluate(Persistence(data.spec), data, metrics=("mse", "spectrum"), regions=regions)
    assert found.forecasters["model"].keys() == {"mse", "spectrum"}
    assert found.parts["region"]["south"].forecasters["model"].keys() == {"mse"}
