"""Kinds of paths, by their content: fields in NetCDF or Zarr, or something else."""

from __future__ import annotations

import glob
import importlib.util
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from statecast.errors import CorruptionError, FileError
from statecast.io.fields.addresses import matching_addresses
from statecast.io.hdf5 import MAGIC as HDF5_MAGIC
from statecast.io.hdf5 import arrays_of, opened
from statecast.io.json_yaml import first_bytes
from statecast.io.paths import is_remote, natural

NETCDF = (".nc", ".nc4", ".cdf", ".netcdf")
ZARR = ".zarr"
ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata")
MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05", HDF5_MAGIC)  # first bytes of NetCDF files
DEEPEST = 3  # levels of folders that are searched, such as years and months
NOTES = ("", ".txt", ".md", ".csv", ".json", ".html", ".xml", ".log", ".md5", ".sha256")
UNKNOWN = "its first bytes are not those of one."
START = 4096  # bytes that tell what a file is
OTHERS = {
    b"GRIB": "it is GRIB. Convert it: `grib_to_netcdf -o OUT.nc IN.grib`, or "
    "xarray.open_dataset(IN, engine='cfgrib').to_netcdf(OUT).",
    b"\x0e\x03\x13\x01": "it is HDF4. Convert it: `h4tonccf_nc4 IN.hdf OUT.nc`, or "
    "`gdal_translate -of netCDF IN.hdf OUT.nc`.",
}
PACKED = {
    b"\x1f\x8b": "it is compressed with gzip. Unpack it: `gunzip FILE`.",
    b"BZh": "it is compressed with bzip2. Unpack it: `bunzip2 FILE`.",
    b"\xfd7zXZ": "it is compressed with xz. Unpack it: `unxz FILE`.",
    b"\x28\xb5\x2f\xfd": "it is compressed with zstd. Unpack it: `unzstd FILE`.",
}
ARRAYS = "it holds arrays without names of dimensions. Read them with --data.name arrays."
NO_FIELDS = {b"\x93NUMPY": ARRAYS, b"MATLAB 5.0": "it is a MATLAB file from before version 7.3. "
             "Save it with -v7.3."}  # fmt: skip
NO_FIELDS |= {bytes([0x80, protocol]): "it is a pickle, which can run code and is not read. Save "
              "its arrays as .npy." for protocol in range(2, 6)}  # fmt: skip


def files_of(path: str | Path | Sequence[str | Path]) -> list[Path]:
    """Files and stores of a path, a folder, a pattern such as `zones/*.nc`, or a list of them.

    A path that exists is not a pattern, whatever brackets are in its name. A folder gives all
    NetCDF files and Zarr stores in it, by their content; if it has none, those of its sub-folders,
    such as one for each year. They come in `natural` order.

    Errors:
        FileError: nothing is there.
    """
    found: list[Path] = []
    for item in [path] if isinstance(path, str | Path) else path:
        text = str(item)
        if is_remote(text):
            found += sorted(map(Path, matching_addresses(text)), key=natural)
        elif Path(text).is_dir() and not is_store(Path(text)):
            fields = sorted(labelled_below(Path(text)), key=natural)
            if not fields:
                raise FileError(f"The folder {text} holds no NetCDF files and is not a Zarr store.")
            found += fields
        elif Path(text).exists() or not glob.has_magic(text):
            found.append(Path(text))
        else:
            matches = sorted(map(Path, glob.glob(text)), key=natural)  # noqa: PTH207
            if not matches:
                raise FileError(f"No file matches {text}.")
            found += matches
    if not found:
        raise FileError("No data file is named.")
    return list(dict.fromkeys(found))


def labelled_below(folder: Path, levels: int = DEEPEST) -> list[Path]:
    """Files and stores of fields in a folder; or in its sub-folders, if it has no files."""
    inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    fields = [path for path in inside if is_labelled_file(path)]
    others = [path for path in inside if path.is_file() and path.suffix.lower() not in NOTES]
    if fields or others or levels == 0:
        return fields
    folders = [path for path in inside if path.is_dir() and not path.is_symlink()]
    return [path for below in folders for path in labelled_below(below, levels - 1)]


