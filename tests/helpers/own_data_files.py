"""The files that docs/own_data.md shows: small, laid out as usual, with made-up values."""

from __future__ import annotations

import h5py
import netCDF4
import numpy as np
import xarray
from helpers.field_files import days
from helpers.sample_videos import write_video
from PIL import Image

ROWS, COLUMNS = 16, 20


def moving(frames, period, columns=COLUMNS):
    """A wave that travels along columns, (time, 1, x)."""
    time, x = np.arange(frames)[:, None, None], np.arange(columns)
    return np.sin(2 * np.pi * (time / period + x / columns))


def era5(path):
    """`t2m` as the Climate Data Store gives it since 2024."""
    time, y = days(200, "2024-01-01", "6h"), np.arange(ROWS)[:, None]
    values = (280 + 10 * moving(200, 20) - 0.5 * y).astype("f4")
    stream = np.array(["0001"] * 180 + ["0005"] * 20, dtype=object)
    xarray.Dataset(
        {"t2m": (("valid_time", "latitude", "longitude"), values, {"units": "K"})},
        {
            "number": 0, "expver": ("valid_time", stream),
            "valid_time": ("valid_time", time, {"standard_name": "time"}),
            "latitude": ("latitude", np.linspace(60, 45, ROWS), {"units": "degrees_north"}),
            "longitude": ("longitude", np.arange(COLUMNS), {"units": "degrees_east"}),
        },
    ).to_netcdf(path)  # fmt: skip


def cmip(path):
    """`tas` of a model whose months have 30 days, with bounds."""
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("time", 778), ("lat", ROWS), ("lon", ROWS), ("bnds", 2)):
            file.createDimension(name, size)
        time = file.createVariable("time", "f8", ("time",))
        time.setncatts({"units": "days since 1850-01-01", "calendar": "360_day",
                        "bounds": "time_bnds"})  # fmt: skip
        time[:] = 0.5 + np.arange(778)
        file.createVariable("time_bnds", "f8", ("time", "bnds"))[:] = np.zeros((778, 2))
        tas = file.createVariable("tas", "f4", ("time", "lat", "lon"), fill_value=1e20)
        tas.units = "K"
        tas[:] = np.broadcast_to(280 + 3 * moving(778, 30, ROWS), (778, ROWS, ROWS))


def wrf(path):
    """`T2`, and `U` on levels and a staggered grid."""
    count, dims = 240, ("Time", "south_north", "west_east")
    grid = np.add.outer(0.1 * np.arange(ROWS), 0.01 * np.arange(18))
    repeated = np.broadcast_to(grid, (count, ROWS, 18))
    minutes = {"units": "minutes since 2019-06-01 00:00:00"}
    level = ("Time", "bottom_top", "south_north", "west_east_stag")
    values = np.broadcast_to(290 + 6 * moving(count, 24, 18), repeated.shape).astype("f4")
    xarray.Dataset(
        {
            "XTIME": ("Time", 60.0 * np.arange(count), minutes),
            "XLAT": (dims, 40 + repeated, {"units": "degree_north"}),
            "XLONG": (dims, repeated - 100, {"units": "degree_east"}),
            "T2": (dims, values, {"units": "K"}),
            "U": (level, np.ones((count, 3, ROWS, 19), "f4"), {"units": "m s-1"}),
        }
    ).to_netcdf(path)


def roms(path):
    """`zeta` on a curvilinear grid, land as 1e37."""
    y, x = np.meshgrid(np.arange(ROWS), np.arange(COLUMNS), indexing="ij")
    values = np.where(x + y > 4, np.broadcast_to(moving(200, 30), (200, ROWS, COLUMNS)), np.nan)
    made = xarray.Dataset(
        {"zeta": (("ocean_time", "eta_rho", "xi_rho"), values.astype("f4"), {"units": "meter"})},
        {
            "ocean_time": days(200, "2010-01-01T12"),
            "lat_rho": (("eta_rho", "xi_rho"), 30 + 0.1 * y, {"units": "degree_north"}),
            "lon_rho": (("eta_rho", "xi_rho"), 0.1 * x - 80, {"units": "degree_east"}),
        },
    )
    made.to_netcdf(path, encoding={"zeta": {"_FillValue": np.float32(1e37)}})


