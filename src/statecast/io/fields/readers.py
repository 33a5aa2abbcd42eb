"""NetCDF files and Zarr stores, opened lazily; errors name the damage."""

from __future__ import annotations

import importlib.util
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from statecast.errors import CorruptionError, InputError, StatecastError, require
from statecast.io.fields.addresses import reaching
from statecast.io.fields.dates import calendar_of
from statecast.io.fields.dates import decoded as dates_of
from statecast.io.fields.kinds import groups_of, kind_of
from statecast.io.fields.netcdf3 import check_whole
from statecast.io.fields.remote import open_remote
from statecast.io.fields.zarr_checks import check_store
from statecast.io.hdf5 import MAGIC as HDF5_MAGIC
from statecast.io.hdf5 import opened
from statecast.io.json_yaml import first_bytes
from statecast.io.paths import is_remote, shown_path

if TYPE_CHECKING:
    from xarray import Dataset

# Data sets that are in use. NetCDF-C 4.10 crashes where a file with text in it is closed while it
# is open a second time, so none is opened twice.
OPEN: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()


def open_fields(
    path: str | Path, *, engine: str | None = None, group: str | None = None
) -> Dataset:
    """A NetCDF file or Zarr store, decoded, and read lazily.

    Args:
        path: a NetCDF file, the folder or zip file of a Zarr store, or the address of one of them.
        engine: of xarray, such as `h5netcdf`; by default xarray chooses.
        group: name of the group to read, if there are several.

    Errors:
        FileError: it is missing, of another kind, or refers to other files.
        CorruptionError: it is damaged.
        InputError: there is no such engine or group, or attributes cannot be understood.
        MissingExtraError: a package is not installed.
    """
    require("xarray", "fields", "read labelled fields")
    import xarray

    path = Path(path)
    engines = list(xarray.backends.list_engines())
    if engine is not None and engine not in engines:
        raise InputError(f"xarray has no engine {engine!r} here; it has {', '.join(engines)}.")
    if is_remote(path):
        raw, groups = open_remote(path, group)
        check_groups(raw, group, groups, shown_path(path))
        return decoded(raw, shown_path(path))
    kind = kind_of(path)
    if kind == "zarr":
        require("zarr", "fields", "read Zarr stores")
        engine = "zarr"
    elif engine is None and importlib.util.find_spec("h5netcdf") is None:
        require("netCDF4", "fields", "read NetCDF files")
    stamp = path.stat()
    key = (str(path.resolve()), stamp.st_mtime_ns, stamp.st_size, engine, group, os.getpid())
    dataset: Dataset | None = OPEN.get(key)
    if dataset is None:
        check_store(path) if kind == "zarr" else check_netcdf(path)
        dataset = decoded(open_raw(path, engine, group), str(path))
        OPEN[key] = dataset
    return dataset


def open_raw(path: Path, engine: str | None, group: str | None) -> Dataset:
    """A file or store as it is; a group also gets the coordinates of the groups around it."""
    import xarray

    options: dict[str, Any] = {"engine": engine, "decode_cf": False, "cache": False}
    # An absolute path, because a name such as `a::b` would be taken for an address.
    place: Any = path.absolute()
    if engine == "zarr":
        options["consolidated"] = False
        if path.is_file():
            from zarr.storage import ZipStore

            place = ZipStore(place, mode="r")
    parts = (group or "").strip("/").split("/") if group else []
    try:
        with reading(str(path)):
            dataset = xarray.open_dataset(place, group=group, **options)
    except CorruptionError as error:
        groups = groups_of(path)
        if group is None or group.strip("/") in groups:
            raise
        there = f"the groups {groups}, not {group!r}" if groups else "no groups. Leave group out"
        raise InputError(f"{path} has {there}.") from error
    with reading(str(path)):
        for depth in reversed(range(len(parts))):
            around = xarray.open_dataset(place, group="/".join(parts[:depth]) or None, **options)
            own = {
                name: variable
                for name, variable in around.variables.items()
                if variable.dims and set(variable.dims) <= set(dataset.dims)
                and name not in dataset.variables
            }  # fmt: skip
            dataset = dataset.assign_coords(own)
    if not dataset.variables and group is None:
        check_groups(dataset, group, groups_of(path), str(path))
    return dataset


def groups_at(path: Path) -> list[str]:
    """Names of the groups of a file or store, here or at an address, that hold variables."""
    return open_remote(path, None)[1] if is_remote(path) else groups_of(path)


def check_groups(dataset: Dataset, group: str | None, groups: Sequence[str], origin: str) -> None:
    """Raise `InputError` if all variables lie in groups and no group is named."""
    if not dataset.variables and group is None and groups:
        raise InputError(
            f"{origin} holds its variables in the groups {', '.join(groups)}. Name one: "
            f"--data.group {groups[0]}.",
            options={"group": groups[0]},
        )


