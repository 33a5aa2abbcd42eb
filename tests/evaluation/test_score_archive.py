"""Scores of stored forecasts are those of the model that made them, on the same starts."""

import json
import math

import numpy as np
import pytest
import torch
import xarray
from helpers.field_files import labelled

from statecast.cli.main import MISTAKE, main
from statecast.data.base import window_generators
from statecast.evaluation.score_archive import score_archive
from statecast.forecasting.hindcast import Hindcast, write_hindcast
from statecast.io.sealed_json import read_sealed
from statecast.runs.load import load
from statecast.runs.run import evaluate_run, open_run

SMALL = """
model: {name: srvp, architecture: mlp, width: 8, code_size: 6, latent_size: 4, noise_size: 3,
        inference_hidden: 8, transition_hidden: 10}
data: {name: fields, context: 3, horizon: 3, test_horizon: 3, multiple: 1, anomaly: mean}
train: {steps: 2, batch_size: 4, validate_every: 0, precision: float32}
evaluate: {samples: 4, metrics: [mse, rmse, mae, fair_mse, bias, crps, spread_skill, acc],
           baselines: [persistence, climatology, damped_persistence]}
"""
LEADS = 3


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """A trained run with its scores, its series, and its forecasts of test windows in a store."""
    folder = tmp_path_factory.mktemp("past")
    series, generator = labelled(80), np.random.default_rng(3)
    series["t"] += generator.normal(0, 1, series["t"].shape).astype("f4")
    series["t"][:, 2, 5] = np.nan  # land
    series.to_netcdf(folder / "series.nc")
    (folder / "small.yaml").write_text(SMALL)
    words = ["--output", str(folder / "run"), "--data.path", str(folder / "series.nc")]
    assert main(["train", str(folder / "small.yaml"), *words]) == 0
    return folder


@pytest.fixture(scope="module")
def scores(past):
    return evaluate_run(open_run(past / "run"))


def ends(past, split):
    """First and last date of a split."""
    _, first, last = load_data(past).card["splits"][split][0]
    return first, last


def load_data(past):
    return open_run(past / "run").data()


@pytest.fixture(scope="module")
def stored(past):
    """Forecasts that `evaluate` scores, in the layout of a hindcast, written by xarray."""
    data, model = load_data(past), load(past / "run").model
    windows = data.windows("test")
    numbers = torch.arange(len(windows))
    forecast = model.forecast(
        windows.batch(numbers).context, LEADS, samples=4, generator=window_generators(numbers, 1)
    )
    labels = [windows.coordinates(int(number)) for number in numbers]
    samples = torch.cat(
        [
            data.preparation.restore(forecast.samples[:, n : n + 1], label, forecast.times)
            for n, label in enumerate(labels)
        ],
        dim=1,
    )
    space = {name: labels[0].variables[name].values for name in ("lat", "lon")}
    days = np.arange(1, LEADS + 1) * np.timedelta64(1, "D")
    return xarray.Dataset(
        {"t": (("realization", "init_time", "lead_time", "lat", "lon"), samples[:, :, :, 0],
               {"units": "K"})},
        coords={"init_time": [label.times[-1] for label in labels],
                "lead_time": days.astype("timedelta64[ns]"), **space},
    )  # fmt: skip


def scored(past, store, **options):
    given = {"context": 3, "reference_period": ends(past, "train")} | options
    return score_archive(store, past / "series.nc", **given)


def assert_same(found, expected, leads=slice(None), own="srvp"):
    """Scores, intervals and skill of two evaluations are equal but for rounding."""
    close = {"rtol": 2e-4, "atol": 2e-5}
    for name, metrics in expected.forecasters.items():
        theirs = found.forecasters[found.model if name == own else name]
        assert set(theirs) == set(metrics)
        for metric, selections in metrics.items():
            for selection, score in selections.items():
                one = theirs[metric][selection]
                np.testing.assert_allclose(one.per_lead_time, score.per_lead_time[leads], **close)
                if leads == slice(None):
                    np.testing.assert_allclose(one.value, score.value, **close)
                    np.testing.assert_allclose(one.half_width, score.half_width, **close)
    for baseline, metrics in expected.skill.items():
        for metric, selections in metrics.items() if leads == slice(None) else ():
            for selection, skill in selections.items():
                one = found.skill[baseline][metric][selection].difference
                for bound in ("value", "low", "high"):
                    wanted = getattr(skill.difference, bound)
                    np.testing.assert_allclose(getattr(one, bound), wanted, **close)


def test_scores_are_those_that_evaluate_gives(past, scores, stored, tmp_path):
    written(stored, tmp_path / "theirs.zarr")
    found = scored(past, tmp_path / "theirs.zarr")
    assert scores.protocol["windows"] == found.protocol["windows"] > 3
    assert set(scores.forecasters) - {"srvp"} == {"persistence", "climatology",
                                                  "damped_persistence"}  # fmt: skip
    assert_same(found, scores)
    assert found.protocol["digest"] == scores.protocol["digest"]


