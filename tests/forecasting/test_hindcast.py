"""A hindcast is the forecasts of its starts, however its work was cut, stopped or shared."""

import json
import shutil

import numpy as np
import pytest
import torch
import xarray
import zarr
from helpers.field_files import labelled

from statecast.cli.main import MISTAKE, main
from statecast.data.base import window_generators
from statecast.forecasting.hindcast import Hindcast, dates_of, write_hindcast, written
from statecast.io.fields.forecast_layout import names_of
from statecast.runs.load import load

SMALL = """
model: {name: srvp, architecture: mlp, width: 8, code_size: 6, latent_size: 4, noise_size: 3,
        inference_hidden: 8, transition_hidden: 10}
data: {name: fields, context: 3, horizon: 2, test_horizon: 3, multiple: 1}
train: {steps: 2, batch_size: 4, validate_every: 0, precision: float32}
"""
DAYS = 24


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """A run, and the series that it was trained on."""
    folder = tmp_path_factory.mktemp("past")
    labelled(60).to_netcdf(folder / "past.nc")
    labelled(DAYS).to_netcdf(folder / "series.nc")
    (folder / "small.yaml").write_text(SMALL)
    words = ["--output", str(folder / "run"), "--data.path", str(folder / "past.nc")]
    assert main(["train", str(folder / "small.yaml"), *words]) == 0
    return folder


def asked(past, **options):
    given = {"horizon": 2, "samples": 3, "seed": 5} | options
    return Hindcast(predictor=load(past / "run"), source=(str(past / "series.nc"),), **given)


def opened(store):
    with xarray.open_zarr(store, decode_timedelta=True) as found:
        return found.load()


@pytest.fixture(scope="module")
def whole(past):
    """The store of all starts, written one at a time."""
    return write_hindcast(asked(past), past / "whole.zarr", batch_size=1)


def test_it_holds_the_forecast_of_each_start_with_its_dates(past, whole):
    found, series = opened(whole), labelled(DAYS)
    name = next(iter(series.data_vars))
    assert found[name].dims[:3] == ("init_time", "realization", "lead_time")
    assert np.array_equal(found.init_time, series.time[2:])
    assert np.array_equal(found.valid_time, found.init_time + found.lead_time)
    for coordinate, meaning in (("init_time", "forecast_reference_time"), ("realization",) * 2,
                                ("lead_time", "forecast_period")):  # fmt: skip
        assert found[coordinate].attrs["standard_name"] == meaning
    predictor, place = load(past / "run"), 7
    context = series.isel(time=slice(place, place + 3))
    labels = predictor.context(context).coordinates
    alone = predictor.forecast(
        context, 2, samples=3, generator=window_generators(dates_of([labels]), 5)
    )
    np.testing.assert_allclose(
        found[name][place], alone.to_xarray()[name].values, rtol=1e-5, atol=1e-5
    )
    assert found[name][place].std("realization").max() > 0


@pytest.mark.parametrize("batch_size", [4, 50])
def test_numbers_do_not_depend_on_the_batch(past, whole, tmp_path, batch_size):
    other = write_hindcast(asked(past), tmp_path / "other.zarr", batch_size=batch_size)
    xarray.testing.assert_allclose(opened(other), opened(whole), rtol=1e-5, atol=1e-5)


def test_it_goes_on_with_the_starts_that_are_missing(past, whole, tmp_path):
    store = tmp_path / "half.zarr"
    shutil.copytree(whole, store)
    group, kept = zarr.open_group(store, mode="a"), 9
    for name in ("written", *json.loads(group.attrs["hindcast"])["channels"]):
        group[name][kept:] = 0
    finished = {path: path.stat().st_mtime_ns for path in store.rglob("*.0.0.0")}
    assert written(store).sum() == kept
    write_hindcast(asked(past), store, batch_size=1)
    assert written(store).all()
    xarray.testing.assert_identical(opened(store), opened(whole))
    same = [path for path, time in finished.items() if path.stat().st_mtime_ns == time]
    assert len(same) >= kept


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 6}, "different seed"),
        ({"samples": 2}, "different samples"),
        ({"every": 2}, "different starts"),
        ({"reading": {"missing": [-9.0]}}, "different reading"),
    ],
)
def test_another_hindcast_is_not_written_over(past, whole, capsys, options, message):
    with pytest.raises(ValueError, match=message):
        write_hindcast(asked(past, **options), whole)
    assert written(whole).all()


