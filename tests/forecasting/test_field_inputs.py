"""Forecast reads what train reads: files, folders, patterns, lists; with what it advises."""

import re
import shlex
import subprocess
import sys
from contextlib import nullcontext

import h5py
import numpy as np
import pytest
import xarray
from helpers.field_files import daily_files, days, labelled, raw_file, wave
from PIL import Image

from statecast.cli.main import MISTAKE, main
from statecast.errors import InputError
from statecast.reports.inspection import inspect_path
from statecast.runs.create import create_run
from statecast.runs.load import load

SMALL = """
model: {name: srvp, architecture: mlp, width: 8, code_size: 6, latent_size: 4, noise_size: 3,
        inference_hidden: 8, transition_hidden: 10}
data: {name: fields, context: 3, horizon: 2, test_horizon: 3, multiple: 1}
train: {steps: 2, batch_size: 4, validate_every: 0, precision: float32}
"""


def train(folder, path, *words):
    (folder / "small.yaml").write_text(SMALL)
    run = str(folder / "run")
    assert main(["train", str(folder / "small.yaml"), "--output", run,
                 "--data.path", str(path), *words]) == 0  # fmt: skip
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    labelled(60).to_netcdf(folder / "past.nc")
    return train(folder, folder / "past.nc")


def forecast(run, tmp_path, sources, *words):
    """Exit code of a forecast, and the forecast."""
    output = tmp_path / "future.nc"
    code = main(["forecast", run, *map(str, sources), "--output", str(output), *words])
    if code:
        return code, None
    with xarray.open_dataset(output, decode_timedelta=True) as found:
        return code, found.load()


def advised(error):
    """The first option of data that a message advises, as words of a command line."""
    return shlex.split(re.search(r"--data\.\w+ ('[^']*'|[^\s,;)]+)", error)[0])