def test_of_a_hindcast_by_a_deterministic_model_too(past, tmp_path):
    run = past / "dmd"
    words = ["--output", str(run), "--data.path", str(past / "series.nc"), "--model.name", "dmd"]
    recipe = past / "dmd.yaml"
    lines = SMALL.splitlines()[3:]
    recipe.write_text("\n".join(["model: {name: persistence}", *lines]))
    assert main(["train", str(recipe), *words[:-2]]) == 0
    expected = evaluate_run(open_run(run))
    first, last = ends(past, "test")
    hindcast = Hindcast(
        predictor=load(run), source=(str(past / "series.nc"),), start=first, end=last, horizon=LEADS
    )
    store = write_hindcast(hindcast, tmp_path / "own.zarr")
    found = scored(past, store, start=str(np.datetime64(first) + 2), context=None)
    assert found.protocol["context"] == 3
    assert_same(found, expected, own="persistence")


def test_layouts_of_others_give_the_same_scores(past, stored, tmp_path):
    """Names of climpred and of WeatherBench, another order, latitude the other way round."""
    expected = scored(past, written(stored, tmp_path / "usual.zarr"))
    climpred = stored.rename(init_time="init", lead_time="lead", realization="member")
    climpred = climpred.assign_coords(
        lead=("lead", np.arange(1, LEADS + 1), {"units": "days"})
    ).transpose("lead", "init", "member", "lon", "lat")
    weatherbench = stored.rename(
        init_time="time", lead_time="prediction_timedelta", realization="number",
        lat="latitude", lon="longitude",
    ).isel(latitude=slice(None, None, -1))  # fmt: skip
    for name, other in {"climpred": climpred, "weatherbench": weatherbench}.items():
        found = scored(past, written(other, tmp_path / f"{name}.zarr"), batch_size=1,
                       max_memory_gib=1e-6)  # fmt: skip
        assert_same(found, expected, own="usual")


def written(dataset, path):
    dataset.to_zarr(path, zarr_format=2)
    return path


def test_some_leads_are_scored_as_among_all(past, scores, stored, tmp_path):
    some = written(stored.isel(lead_time=[0, 2]), tmp_path / "some.zarr")
    found = scored(past, some)
    assert found.lead_times == [1, 3]
    assert_same(found, scores, leads=[0, 2])


def test_without_a_reference_period_persistence_alone_is_there(past, stored, tmp_path):
    store = written(stored, tmp_path / "forecasts.zarr")
    with xarray.open_dataset(past / "series.nc") as series:
        late = series.isel(time=slice(69, None)).load()
    late.to_netcdf(tmp_path / "late.nc")
    found = score_archive(store, tmp_path / "late.nc", context=3)
    assert set(found.forecasters) == {"forecasts", "persistence"}
    assert "no reference period" in found.not_computed["climatology"]
    assert math.isfinite(found.forecasters["forecasts"]["crps"]["ensemble"].value)
    whole = scored(past, store)
    for way in ("ensemble_mean", "mean"):  # the same of anomalies as of values
        one, other = (f.forecasters["forecasts"]["rmse"][way] for f in (found, whole))
        assert one.value == pytest.approx(other.value, rel=1e-3, abs=1e-3)


def test_starts_that_cannot_be_scored_are_told(past, stored, tmp_path):
    store = written(stored, tmp_path / "forecasts.zarr")
    with xarray.open_dataset(past / "series.nc") as series:
        short = series.isel(time=slice(0, 78)).load()
    short.to_netcdf(tmp_path / "short.nc")
    found = score_archive(store, tmp_path / "short.nc", context=3)
    assert found.protocol["windows"] == stored.sizes["init_time"] - 2
    assert "2 of 6 starts are not scored" in found.warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.assign_coords(init_time=s.init_time + np.timedelta64(9000, "D")),
         "No start can be scored"),
        (lambda s: s.assign_coords(lat=s.lat + 20), "has lat from 20"),
        (lambda s: s.isel(lon=slice(4)), "lon 4, and the observations lie on"),
        (lambda s: s.rename(t="sst"), "not 'sst'"),
        (lambda s: s.assign(t=s.t.assign_attrs(units="degC")), "in 'degC'"),
        (lambda s: s.rename(init_time="when"), "forecast_reference_time"),
        (lambda s: s.assign_coords(lead_time=s.lead_time / 2), "lead time of 0.5 frames"),
        (lambda s: s.assign(t=s.t.where(s.init_time != s.init_time[1])), "holds no value for"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(past, stored, tmp_path, capsys, change, message):
    store = written(change(stored), tmp_path / "other.zarr")
    assert main(["score", str(store), str(past / "series.nc")]) == MISTAKE
    assert message in capsys.readouterr().err


def test_the_command_writes_scores_that_compare_reads(past, stored, tmp_path, capsys):
    for name in ("one", "two"):
        worse = stored if name == "one" else stored.assign(t=stored.t + 1)
        store = written(worse, tmp_path / f"{name}.zarr")
        words = ["score", str(store), str(past / "series.nc"), "--context", "3",
                 "--evaluate.metrics", "[mse]", "--output", str(tmp_path / name)]  # fmt: skip
        assert main(words) == 0
    assert "persistence" in capsys.readouterr().out
    content = read_sealed(tmp_path / "one" / "scores.json")
    assert json.dumps(content["protocol"]["data"]["forecasts"]) == '"one.zarr"'
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    assert (
        main(["score", str(store), str(past / "series.nc"), "--evaluate.samples", "3"]) == MISTAKE
    )