def labelled_files(path: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files of `files_of` if all hold fields; empty if any does not.

    Errors:
        FileError: an address cannot be reached.
    """
    try:
        found = files_of(path)
    except FileError:
        if any(map(is_remote, [path] if isinstance(path, str | Path) else path)):
            raise
        return []
    return found if all(is_remote(item) or is_labelled_file(item) for item in found) else []


def kind_of(path: Path) -> Literal["netcdf", "zarr"]:
    """Kind of a path, by its content.

    Errors:
        FileError: it is missing, or of another kind, which the message names.
    """
    if path.is_dir():
        if is_store(path):
            return "zarr"
        raise FileError(
            f"{path} is a folder, but not a Zarr store: it holds none of {', '.join(ZARR_FILES)}."
        )
    start = first_bytes(path, START)
    if start.startswith(MAGIC):
        return "netcdf"
    if start.startswith(b"PK") and is_zipped_store(path):
        return "zarr"
    raise CorruptionError(f"{path} is not a NetCDF file: {other_kind(start)}")


def other_kind(start: bytes) -> str:
    """The format of a file that cannot be read, by its first bytes, and what to do."""
    if not start:
        return "it is empty. Write or download it again."
    for beginning, answer in (OTHERS | PACKED | NO_FIELDS).items():
        if start.startswith(beginning):
            return answer
    if start.lstrip().startswith(b"{") and b'"refs"' in start:
        return (
            "it is a kerchunk index (JSON), which refers to other files. Write the data to a "
            "store: xarray.open_dataset('reference://', …).to_zarr('my.zarr')."
        )
    if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "it is a web page, such as one that asks for a password. Download the file again."
    return UNKNOWN


def is_labelled_file(path: Path) -> bool:
    """Whether a path is a NetCDF file or Zarr store, by its content.

    An HDF5 file is NetCDF if its dimensions have scales, or if its name ends like one.
    """
    if path.is_dir():
        return is_store(path)
    if not path.is_file():
        return path.suffix.lower() in (*NETCDF, ZARR)
    with path.open("rb") as stream:
        start = stream.read(START)
    if start.startswith(HDF5_MAGIC) and path.suffix.lower() not in NETCDF:
        return importlib.util.find_spec("h5py") is not None and has_scales(path)
    known = start.startswith((*MAGIC, *OTHERS)) or b'"refs"' in start
    packed = start.startswith(tuple(PACKED)) and path.suffixes[-2:-1] in ([e] for e in NETCDF)
    zipped = start.startswith(b"PK") and is_zipped_store(path)
    return known or packed or zipped or path.suffix.lower() in (*NETCDF, ZARR)


def has_scales(path: Path) -> bool:
    """Whether an HDF5 file names its dimensions, as NetCDF does."""
    import h5py

    try:
        with opened(path) as content:
            return "_NCProperties" in content.attrs or any(
                isinstance(item, h5py.Dataset) and item.is_scale for item in content.values()
            )
    except FileError:
        return False


def is_store(folder: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((folder / name).is_file() for name in ZARR_FILES)


def is_zipped_store(path: Path) -> bool:
    """Whether a file is a zipped Zarr store."""
    try:
        with zipfile.ZipFile(path) as content:
            return any(name in ZARR_FILES for name in content.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def groups_of(path: Path) -> list[str]:
    """Names of the groups of a file or store that hold variables."""
    if path.is_dir():
        arrays = (p.parent for p in path.rglob("*") if p.name in (".zarray", "zarr.json"))
        places = (
            place.relative_to(path).parts[:-1]
            for place in arrays
            if place != path and ((place / ".zarray").is_file() or is_zarr_array(place))
        )
        return sorted({"/".join(parts) for parts in places if parts})
    if not first_bytes(path, START).startswith(HDF5_MAGIC):
        return []
    with opened(path) as content:
        return groups_in(arrays_of(content))


def groups_in(names: Iterable[str]) -> list[str]:
    """The groups of arrays with these names, without the root."""
    return sorted({name.rpartition("/")[0] for name in names} - {""})


def is_zarr_array(folder: Path) -> bool:
    """Whether a folder is an array of Zarr 3."""
    place = folder / "zarr.json"
    return place.is_file() and '"array"' in place.read_text(errors="replace")[:10_000]
