"""Synthetic labelled fields: a wave that travels over a sea, in files of any kind."""

from __future__ import annotations

import numpy as np
import xarray

PACKED = {"sst": {"dtype": "i2", "scale_factor": 0.001, "add_offset": 15.0, "_FillValue": -32768}}


def sea_surface(
    frames=60, height=6, width=9, *, start="2001-01-01", step="1D", island=False, seed=0
):
    """`sst` (time, lat, lon) in degC: a mean that falls with latitude, a wave, and noise."""
    times = np.datetime64(start, "ns") + np.arange(frames) * parsed(step)
    lat, lon = np.linspace(-30, 30, height), np.linspace(0, 40, width)
    day = (times - np.datetime64("2001-01-01", "ns")) / np.timedelta64(1, "D")
    wave = np.sin(2 * np.pi * (lon / 40 - day[:, None, None] / 20))
    noise = np.random.default_rng([seed, frames, height]).standard_normal((frames, height, width))
    values = 20 - 0.1 * np.abs(lat)[:, None] + 2 * wave + 0.1 * noise
    if island:
        values[:, 1:3, 2:4] = np.nan
    attributes = {"units": "degC", "standard_name": "sea_surface_temperature"}
    return xarray.Dataset(
        {"sst": (("time", "lat", "lon"), values, attributes)},
        coords={
            "time": ("time", times, {"axis": "T"}),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
        attrs={"title": "synthetic", "license": "CC0"},
    )


def parsed(step):
    """A step such as 1D or 6h as a duration."""
    return np.timedelta64(int(step[:-1]), step[-1]).astype("timedelta64[ns]")


def write_field(path, dataset, **options):
    """Write a data set to `.nc` or `.zarr`."""
    if str(path).endswith(".zarr"):
        dataset.to_zarr(path, mode="w", zarr_format=2, consolidated=False, **options)
    else:
        dataset.to_netcdf(path, **options)
    return str(path)


def one_zone(folder):
    """A folder of one zone of sea-surface temperature, 64×64, as published ones are laid out."""
    from statecast.data.benchmarks.sst_files import write_zone

    folder.mkdir()
    values = np.random.default_rng(0).uniform(10, 20, (40, 64, 64))
    mean, std = np.full((366, 64, 64), 15.0), np.ones((366, 64, 64))
    axis = np.arange(64.0)
    write_zone(
        folder / "data_1.nc", values, mean, std,
        latitude=axis, longitude=axis, start="2006-01-01", title="random numbers",
    )  # fmt: skip