@pytest.fixture(scope="module")
def expected(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    labelled(60).to_netcdf(folder / "whole.nc")
    return forecast(run, folder, [folder / "whole.nc"])[1]


def test_a_latitude_that_runs_the_other_way_is_turned(run, expected, tmp_path):
    space = [name for name in ("lat", "latitude", "lon", "longitude") if name in labelled(9).dims]
    assert len(space) == 2
    turned = labelled(60).isel({name: slice(None, None, -1) for name in space})
    turned.to_netcdf(tmp_path / "turned.nc")
    found = forecast(run, tmp_path, [tmp_path / "turned.nc"])[1]
    xarray.testing.assert_equal(found, expected)


def renamed(made):
    """The same field as another provider calls it, from south to north."""
    other = made.rename(time="valid_time", lat="latitude", lon="longitude")
    return other.isel(latitude=slice(None, None, -1))


def from_another_meridian(made):
    return made.assign_coords(lon=made.lon - 360)


def rounded(made):
    """Longitudes around 0, rounded as single precision rounds them."""
    return made.assign_coords(lon=("lon", (made.lon - 360).values + 3e-5, made.lon.attrs))


@pytest.mark.parametrize("change", [renamed, from_another_meridian, rounded])
def test_names_and_meridians_of_another_provider_are_known(run, expected, tmp_path, change):
    change(labelled(60)).to_netcdf(tmp_path / "a.nc")
    found = forecast(run, tmp_path, [tmp_path / "a.nc"])[1]
    np.testing.assert_array_equal(found["t"].values, expected["t"].values)


def test_videos_are_no_fields(run, tmp_path, refused):
    for number in range(6):
        frame = Image.fromarray(np.full((8, 8), number, np.uint8))
        frame.save(tmp_path / f"{number}.png")
    refused(
        "trained on the fields t, but", ["forecast", run, tmp_path, "--output", tmp_path / "a.nc"]
    )


def test_what_does_not_fit_is_said_in_sentences(run):
    field = labelled(9)
    name = next(iter(field.data_vars))
    field[name].attrs["units"] = "furlong"
    with pytest.raises(InputError, match=r"in '.+'\. The context has it in 'furlong'\. Convert"):
        load(run, "last").forecast(field[name])


@pytest.mark.parametrize("way", ["folder", "pattern", "list", "brackets", "other ending", "zarr"])
def test_a_forecast_takes_what_training_takes(run, expected, tmp_path, way):
    if way in ("folder", "pattern", "list"):
        folder = daily_files(tmp_path / "daily", 60)
        sources = {"folder": [folder], "pattern": [f"{folder}/day_*.nc"],
                   "list": sorted((tmp_path / "daily").iterdir())}[way]  # fmt: skip
    else:
        names = {"brackets": "era5 [1].nc", "other ending": "download.dat", "zarr": "store"}
        sources = [tmp_path / names[way]]
        write = labelled(60).to_netcdf if way != "zarr" else labelled(60).to_zarr
        write(sources[0], **({} if way != "zarr" else {"consolidated": False}))
    xarray.testing.assert_equal(forecast(run, tmp_path, sources)[1], expected)


def gap(tmp_path):
    labelled(60).isel(time=[*range(57), 58, 59]).to_netcdf(tmp_path / "a.nc")


def unsorted(tmp_path):
    labelled(60).isel(time=[*range(57), 58, 57, 59]).to_netcdf(tmp_path / "a.nc")


def twice(tmp_path):
    labelled(60).isel(time=[*range(59), 58, 59]).to_netcdf(tmp_path / "a.nc")


def empty(tmp_path):
    made = labelled(60)
    made["t"][-1] = np.nan
    made.to_netcdf(tmp_path / "a.nc")


def undeclared(tmp_path):
    values = wave(60)
    values[:, :2] = -9999
    raw_file(tmp_path / "a.nc", 60, values=values, units="days since 2001-01-01")


@pytest.mark.parametrize("make", [gap, unsorted, twice, empty, undeclared])
def test_what_a_recent_file_needs_is_advised_and_there(run, tmp_path, capsys, make):
    make(tmp_path)
    code, _ = forecast(run, tmp_path, [tmp_path / "a.nc"])
    error = capsys.readouterr().err
    assert code == MISTAKE
    assert error.count("\n") == 1
    lacking = make in (gap, empty)
    with pytest.warns(UserWarning, match="lacks frames") if lacking else nullcontext():
        code, found = forecast(run, tmp_path, [tmp_path / "a.nc"], *advised(error))
    assert code == 0
    assert found.init_time.values == days(60)[-1]
    unknown = {undeclared: 16}.get(make, 0)
    assert int(np.isnan(found["t"].values[0, 0]).sum()) == unknown


def test_a_gap_long_ago_does_not_matter_to_a_forecast(run, expected, tmp_path):
    labelled(60).isel(time=[0, 1, *range(20, 60)]).to_netcdf(tmp_path / "a.nc")
    xarray.testing.assert_equal(forecast(run, tmp_path, [tmp_path / "a.nc"])[1], expected)


def test_options_that_are_none_are_named(run, tmp_path, refused):
    labelled(60).to_netcdf(tmp_path / "a.nc")
    words = ["forecast", run, tmp_path / "a.nc", "--output", tmp_path / "b.nc"]
    for option in ("--data.unevn=fill", "--train.steps=3", "--data.uneven_times=perhaps"):
        refused(re.findall(r"\w+", option)[1], [*words, option])


@pytest.mark.parametrize("given", ["lat:30", "{lat: 30}", "[30, 45]", "{lat: [1, 2, 3]}"])
def test_a_crop_of_another_form_is_answered_with_its_own(tmp_path, refused, given):
    labelled(60).to_netcdf(tmp_path / "a.nc")
    words = ["train", "fields", "--data.path", tmp_path / "a.nc", "--data.crop", given]
    refused("data.crop takes dict[str, tuple[float | str, float | str]], got", words)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("crop", "{lat: 5}", r"crop should be \{name: \[a number .*\]\}, got \{'lat': 5\}"),
        ("missing", "none", r"missing should be a list of numbers or None, got 'none'"),
        ("coarsen", "two", "coarsen should be a whole number, got 'two'"),
        ("time_step", "7", "made of dates: give a step such as 1D, got time_step 7"),
        ("sequences", "member", "not 'member', which should become sequences"),
    ],
)
def test_options_of_a_wrong_kind_are_answered_in_words(
    run, tmp_path, refused, option, value, message
):
    labelled(60).to_netcdf(tmp_path / "a.nc")
    words = ["forecast", run, tmp_path / "a.nc", "--output", tmp_path / "b.nc"]
    refused(message, [*words, f"--data.{option}", value])