def test_starts_are_chosen_by_dates_and_durations(past, tmp_path, capsys):
    series, output = labelled(DAYS), tmp_path / "some.zarr"
    first, last = (str(series.time.values[n])[:10] for n in (5, 20))
    words = ["hindcast", str(past / "run"), str(past / "series.nc"), "--output", str(output)]
    assert main([*words, "--start", first, "--end", last, "--every", "5D"]) == 0
    assert "4 starts" in capsys.readouterr().out
    assert np.array_equal(opened(output).init_time, series.time[5:21:5])


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--every", "7h"], "whole number of frames apart"),
     (["--start", "2400-01-01"], "no start from 2400"),
     (["--horizon", "-1"], "at least 1"), (["--every", "soon"], "soon")],
)  # fmt: skip
def test_what_cannot_be_forecast_is_refused(past, tmp_path, capsys, words, message):
    output = tmp_path / "no.zarr"
    command = ["hindcast", str(past / "run"), str(past / "series.nc"), "--output", str(output)]
    assert main([*command, *words]) == MISTAKE
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_a_store_of_others_is_left_alone(past, tmp_path, capsys):
    labelled(5).to_zarr(tmp_path / "mine.zarr", consolidated=False)
    with pytest.raises(OSError, match="not a hindcast"):
        write_hindcast(asked(past), tmp_path / "mine.zarr")


@pytest.mark.slow
def test_workers_of_a_cluster_make_the_same_numbers_though_one_is_killed(past, whole, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as two:
        with distributed.Client(two) as client:
            client.submit(torch.manual_seed, 1).result()
        victim = next(iter(two.workers.values()))
        victim.process.process._process.kill()
        store = write_hindcast(
            asked(past), tmp_path / "shared.zarr", batch_size=1, dask=two.scheduler_address
        )
    xarray.testing.assert_identical(opened(store), opened(whole))


def test_names_and_types_are_those_that_climpred_and_weatherbench_x_look_for(whole):
    """Facts of their source: climpred 2.x renames dimensions by standard names and reads the unit
    of leads; WeatherBench-X selects by `init_time` and by durations along `lead_time`."""
    with xarray.open_zarr(whole, decode_timedelta=False) as found:
        standard = {found[dim].attrs.get("standard_name"): dim for dim in found.dims}
        renamed = found.rename(
            {standard["forecast_reference_time"]: "init", standard["forecast_period"]: "lead",
             standard["realization"]: "member"}
        )  # fmt: skip
        assert renamed.lead.attrs["units"] in ("days", "hours", "minutes", "seconds")
        assert (renamed.lead.dtype.kind, list(renamed.lead.values)) == ("i", [1, 2])
        assert (renamed.init.dtype.kind, renamed.valid_time.dims) == ("M", ("init", "lead"))
    found = opened(whole)
    chosen = found.sel(
        init_time=found.init_time.values[:3], lead_time=np.array([2], "timedelta64[D]")
    )
    assert (chosen.sizes["lead_time"], chosen.sizes["init_time"]) == (1, 3)
    assert {"lat", "lon"} <= set(chosen.coords)  # which it renames itself


def test_names_of_files_are_short_and_without_folders(tmp_path, monkeypatch):
    (tmp_path / "era5").mkdir()
    monkeypatch.chdir(tmp_path / "era5")
    assert names_of(["."]) == "era5"
    assert names_of(["a/x.nc", "b/y.nc"]) == "x.nc, y.nc"
    assert names_of([f"a/{year}.nc" for year in range(1990, 1995)]) == "1990.nc … 1994.nc (5 files)"
