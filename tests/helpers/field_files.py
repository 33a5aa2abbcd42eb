"""Files of labelled fields as people have them: small, of every kind, with known values."""

from __future__ import annotations

import netCDF4
import numpy as np
import xarray

SIZE = 8  # points a side


def wave(frames, points=SIZE):
    """Values (time, y, x) that tell frame and column."""
    frame, column = np.arange(frames)[:, None, None], np.arange(points)
    return 280 + 5 * np.sin(2 * np.pi * (frame / 20 + column / points)) + 0 * column[:, None]


def days(frames, start="2001-01-01", step="1D"):
    """Dates, evenly spaced."""
    unit = np.timedelta64(int(step[:-1]), step[-1])
    return np.datetime64(start, "ns") + np.arange(frames) * unit.astype("timedelta64[ns]")


def labelled(frames=40, *, times=None, dims=("time", "lat", "lon"), **attributes):
    """A data set of one variable `t` on a small grid."""
    side = np.arange(float(SIZE))
    return xarray.Dataset(
        {"t": (dims, wave(frames).astype("f4"), {"units": "K", **attributes})},
        coords={
            dims[0]: days(frames) if times is None else times,
            dims[1]: (dims[1], side, {"units": "degrees_north"}),
            dims[2]: (dims[2], side, {"units": "degrees_east"}),
        },
    )


def raw_file(path, frames=40, *, times=None, units="", calendar=None, kind="f8", values=None,
             value_kind="f4", packed=(), **attributes):  # fmt: skip
    """A NetCDF file written as it says, without any library's conventions."""
    with netCDF4.Dataset(path, "w") as file:
        for name, size in (("time", frames), ("lat", SIZE), ("lon", SIZE)):
            file.createDimension(name, size)
        time = file.createVariable("time", kind, ("time",))
        time[:] = np.arange(frames) if times is None else times
        time.setncatts({"units": units} | ({"calendar": calendar} if calendar else {}))
        variable = file.createVariable("t", value_kind, ("time", "lat", "lon"))
        variable.set_auto_maskandscale(False)
        variable.setncatts(dict(packed) | attributes)
        variable[:] = wave(frames) if values is None else values
    return str(path)


def wrf_file(path, frames=40, *, text_only=False):
    """As WRF writes: `XTIME` and `Times` along `Time`, and a grid that is repeated."""
    dims = ("Time", "south_north", "west_east")
    rows, columns = np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij")
    hours = days(frames, "2019-06-01", "1h")
    texts = np.datetime_as_string(hours, unit="s")
    made = {
        "Times": ("Time", np.char.replace(texts, "T", "_").astype("S19")),
        "T2": (dims, wave(frames), {"units": "K"}),
    }
    for name, values, unit in (("XLAT", 40.0 + rows, "north"), ("XLONG", columns - 9.0, "east")):
        repeated = np.broadcast_to(values, (frames, SIZE, SIZE))
        made[name] = (dims, repeated, {"units": f"degree_{unit}"})
    if not text_only:
        minutes = {"units": "minutes since 2019-06-01 00:00:00"}
        made["XTIME"] = ("Time", 60.0 * np.arange(frames), minutes)
    xarray.Dataset(made).to_netcdf(path)
    return str(path)


def daily_files(folder, frames, *, without=(), scalar=False, name="day_{}.nc"):
    """A folder of one file for each frame, their names not in the order of their dates."""
    folder.mkdir(exist_ok=True)
    whole = labelled(frames)
    for number in range(frames):
        if number not in without:
            part = whole.isel(time=number if scalar else [number])
            part.to_netcdf(folder / name.format(number))
    return str(folder)