@pytest.mark.parametrize("python", [False, True])
def test_a_context_far_from_training_is_warned_of_and_one_in_another_unit_refused(
    run, tmp_path, capsys, refused, python
):
    away = labelled(60) - 20 * float(labelled(60).t.std())
    celsius = labelled(60) - 273.15  # arithmetic drops the unit, unless xarray is told to keep it
    celsius.t.attrs.clear()
    away.to_netcdf(tmp_path / "a.nc")
    celsius.to_netcdf(tmp_path / "c.nc")
    words = ["forecast", run, tmp_path / "c.nc", "--output", tmp_path / "future.nc"]
    if python:
        with pytest.warns(UserWarning, match=r"t lies \d+ standard deviations below"):
            load(run, "last").forecast(away)
        with pytest.raises(InputError, match=r"in 'K'\. Convert it to the unit of training"):
            load(run, "last").forecast(celsius)
        return
    assert forecast(run, tmp_path, [tmp_path / "a.nc"])[0] == 0
    assert re.search(r"warning: t lies \d+ standard deviations below", capsys.readouterr().err)
    (tmp_path / "future.nc").unlink()
    refused("in 'K'. Convert it to the unit of training", words)
    assert not (tmp_path / "future.nc").exists()
    labelled(60).to_netcdf(tmp_path / "b.nc")
    forecast(run, tmp_path, [tmp_path / "b.nc"])
    assert "warning" not in capsys.readouterr().err


def test_a_model_of_changes_warns_as_well(tmp_path, capsys):
    labelled(60).to_netcdf(tmp_path / "past.nc")
    changing = ("--model.reference", "persistence", "--train.validate_every", "2")
    run = train(tmp_path, tmp_path / "past.nc", *changing)
    (labelled(60) - 20 * float(labelled(60).t.std())).to_netcdf(tmp_path / "a.nc")
    capsys.readouterr()
    assert forecast(run, tmp_path, [tmp_path / "a.nc"])[0] == 0
    assert re.search(r"warning: t lies \d+ standard deviations below", capsys.readouterr().err)
    forecast(run, tmp_path, [tmp_path / "past.nc"])
    assert "warning" not in capsys.readouterr().err


def test_members_are_forecast_together(tmp_path):
    made = xarray.concat([labelled(60) + number for number in range(3)], dim="member")
    made.to_netcdf(tmp_path / "a.nc")
    run = train(tmp_path, tmp_path / "a.nc", "--data.sequences", "member")
    _, found = forecast(run, tmp_path, [tmp_path / "a.nc"])
    assert dict(found.sizes)["batch"] == 3
    labelled(60).to_netcdf(tmp_path / "one.nc")
    assert "batch" not in forecast(run, tmp_path, [tmp_path / "one.nc"])[1].sizes


def test_levels_are_channels_of_a_forecast(tmp_path):
    made = xarray.concat([labelled(60), labelled(60) - 20], dim="level")
    made.assign_coords(level=[850, 500]).to_netcdf(tmp_path / "a.nc")
    run = train(tmp_path, tmp_path / "a.nc", "--data.channels", "level", "--data.variables", "t")
    found = forecast(run, tmp_path, [tmp_path / "a.nc"])[1]
    assert {"t_850", "t_500"} <= set(found.data_vars)
    made.isel(level=[0]).assign_coords(level=[700]).to_netcdf(tmp_path / "b.nc")
    assert forecast(run, tmp_path, [tmp_path / "b.nc"])[0] == MISTAKE


def test_in_python_a_data_set_is_read_with_the_same_options(run):
    recent = labelled(60).isel(time=[*range(57), 58, 59])
    with pytest.warns(UserWarning, match="lacks frames"):
        frames = load(run).context(recent, reading={"uneven_times": "fill"})
    assert frames.mask.flatten(2).all(dim=2)[0].tolist() == [False, True, True]


