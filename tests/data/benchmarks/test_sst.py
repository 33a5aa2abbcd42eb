"""Sea-surface temperature: normalisation both ways, splits, and files that do not fit."""

import shutil

import netCDF4
import numpy as np
import pytest
import torch

from statecast.data.benchmarks.sst import SeaSurfaceTemperature
from statecast.data.benchmarks.sst_files import read_zones
from statecast.data.synthetic.synthetic_ocean import Ocean, ocean_folder
from statecast.errors import CorruptionError, FileError, InputError
from statecast.evaluation.scoring import score_windows
from statecast.frames import Forecast
from statecast.models.baselines import Persistence


@pytest.fixture(scope="module")
def ocean(tmp_path_factory):
    """Folder of two zones, the first one with land, and their cache."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("STATECAST_CACHE", str(cache))
        yield ocean_folder(Ocean(2, 150, 1, 120, 3))


@pytest.fixture
def folder(ocean, tmp_path):
    """A copy to be spoiled."""
    return shutil.copytree(ocean, tmp_path / "zones")


def celsius_of(folder, zone, days):
    with netCDF4.Dataset(folder / f"data_{zone}.nc") as file:
        return np.ma.filled(file.variables["thetao"][days], np.nan).astype(np.float32)


@pytest.mark.parametrize("protocol", ["honest", "paper"])
def test_restored_windows_are_the_temperatures_of_the_file(ocean, protocol):
    windows = SeaSurfaceTemperature(folder=str(ocean), protocol=protocol).windows("test")
    batch = windows.batch(torch.tensor([0, 5, len(windows) - 1]))
    exact = Forecast(
        samples=batch.target.values[None], times=batch.target.times, channels=("temperature",)
    )
    forecast, target = windows.to_score_units(exact, batch)
    for row in range(3):
        zone, days = int(batch.latents["zone"][row]), batch.latents["day"][row, 4:].numpy()
        expected = torch.from_numpy(celsius_of(ocean, zone, days))[:, None]
        torch.testing.assert_close(target.values[row], expected, atol=2e-4, rtol=0, equal_nan=True)
    assert torch.equal(forecast.samples[0].isnan(), target.values.isnan())
    assert target.mask is not None
    assert torch.equal(target.mask, ~target.values.isnan())


def test_the_papers_frames_have_each_mean_0_and_std_1(ocean):
    windows = SeaSurfaceTemperature(folder=str(ocean), protocol="paper").windows("train")
    values = windows.batch(torch.arange(0, len(windows), 17)).values.flatten(2)
    count = (~values.isnan()).sum(dim=2)
    mean = values.nansum(dim=2) / count
    assert mean.abs().max() < 1e-4
    second = values.square().nansum(dim=2) / count
    torch.testing.assert_close(second, torch.ones_like(second), atol=1e-3, rtol=0)


def test_honest_windows_are_normalised_by_their_context_alone(ocean, folder):
    path = folder / "data_2.nc"
    honest = SeaSurfaceTemperature(folder=str(ocean), test_zones=(2,)).windows("test")
    batch = honest.batch(torch.tensor([3]))
    assert batch.context.values.mean().abs() < 1e-4
    assert float(batch.context.values.std()) == pytest.approx(1, abs=1e-3)
    days = batch.latents["day"][0].numpy()
    with netCDF4.Dataset(path, "a") as file:  # another future
        file.variables["thetao"][days[4:]] = file.variables["thetao"][days[4:]] + 3.0
    for protocol, same in (("honest", True), ("paper", False)):
        before, after = (
            SeaSurfaceTemperature(folder=str(f), test_zones=(2,), protocol=protocol)
            .windows("test")
            .batch(torch.tensor([3]))
            .latents["location"][0, -1]
            for f in (ocean, folder)
        )
        assert torch.equal(before, after) == same


def test_splits_are_cut_first_with_days_between(ocean):
    data = SeaSurfaceTemperature(folder=str(ocean), split_gap=7)
    days = {}
    for split in ("train", "validation", "test"):
        windows = data.windows(split)
        batch = windows.batch(torch.arange(len(windows)))
        days[split] = batch.latents["day"]
    assert int(days["train"].min()) == 0
    assert int(days["validation"].min()) - int(days["train"].max()) > 7
    assert int(days["test"].min()) - int(days["validation"].max()) > 7
    assert (int(days["test"].min()), int(days["test"].max())) == (120, 149)
    assert len(days["test"]) == 2 * (30 - 14 + 1)


def test_scores_are_in_degrees_celsius(ocean):
    data = SeaSurfaceTemperature(folder=str(ocean), test_zones=(2,))
    windows = data.windows("test")
    scores = score_windows(Persistence(data.spec), windows, metrics=["mse", "psnr"], count=2)
    batch = windows.batch(torch.tensor([0, len(windows) // 2]))
    errors = []
    for row in range(2):
        factor, offset = (part[row] for part in windows.affine(batch, 10))
        target = celsius_of(ocean, 2, batch.latents["day"][row, 4:].numpy())
        held = batch.context.values[row, -1] * factor + offset
        errors.append((held[:, 0] - torch.from_numpy(target)).square().mean())
    expected = float(torch.stack(errors).mean())
    assert scores.of("mse", "mean").value == pytest.approx(expected, rel=1e-3)
    low, high = data.value_range
    temperatures = celsius_of(ocean, 2, slice(0, 90))
    assert low <= temperatures.min() < temperatures.max() <= high
    assert windows.scored_spec(data.spec).unit == "degrees_C"
    assert data.spec.value_range is None


def test_a_climatology_of_one_row_per_day_of_the_file_is_read_too(ocean, folder):
    with netCDF4.Dataset(folder / "data_2.nc") as file:
        mean, std = (file.variables[name][:150] for name in ("daily_mean", "daily_std"))
        celsius = file.variables["thetao"][:]
    for number in (1, 2):
        (folder / f"data_{number}.nc").unlink()
    with netCDF4.Dataset(folder / "data_2.nc", "w") as file:
        for name, size in (("time", 150), ("lat", 64), ("lon", 64)):
            file.createDimension(name, size)
        for name, values in {"thetao": celsius, "daily_mean": mean, "daily_std": std}.items():
            file.createVariable(name, "f4", ("time", "lat", "lon"))[:] = values
    one, other = (
        SeaSurfaceTemperature(folder=str(f), test_zones=(2,)).windows("test")
        for f in (ocean, folder)
    )
    chosen = torch.arange(3)
    torch.testing.assert_close(
        one.batch(chosen).values, other.batch(chosen).values, atol=1e-4, rtol=1e-4
    )


class TestBadInput:
    def test_a_folder_without_zones(self, tmp_path):
        for folder in (tmp_path, tmp_path / "missing"):
            with pytest.raises(FileError, match="holds no zones data_1"):
                read_zones(folder)

    def test_other_variables_are_listed(self, folder):
        with netCDF4.Dataset(folder / "data_1.nc", "a") as file:
            file.renameVariable("thetao", "sst")
        with pytest.raises(InputError, match=r"lacks thetao and holds time, .*sst"):
            read_zones(folder)

    def test_another_grid(self, folder):
        with netCDF4.Dataset(folder / "data_7.nc", "w") as file:
            for name, size in (("time", 150), ("lat", 32), ("lon", 64)):
                file.createDimension(name, size)
            for name in ("thetao", "daily_mean", "daily_std"):
                file.createVariable(name, "f4", ("time", "lat", "lon"))[:] = 1.0
        with pytest.raises(InputError, match=r"data_7.nc has \(150, 32, 64\)"):
            read_zones(folder)

    def test_a_day_without_any_value(self, folder):
        with netCDF4.Dataset(folder / "data_2.nc", "a") as file:
            file.variables["thetao"][70] = np.ma.masked
        with pytest.raises(InputError, match="day 70"):
            read_zones(folder)

    def test_missing_days(self, folder):
        with netCDF4.Dataset(folder / "data_2.nc", "a") as file:
            file.variables["time"][100:] = np.arange(103, 153)
        with pytest.raises(InputError, match=r"steps of \[1, 4\]"):
            read_zones(folder)

    def test_times_without_a_unit(self, folder):
        with netCDF4.Dataset(folder / "data_2.nc", "a") as file:
            file.variables["time"].delncattr("units")
        with pytest.raises(InputError, match="time with units"):
            read_zones(folder)

    def test_a_standard_deviation_of_zero(self, folder):
        with netCDF4.Dataset(folder / "data_2.nc", "a") as file:
            file.variables["daily_std"][:] = 0.0
        with pytest.raises(InputError, match="positive daily_std"):
            read_zones(folder)

    def test_a_file_cut_off(self, folder):
        path = folder / "data_1.nc"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(CorruptionError, match=r"data_1\.nc"):
            read_zones(folder)

    def test_zones_that_are_not_there(self, ocean):
        data = SeaSurfaceTemperature(folder=str(ocean), test_zones=(2, 9))
        with pytest.raises(InputError, match=r"some of \[1, 2\], got \[2, 9\]"):
            data.windows("test")