def oisst(folder):
    """A file a day, packed, of which one day is missing."""
    folder.mkdir()
    y, x = np.meshgrid(np.arange(ROWS), np.arange(ROWS), indexing="ij")
    attributes = {"units": "Celsius", "valid_min": np.int16(-300), "valid_max": np.int16(4500)}
    packed = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 0.0, "_FillValue": np.int16(-999)}
    dates, values = (
        days(150, "2020-01-01") + np.timedelta64(12, "h"),
        15 + 3 * moving(150, 30, ROWS),
    )
    for number in set(range(150)) - {70}:
        frame = np.where(x + y < 5, np.nan, values[number])[None, None]
        made = xarray.Dataset(
            {"sst": (("time", "zlev", "lat", "lon"), frame, attributes)},
            {
                "time": dates[[number]], "zlev": [0.0],
                "lat": ("lat", np.arange(16.0), {"units": "degrees_north"}),
                "lon": ("lon", np.arange(16.0), {"units": "degrees_east"}),
            },
        )  # fmt: skip
        name = f"oisst-avhrr-v02r01.{str(dates[number])[:10].replace('-', '')}.nc"
        made.to_netcdf(folder / name, encoding={"sst": packed})


def weatherbench(path):
    """`temperature` on levels, longitude before latitude."""
    lon, lat = np.arange(0, 360, 22.5), np.linspace(-87.1875, 87.1875, 32)
    wave = 280 + 10 * moving(240, 20, 16)[:, 0, :, None] + 0.1 * lat
    levels = np.stack([wave - 30 * number for number in range(3)], axis=1).astype("f4")
    dims = ("time", "level", "longitude", "latitude")
    xarray.Dataset(
        {"temperature": (dims, levels, {"units": "K"})},
        {"time": days(240, "2020-01-01", "6h"), "level": [500, 700, 850], "longitude": lon,
         "latitude": lat},
    ).to_zarr(path, zarr_format=2, consolidated=True)  # fmt: skip


def turbulence(path):
    """`u` whose dimensions have scales."""
    with h5py.File(path, "w") as file:
        for name, values in (("time", 0.05 * np.arange(200)), ("y", np.arange(16.0)),
                             ("x", np.arange(20.0))):  # fmt: skip
            file[name] = values
            file[name].make_scale(name)
        file["u"] = np.broadcast_to(moving(200, 20), (200, ROWS, COLUMNS)).astype("f4")
        for axis, name in enumerate(("time", "y", "x")):
            file["u"].dims[axis].attach_scale(file[name])


def phone(folder):
    """Videos held upright, which are stored lying on their side."""
    folder.mkdir()
    for number in range(4):
        frames = np.full((60, 64, 96, 3), 30, np.uint8)
        for time, frame in enumerate(frames):
            frame[10:20, (2 * time) % 80 : (2 * time) % 80 + 10] = 120
        write_video(folder / f"IMG_{number}.MOV", frames, rate=30, codec="libx264", rotation=90)


def blobs(sequences, frames, size, reach):
    """A blob that circles, (sequence, time, y, x), in [0, 1]."""
    y, x = np.mgrid[:size, :size]
    phase = np.arange(sequences)[:, None, None, None]
    angle = np.arange(frames)[None, :, None, None] / 4 + phase
    away = (x - size / 2 - reach * np.cos(angle)) ** 2 + (y - size / 2 - reach * np.sin(angle)) ** 2
    return np.exp(-away * 80 / size**2)


def stacks(folder):
    """Multi-page TIFF of 16 bits."""
    folder.mkdir()
    for number, video in enumerate(blobs(3, 60, 64, 16)):
        first, *rest = [Image.fromarray((100 + 60000 * page).astype(np.uint16)) for page in video]
        first.save(folder / f"stack{number}.tif", save_all=True, append_images=rest)


def moving_mnist(path):
    """Bytes in the order of Moving MNIST's test set."""
    np.save(path, (254 * blobs(60, 20, 32, 8)).astype("u1").transpose(1, 0, 2, 3))


def diffusion_reaction(path):
    """A group for each run, as PDEBench has them."""
    with h5py.File(path, "w") as file:
        for number, run in enumerate(blobs(30, 25, 32, 8)):
            group = file.create_group(f"{number:04d}")
            group["data"] = np.stack([run, run], axis=-1).astype("f4")
            group["grid/t"], group["grid/x"] = np.arange(25.0), np.arange(32.0)


MAKERS = {
    "era5.nc": era5, "tas_day_HadGEM2.nc": cmip, "wrfout_d01.nc": wrf, "ocean_his.nc": roms,
    "oisst": oisst, "era5.zarr": weatherbench, "turbulence.h5": turbulence, "phone": phone,
    "stacks": stacks, "mnist_test_seq.npy": moving_mnist, "2D_diff-react.h5": diffusion_reaction,
}  # fmt: skip