@pytest.mark.parametrize(
    "make", [gap, unsorted, twice, empty, undeclared, lambda p: daily_files(p / "a.nc", 40,
             without=(3,))],
)  # fmt: skip
def test_the_command_that_inspect_prints_trains(tmp_path, make):
    make(tmp_path)
    finding = inspect_path(tmp_path / "a.nc")
    words = shlex.split(finding.commands[0][1])
    (tmp_path / "small.yaml").write_text(SMALL)
    made = create_run(str(tmp_path / "small.yaml"), tmp_path / "run", words[3:])
    data = made.data()
    assert made.new_model().spec.channels == ("t",)
    for split in ("train", "validation", "test"):
        assert len(data.windows(split).digest) == 64  # reads them all


LAZY = """
import resource, sys
import h5py, numpy, torch, xarray, zarr, pandas, cftime
from statecast.data.user.fields import Fields
from statecast.forecasting.inputs import read_context
from statecast.forecasting.predictor import Predictor
from statecast.models.baselines import Persistence
import statecast.reports.inspection
path, before = sys.argv[1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = Fields(path=path, anomaly="mean", multiple=1)
assert data.storage == "files"
windows = data.windows("train")
for start in range(0, len(windows), 500):
    windows.batch(torch.tensor([start]))
predictor = Predictor(Persistence(data.spec), data.preparation)
found = predictor.forecast(read_context(path, predictor), 2)
assert statecast.reports.inspection.inspect_path(path).problems == []
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(found.samples.mean().item(), (after - before) * 1024)
"""
LARGE = (12000, 192, 192)


def large_store(path):
    """A Zarr store; the value of its last frames."""
    import zarr

    times = xarray.Dataset(coords={"time": days(LARGE[0])})
    times.to_zarr(path, zarr_format=2, consolidated=False)
    group = zarr.open_group(path, mode="a")
    array = group.create_array("t", shape=LARGE, chunks=(8, 192, 192), dtype="f4")
    array.attrs["_ARRAY_DIMENSIONS"] = ["time", "y", "x"]
    for start in range(0, LARGE[0], 8):
        array[start : start + 8] = np.float32(1 + start % 64)
    return 1 + (LARGE[0] - 8) % 64


def large_folder(path):
    """A folder of NetCDF files, most chunks of which read as their fill; as `large_store`."""
    path.mkdir()
    each = LARGE[0] // 10
    for number in range(10):
        with h5py.File(path / f"part_{number}.nc", "w", track_order=True) as file:
            file["time"] = np.arange(each) + each * number
            file["time"].attrs["units"] = np.bytes_("days since 2001-01-01")
            file["time"].make_scale("time")
            array = file.create_dataset(
                "t", (each, *LARGE[1:]), "f4", chunks=(8, *LARGE[1:]), fillvalue=2.0
            )
            array[-8:] = 3.0 + number
            for place, name in enumerate(("time", "y", "x")):
                if name != "time":
                    file[name] = np.arange(float(LARGE[place]))
                    file[name].make_scale(name)
                array.dims[place].attach_scale(file[name])
    return 12


@pytest.mark.slow
@pytest.mark.parametrize("make", [large_store, large_folder])
def test_data_ten_times_the_memory_are_trained_on_and_forecast(tmp_path, make):
    last = make(tmp_path / "large")
    words = [sys.executable, "-c", LAZY, str(tmp_path / "large")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    mean, grown = map(float, done.stdout.split()[-2:])
    assert mean == last
    assert 10 * grown < 4 * np.prod(LARGE)


def test_dask_arrays_stay_lazy(run):
    dask = pytest.importorskip("dask")
    loaded = []

    def block(value, block_info=None):
        loaded.append(block_info[0]["chunk-location"][0])
        return value

    made = labelled(60).chunk(time=5)
    made["t"].data = made["t"].data.map_blocks(block, dtype="f4", meta=np.zeros((0, 0, 0), "f4"))
    with dask.config.set(scheduler="synchronous"):
        load(run).forecast(made, 2)
    assert max(loaded) == 11
    assert min(loaded) >= 10