def decoded(raw: Dataset, origin: str) -> Dataset:
    """A data set with fill values, scales and offsets applied, and with dates decoded.

    Errors:
        InputError: xarray cannot make sense of attributes.
    """
    import xarray

    for variable in raw.variables.values():
        mend(variable.attrs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as about two fill values, which both count
        try:
            dataset = xarray.decode_cf(raw, decode_times=False, decode_timedelta=False)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{origin}: its attributes cannot be understood ({reason}). Correct them, such as "
                "with `ncatted`."
            ) from error
        return with_cf_dates(dataset)


def with_cf_dates(dataset: Dataset) -> Dataset:
    """A data set whose numbers with units since a date are dates, if they can be decoded."""
    for name, variable in dataset.variables.items():
        units = str(variable.attrs.get("units", "")).lower()
        if variable.dtype.kind in "fiu" and " since " in units and variable.ndim <= 1:
            try:
                dates = dates_of(variable, str(name), str(name))
            except InputError:  # reported if it is the time of frames
                continue
            kept = {k: v for k, v in variable.attrs.items() if k not in ("units", "calendar")}
            made = type(variable)(variable.dims, dates, kept, encoding=variable.encoding)
            made.encoding |= {
                "units": variable.attrs["units"],
                "calendar": calendar_of(variable.attrs),
            }
            is_data = name in dataset.data_vars
            dataset = (
                dataset.assign({name: made}) if is_data else dataset.assign_coords({name: made})
            )
    return dataset


def mend(attributes: dict[Any, Any]) -> None:
    """Turn attributes that should be single numbers into numbers, in place."""
    for name in ("_FillValue", "missing_value", "scale_factor", "add_offset"):
        value = attributes.get(name)
        if isinstance(value, str | bytes):
            try:
                attributes[name] = float(value)
            except ValueError:
                del attributes[name]
        elif value is not None and np.size(value) != 1 and name != "missing_value":
            attributes[name] = np.ravel(value)[0]


def check_netcdf(path: Path) -> None:
    """Raise `FileError` if a NetCDF file is incomplete, or refers to other files.

    NetCDF libraries follow HDF5 links to other files, and read values there.
    """
    if first_bytes(path, len(HDF5_MAGIC)) == HDF5_MAGIC:
        require("h5py", "fields", "look for links in NetCDF files")
        with opened(path):
            return
    check_whole(path)


@contextmanager
def reading(origin: str) -> Iterator[None]:
    """Turn the errors of libraries on damaged files into `CorruptionError`; suppress warnings.

    For an address the error is a `FileError`, because the network may have failed.
    """
    if is_remote(origin):
        with reaching(origin):
            yield
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except StatecastError:
        raise
    except MemoryError as error:
        raise InputError(f"{origin} asks for more memory than there is: {error}.") from error
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, OverflowError,
            AttributeError) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise CorruptionError(
            f"{origin} cannot be read: it is cut off or damaged, or xarray does not support it "
            f"({reason})."
        ) from error


def check_chunks(
    path: Path, dataset: Dataset, variables: Sequence[str], time: str, group: str | None = None
) -> None:
    """Raise an error if a Zarr store (a folder) lacks a chunk that exists at other times.

    A missing chunk reads as missing values, without an error. Stores also leave out chunks
    without any value, as over land, but these are missing at all times.

    Errors:
        CorruptionError: a chunk is missing.
    """
    import zarr

    for name in variables:
        with reading(str(path)):
            opened = zarr.open_group(path.absolute(), mode="r", use_consolidated=False)
            array: Any = opened["/".join(filter(None, (group, name)))]
        shape = getattr(array, "shards", None) or array.chunks
        grid = tuple(-(-size // chunk) for size, chunk in zip(array.shape, shape, strict=True))
        there = np.zeros(grid, dtype=bool)
        for position in chunk_positions(path / (group or "") / name, len(grid)):
            if all(index < size for index, size in zip(position, grid, strict=True)):
                there[position] = True
        axis = dataset[name].dims.index(time)
        odd = there.any(axis=axis, keepdims=True) & ~there
        if odd.any():
            first = tuple(int(index[0]) for index in odd.nonzero())
            raise CorruptionError(
                f"{path}: {int(odd.sum())} chunk(s) of {name} are missing, the first at "
                f"{first}, which exist at other times. They would read as missing values. Repair "
                "the store, or set missing_frames: keep."
            )


def chunk_positions(folder: Path, dimensions: int) -> Iterator[tuple[int, ...]]:
    """Positions of the chunk files of an array, in Zarr 2 (`0.1.2`, `0/1/2`) or 3 (`c/0/1/2`)."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).as_posix().removeprefix("c/")
        numbers = re.split(r"[./]", parts)
        if len(numbers) == dimensions and all(n.isdigit() for n in numbers) and path.is_file():
            yield tuple(map(int, numbers))
