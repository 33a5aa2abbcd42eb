"""Which dimension is time and which are space: by CF attributes, then by common names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from statecast.errors import InputError

if TYPE_CHECKING:
    from xarray import DataArray


class TimelessError(InputError):
    """A field has no dimension that is time."""


Role = Literal["time", "y", "x", "z"]
# CF conventions 1.11, sections 4 and 5, https://cfconventions.org.
AXIS: dict[str, Role] = {"T": "time", "Y": "y", "X": "x", "Z": "z"}
STANDARD_NAMES: dict[str, Role] = {
    "time": "time",
    "latitude": "y",
    "grid_latitude": "y",
    "projection_y_coordinate": "y",
    "longitude": "x",
    "grid_longitude": "x",
    "projection_x_coordinate": "x",
    "depth": "z",
    "height": "z",
    "altitude": "z",
    "air_pressure": "z",
}
UNITS: dict[str, Role] = {
    **dict.fromkeys(["degrees_north", "degree_north", "degree_n", "degrees_n", "degreen"], "y"),
    **dict.fromkeys(["degrees_east", "degree_east", "degree_e", "degrees_e", "degreee"], "x"),
}
NAMES: dict[str, Role] = {
    **dict.fromkeys(["time", "t", "date", "dates", "valid_time", "day", "month", "year"], "time"),
    **dict.fromkeys(["time_counter", "times", "frame", "frames", "xtime", "nt"], "time"),
    **dict.fromkeys(["datetime", "timestamp", "ntime", "ntimes", "timestep", "timesteps"], "time"),
    **dict.fromkeys(["time_step", "snapshot", "snapshots", "iteration", "it", "hour"], "time"),
    **dict.fromkeys(["y", "lat", "latitude", "lats", "nav_lat", "rlat", "nlat", "yc"], "y"),
    **dict.fromkeys(["j", "row", "rows", "northing", "south_north", "eta_rho", "yt_ocean"], "y"),
    **dict.fromkeys(["x", "lon", "longitude", "lons", "nav_lon", "rlon", "nlon", "xc"], "x"),
    **dict.fromkeys(["i", "column", "columns", "easting", "west_east", "xi_rho", "xt_ocean"], "x"),
    **dict.fromkeys(["ny", "nj", "ydim"], "y"),
    **dict.fromkeys(["nx", "ni", "xdim", "col", "cols"], "x"),
    **dict.fromkeys(["south_north_stag", "eta_u", "eta_v", "eta_psi"], "y"),
    **dict.fromkeys(["west_east_stag", "xi_u", "xi_v", "xi_psi"], "x"),
    **dict.fromkeys(["z", "depth", "lev", "level", "height", "plev", "pressure", "altitude"], "z"),
    **dict.fromkeys(["bottom_top", "bottom_top_stag", "s_rho", "s_w", "deptht", "zlev"], "z"),
    **dict.fromkeys(["pressure_level", "isobaricinhpa", "model_level", "levels"], "z"),
}


class Axes(NamedTuple):
    """Names of the dimensions of a field."""

    time: str
    space: tuple[str, ...]  # (y, x), or the only one
    single: tuple[str, ...]  # others, of size 1, which are dropped
    by_order: bool  # whether only the order of dimensions tells which are space


def axes_of(
    field: DataArray,
    *,
    time: str | None = None,
    y: str | None = None,
    x: str | None = None,
    origin: str = "The field",
    scalar_time: str | None = None,
) -> Axes:
    """The dimensions of a field.

    Args:
        field: a variable with a dimension of time, and one or two of space.
        time: name of the dimension of time; None to recognise it.
        y: name of the first dimension of space.
        x: name of the second; for points, `y` or `x` alone.
        origin: named in errors.
        scalar_time: name of the scalar time of a file with one frame; it counts as a dimension.

    Errors:
        TimelessError: no dimension is recognised as time.
        InputError: another dimension is missing, or there is one too many.
    """
    sizes = {str(name): size for name, size in field.sizes.items()}
    if scalar_time is not None:
        sizes, time = {scalar_time: 1} | sizes, scalar_time
    here = f"{origin} has {field.name or 'a field'} with the dimensions {sizes}"
    for option, name in {"time": time, "y": y, "x": x}.items():
        if name is not None and name not in sizes:
            raise InputError(f"{here}, but not {name!r}. Set {option} to one of them.")
    roles = {name: role_of(name, field.coords.get(name)) for name in sizes}
    times = [name for name, role in roles.items() if role == "time"]
    if time is None:
        if len(times) != 1:
            found = f"{' and '.join(times)} are" if times else "none of them is"
            name_it = "Name it" if times else "If one is, name it"
            raise (InputError if times else TimelessError)(
                f"{here}; {found} recognised as time. {name_it}: --data.time NAME, or give its "
                "coordinate axis: T."
            )
        time = times[0]
    given = tuple(name for name in (y, x) if name is not None)
    rest = [name for name in sizes if name != time]
    if given:
        space, by_order = given, False
    else:
        space, by_order = _space_of(rest, sizes, roles)
    single = tuple(name for name in rest if name not in space)
    if not space or any(sizes[name] > 1 for name in single):
        extra = [name for name in single if sizes[name] > 1]
        if not rest:
            raise InputError(
                f"{here}: a series at one point. Give it a dimension of space, as with xarray's "
                "expand_dims('station')."
            )
        if not extra or not space:
            raise InputError(f"{here}: no dimension of space. Name them: --data.y and --data.x.")
        name = extra[0]
        first = values_of(field.isel({name: [0]}), name)
        box = f"{{{name}: [{first}, {first}]}}"
        raise InputError(
            f"{here}: {extra} besides time and {space}. {name} has the values "
            f"{values_of(field, name)}. Take one of them, as with --data.crop '{box}'; or each as "
            f"a channel: --data.channels {name}; or each as a sequence, such as ensemble members: "
            f"--data.sequences {name}.",
            options={"crop": box},
        )
    return Axes(time, space, single, by_order)


def values_of(field: DataArray, name: str) -> str:
    """The first values of a dimension, for people."""
    values = field[name].values.tolist()
    shown = [f"{value:g}" if isinstance(value, int | float) else str(value) for value in values[:6]]
    return ", ".join(shown) + (f" … ({len(values)})" if len(values) > 6 else "")


def _space_of(
    rest: list[str], sizes: Mapping[str, int], roles: Mapping[str, Role | None]
) -> tuple[tuple[str, ...], bool]:
    """Dimensions of space, and whether only their order tells them."""
    ys, xs = ([name for name in rest if roles[name] == role] for role in ("y", "x"))
    others = [name for name in rest if sizes[name] > 1 and name not in ys + xs]
    if len(ys) == 1 and len(xs) == 1:
        mooring = sizes[ys[0]] == sizes[xs[0]] == 1 and len(others) == 1
        return ((others[0],) if mooring else (ys[0], xs[0])), False
    wide = [name for name in rest if sizes[name] > 1 and roles[name] != "z"]
    if len(wide) == 1:
        return (wide[0],), False
    if len(wide) == 2:
        return (wide[0], wide[1]), True
    if not wide and len(rest) == 1:
        return (rest[0],), False
    return (), True


def role_of(name: str, coordinate: DataArray | None) -> Role | None:
    """Role of a dimension, by its coordinate's type and attributes, or else by its name."""
    if coordinate is not None:
        if coordinate.dtype.kind == "M" or _is_cftime(coordinate):
            return "time"
        attributes: dict[str, Any] = dict(coordinate.attrs)
        axis = AXIS.get(str(attributes.get("axis", "")).upper())
        standard = STANDARD_NAMES.get(str(attributes.get("standard_name", "")).lower())
        units = str(attributes.get("units", "")).lower()
        found = axis or standard or UNITS.get(units) or ("time" if " since " in units else None)
        if found is not None:
            return found
    return NAMES.get(name.lower())


def is_longitude(name: str, coordinate: DataArray) -> bool:
    """Whether a coordinate is a longitude in degrees."""
    attributes = coordinate.attrs
    units = str(attributes.get("units", "")).lower()
    standard = str(attributes.get("standard_name", ""))
    named = name.lower() in ("lon", "longitude", "lons", "nav_lon", "rlon")
    return UNITS.get(units) == "x" or standard.endswith("longitude") or (named and not units)


def _is_cftime(coordinate: DataArray) -> bool:
    if coordinate.dtype.kind != "O" or coordinate.size == 0:
        return False
    return hasattr(coordinate.values.flat[0], "calendar")
