"""Fields at addresses, such as s3://bucket/store.zarr: opened through fsspec, read lazily."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statecast.errors import FileError, require
from statecast.io.fields.addresses import file_system, reaching
from statecast.io.fields.kinds import MAGIC, START, ZARR_FILES, groups_in, other_kind
from statecast.io.fields.zarr_checks import check_metadata
from statecast.io.hdf5 import MAGIC as HDF5_MAGIC
from statecast.io.hdf5 import arrays_of, check_contained
from statecast.io.paths import shown_path

if TYPE_CHECKING:
    from xarray import Dataset

LAZY: dict[str, Any] = {"decode_cf": False, "cache": False}


def open_remote(path: Path, group: str | None) -> tuple[Dataset, list[str]]:
    """The data set stored at an address, undecoded, and the names of its groups.

    A Zarr store and NetCDF 4 are read lazily; NetCDF 3 is read as a whole.

    Errors:
        MissingExtraError: a package for such addresses is not installed.
        FileError: it cannot be reached, or is neither NetCDF nor a Zarr store.
    """
    address = shown_path(path)
    with reaching(address):
        files, place = file_system(address)
        if is_remote_store(files, place):
            return open_remote_store(address, group)
        if files.isdir(place):
            raise FileError(
                f"{address} is a folder, but not a Zarr store. Name its files, such as "
                f"{address.rstrip('/')}/*.nc."
            )
        return open_remote_netcdf(files, place, address, group)


def is_remote_store(files: Any, place: str) -> bool:
    """Whether the metadata of a Zarr store lie at a place."""
    if "?" in place:  # servers answer a query, whatever follows it
        return False
    for name in ZARR_FILES:
        try:
            if files.cat_file(f"{place}/{name}", start=0, end=1).startswith(b"{"):
                return True
        except Exception:  # of any file system; reading the place itself reports it
            continue
    return False


def open_remote_store(address: str, group: str | None) -> tuple[Dataset, list[str]]:
    """A Zarr store at an address; call it inside `reaching`."""
    require("zarr", "fields", "read Zarr stores")
    import xarray
    import zarr

    store: Any = zarr.storage.FsspecStore.from_url(address, read_only=True)
    members = dict(zarr.open_group(store, mode="r").members(max_depth=None))
    for member in members.values():
        check_metadata(member.metadata.to_dict(), Path(address))
    names = [name for name, member in members.items() if isinstance(member, zarr.Array)]
    found = xarray.open_dataset(store, engine="zarr", group=group, chunks=None, **LAZY)
    return found, groups_in(names)


def open_remote_netcdf(
    files: Any, place: str, address: str, group: str | None
) -> tuple[Dataset, list[str]]:
    """A NetCDF file on another file system; call it inside `reaching`."""
    require("h5netcdf", "fields", "read NetCDF files at addresses")
    import h5py
    import xarray

    stream = files.open(place, "rb")
    if not stream.seekable():  # the server cannot send parts of files
        stream = io.BytesIO(stream.read())
    start = stream.read(START)
    if not start.startswith(MAGIC):
        raise FileError(
            f"Only NetCDF and Zarr can be read from other machines, and {address} is neither: "
            f"{other_kind(start)}"
        )
    stream.seek(0)
    if start.startswith(HDF5_MAGIC):
        with h5py.File(stream, "r") as content:
            check_contained(content, Path(address))
            names = groups_in(arrays_of(content))
        return xarray.open_dataset(stream, engine="h5netcdf", group=group, **LAZY), names
    require("netCDF4", "fields", "read NetCDF 3 at addresses")
    import netCDF4

    content = netCDF4.Dataset("memory", memory=stream.read())
    store: Any = xarray.backends.NetCDF4DataStore
    return xarray.open_dataset(store(content), **LAZY), []
