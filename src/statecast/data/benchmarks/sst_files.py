"""Zones of sea-surface temperature in NetCDF files `data_1.nc`, …, read and written."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from statecast.errors import CorruptionError, FileError, InputError, require
from statecast.io.fields.readers import check_netcdf

Array = np.ndarray[Any, np.dtype[Any]]

VARIABLES = ("thetao", "daily_mean", "daily_std")
FILE_NAME = re.compile(r"data_(\d+)\.nc")
DAYS_OF_YEAR = 366
SCALE, OFFSET, UNKNOWN = 0.001, 15.0, -(2**15)  # °C of the packed numbers that are written
DAYS_AT_ONCE = 64  # days in a piece, while reading and writing
PURPOSE = "read and write zones of sea-surface temperature"


class Packed(NamedTuple):
    """Values as a file stores them; °C is `stored * scale + offset`."""

    stored: Array  # (time, y, x), any type
    scale: float
    offset: float
    fills: tuple[float, ...]  # stored values that stand for unknown ones

    def values(self, days: slice) -> Array:
        """°C of some days, float32, NaN where unknown."""
        stored = self.stored[days]
        values: Array = stored.astype(np.float32)
        unknown = np.isin(stored, self.fills) if self.fills else np.zeros(stored.shape, bool)
        # NaN by assignment, so that a fill value of 1e20 does not pass through arithmetic.
        values[unknown] = np.nan
        return values * np.float32(self.scale) + np.float32(self.offset)


class Zone(NamedTuple):
    """One zone: its temperature, and its climatology for normalisation."""

    number: int
    temperature: Packed
    mean: Array  # climatology, (row, y, x) or (row, 1, 1), °C
    std: Array
    rows: Array  # row of the climatology that each day has, (time,)

    def __len__(self) -> int:
        return len(self.temperature.stored)

    @property
    def space(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.temperature.stored.shape[1:]
        return height, width


def read_zones(folder: str | Path) -> list[Zone]:
    """All zones of a folder, by number.

    Errors:
        FileError: the folder holds no zone.
        CorruptionError: a file cannot be read.
        InputError: a file lacks a variable, zones differ in grid or length, days are missing, or a
            day has no known value.
        MissingExtraError: netCDF4 is not installed.
    """
    require("netCDF4", "fields", PURPOSE)
    folder = Path(folder)
    found = {}
    if folder.is_dir():
        for path in folder.iterdir():
            if match := FILE_NAME.fullmatch(path.name):
                found[int(match[1])] = path
    if not found:
        raise FileError(
            f"{folder} holds no zones data_1.nc, data_2.nc, … of sea-surface temperature."
        )
    zones = [read_zone(path, number) for number, path in sorted(found.items())]
    first = zones[0]
    for zone in zones[1:]:
        if zone.temperature.stored.shape != first.temperature.stored.shape:
            raise InputError(
                f"All zones must have the same grid and length; {found[first.number].name} has "
                f"(time, y, x) = {first.temperature.stored.shape}, but {found[zone.number].name} "
                f"has {zone.temperature.stored.shape}. Move it to another folder."
            )
    return zones


def read_zone(path: Path, number: int) -> Zone:
    """One zone; errors as `read_zones`."""
    import netCDF4

    check_netcdf(path)
    try:
        with netCDF4.Dataset(str(path)) as file:
            file.set_auto_maskandscale(False)
            missing = [name for name in VARIABLES if name not in file.variables]
            if missing:
                raise InputError(
                    f"{path} should hold the variables {', '.join(VARIABLES)}; it lacks "
                    f"{', '.join(missing)} and holds {', '.join(file.variables) or 'none'}."
                )
            temperature = packed(file.variables["thetao"], path)
            climatology = {
                name: packed(file.variables[name], path, climatology=True) for name in VARIABLES[1:]
            }
            time = file.variables.get("time")
            rows = climatology_rows(time, temperature, climatology["daily_mean"], path)
    except (OSError, RuntimeError) as error:
        if isinstance(error, FileError):
            raise
        raise CorruptionError(f"{path} cannot be read as NetCDF: {error}.") from error
    check_known(temperature, path)
    mean, std = (climatology[name].values(slice(None)) for name in VARIABLES[1:])
    if mean.shape != std.shape or rows.max() >= len(mean) or not (std[np.isfinite(std)] > 0).all():
        raise InputError(
            f"{path} should hold daily_mean and a positive daily_std of the same shape, with a row "
            "for each day of the year or of the file, got shapes "
            f"{mean.shape} and {std.shape}."
        )
    return Zone(number, temperature, mean, std, rows)


def packed(variable: Any, path: Path, *, climatology: bool = False) -> Packed:
    """A stored variable (time, y, x); an axis of one depth is dropped."""
    stored = np.asarray(variable[:])
    if stored.ndim == 4 and stored.shape[1] == 1:
        stored = stored[:, 0]
    if climatology and stored.ndim == 1:
        stored = stored[:, None, None]
    if stored.ndim != 3 or stored.dtype.kind not in "fiu":
        raise InputError(
            f"{path}: {variable.name} should hold numbers (time, lat, lon), got "
            f"{stored.dtype} {stored.shape}."
        )
    names = set(variable.ncattrs())
    fills = [
        float(variable.getncattr(name)) for name in ("_FillValue", "missing_value") if name in names
    ]
    scale, offset = (
        float(variable.getncattr(name)) if name in names else default
        for name, default in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    if stored.dtype.kind == "f":  # compared as stored: float32(1e20) is not 1e20
        fills = [float(stored.dtype.type(fill)) for fill in fills]
    return Packed(stored, scale, offset, tuple(fills))


def climatology_rows(time: Any, temperature: Packed, mean: Packed, path: Path) -> Array:
    """Row of the climatology of each day: its own, or that of its day of the year."""
    import netCDF4

    count, rows = len(temperature.stored), len(mean.stored)
    if rows == count:
        return np.arange(count)
    if time is None or "units" not in time.ncattrs() or len(time) != count:
        raise InputError(
            f"{path} should hold a time with units for each of its {count} days, because its "
            f"climatology has {rows} rows, one for each day of the year."
        )
    calendar = time.getncattr("calendar") if "calendar" in time.ncattrs() else "standard"
    try:
        dates: Any = netCDF4.num2date(time[:], time.getncattr("units"), calendar)
    except ValueError as error:
        raise InputError(f"{path}: the times cannot be read: {error}.") from error
    gaps = {(after - before).days for before, after in itertools.pairwise(dates)}
    if gaps - {1}:
        raise InputError(
            f"{path}: days must follow each other, got steps of {sorted(gaps)} day(s). Fill the "
            "gaps with unknown values, or leave the zone out."
        )
    day_of_year = np.array([date.dayofyr for date in dates]) - 1
    # In a climatology of 365 rows, the last day of a leap year takes the row of the day before.
    return np.minimum(day_of_year, rows - 1) if rows == DAYS_OF_YEAR - 1 else day_of_year


def check_known(temperature: Packed, path: Path) -> None:
    """Raise `InputError` if a day has no known value."""
    for start in range(0, len(temperature.stored), DAYS_AT_ONCE):
        days = temperature.values(slice(start, start + DAYS_AT_ONCE))
        known = np.isfinite(days).any(axis=(1, 2))
        if not known.all():
            day = start + int(np.flatnonzero(~known)[0])
            raise InputError(
                f"{path}: day {day} (counted from 0) has no known value. Leave the zone out."
            )


def write_zone(
    path: Path,
    temperature: Array,
    mean: Array,
    std: Array,
    *,
    latitude: Array,
    longitude: Array,
    start: str,
    title: str,
) -> None:
    """Write a zone as the published files are laid out, with CF attributes and checksums.

    Args:
        path: of the file.
        temperature: °C, (time, y, x), NaN on land.
        mean: climatology of each day of the year, (day, y, x), °C.
        std: its standard deviation.
        latitude: of the rows, degrees north.
        longitude: of the columns, degrees east.
        start: first day, such as `"2006-01-01"`.
        title: what the file holds.
    """
    require("netCDF4", "fields", PURPOSE)
    import netCDF4

    axes = {
        "time": (np.arange(len(temperature)), "time", f"days since {start}"),
        "dayofyear": (np.arange(1, len(mean) + 1), "day_of_year", "1"),
        "lat": (latitude, "latitude", "degrees_north"),
        "lon": (longitude, "longitude", "degrees_east"),
    }
    with netCDF4.Dataset(str(path), "w", format="NETCDF4") as file:
        file.Conventions, file.title, file.source = "CF-1.10", title, "simulated by statecast"
        for name, (values, meaning, units) in axes.items():
            file.createDimension(name, len(values))
            axis = file.createVariable(name, "f8" if values.dtype.kind == "f" else "i4", (name,))
            axis.long_name, axis.units = meaning.replace("_", " "), units
            if name != "dayofyear":
                axis.standard_name = meaning
            axis[:] = values
        file.variables["time"].calendar = "standard"
        write_field(file, "thetao", "time", temperature, "sea surface temperature")
        file.variables["thetao"].standard_name = "sea_surface_temperature"
        write_field(file, "daily_mean", "dayofyear", mean, "mean of each day of the year")
        write_field(file, "daily_std", "dayofyear", std, "standard deviation of each day")


def write_field(file: Any, name: str, first: str, values: Array, meaning: str) -> None:
    """Write °C (first, lat, lon) as packed whole numbers."""
    offset = 0.0 if name == "daily_std" else OFFSET
    stored = np.rint((values - offset) / SCALE)
    stored = np.where(np.isfinite(values), stored, UNKNOWN)
    if np.abs(stored).max() > -UNKNOWN:
        raise InputError(f"Temperatures must lie within ±32 °C of {offset} °C to be packed.")
    field = file.createVariable(
        name,
        "i2",
        (first, "lat", "lon"),
        zlib=True,
        complevel=1,
        fletcher32=True,  # NetCDF notices no flipped bit without it
        fill_value=UNKNOWN,
        chunksizes=(min(len(values), DAYS_AT_ONCE), *values.shape[1:]),
    )
    field.set_auto_maskandscale(False)
    field.scale_factor, field.add_offset = SCALE, offset
    field.units, field.long_name = "degrees_C", meaning
    field[:] = stored.astype(np.int16)
