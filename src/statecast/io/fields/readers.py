"""NetCDF files and Zarr stores, opened lazily; what is damaged is named."""

from __future__ import annotations

import glob
import importlib.util
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from statecast.errors import CorruptionError, FileError, InputError, StatecastError, require
from statecast.io.fields.zarr_checks import check_store
from statecast.io.hdf5 import MAGIC as HDF5_MAGIC
from statecast.io.hdf5 import opened
from statecast.io.json_yaml import check_regular

if TYPE_CHECKING:
    from xarray import Dataset

NETCDF = (".nc", ".nc4", ".cdf", ".netcdf")
ZARR = ".zarr"
ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata")
# Data sets that are in use. NetCDF-C 4.10 crashes where a file with text in it is closed while it
# is open a second time, so none is opened twice.
OPEN: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()
MAGIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05", HDF5_MAGIC)  # first bytes of NetCDF files


def files_of(path: str | Sequence[str]) -> list[Path]:
    """Files and stores behind a path, a pattern such as `zones/*.nc`, or a list of them.

    Errors:
        FileError: nothing is there.
    """
    found: list[Path] = []
    for item in [path] if isinstance(path, str) else path:
        matches = sorted(glob.glob(item)) if glob.has_magic(item) else [item]  # noqa: PTH207
        if not matches:
            raise FileError(f"No file matches {item}.")
        found += [Path(match) for match in matches]
    if not found:
        raise FileError("No data file is named.")
    return found


def open_fields(path: str | Path, *, engine: str | None = None) -> Dataset:
    """A NetCDF file or Zarr store, decoded (fill values, scale, offset, dates) and read lazily.

    Args:
        path: file, or folder of a Zarr store.
        engine: of xarray, such as `h5netcdf`; by default its own choice.

    Errors:
        FileError: it is missing, neither of both, or refers to other files.
        CorruptionError: it is damaged.
        InputError: xarray has no such engine.
        MissingExtraError: a package is not installed.
    """
    require("xarray", "fields", "read labelled fields")
    import xarray

    path = Path(path)
    engines = list(xarray.backends.list_engines())
    if engine is not None and engine not in engines:
        raise InputError(f"xarray has no engine {engine!r} here; it has {', '.join(engines)}.")
    options: dict[str, Any] = {"engine": engine, "decode_timedelta": False, "cache": False}
    check: Callable[[Path], None] = check_store if path.is_dir() else check_netcdf
    if path.is_dir():
        require("zarr", "fields", "read Zarr stores")
        if not any((path / name).is_file() for name in ZARR_FILES):
            raise FileError(
                f"{path} is a folder, but no Zarr store: it holds none of {', '.join(ZARR_FILES)}."
            )
        options |= {"engine": "zarr", "consolidated": False}
    else:
        check_beginning(path)
        if engine is None and importlib.util.find_spec("h5netcdf") is None:
            require("netCDF4", "fields", "read NetCDF files")
    key = (str(path.resolve()), path.stat().st_mtime_ns, path.stat().st_size, engine, os.getpid())
    dataset: Dataset | None = OPEN.get(key)
    if dataset is None:
        check(path)
        with reading(str(path)):
            # Absolute, because a name such as `a::b` would be taken for an address.
            dataset = xarray.open_dataset(path.absolute(), **options)
        assert dataset is not None
        OPEN[key] = dataset
    return dataset


def check_netcdf(path: Path) -> None:
    """Raise `FileError` unless a file is NetCDF, and all of its values lie in it.

    The libraries of NetCDF follow links of HDF5 to other files, and read values from them.
    """
    if check_beginning(path).startswith(HDF5_MAGIC):
        require("h5py", "fields", "look for links in NetCDF files")
        with opened(path):
            return


def check_beginning(path: Path) -> bytes:
    """First bytes of a file; `FileError` unless it is there and begins like NetCDF."""
    check_regular(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}.") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.") from error
    if not start.startswith(MAGIC):
        raise CorruptionError(f"{path} is no NetCDF file: it does not begin like one.")
    return start


@contextmanager
def reading(origin: str) -> Iterator[None]:
    """Turn what libraries raise on damaged files into `CorruptionError`."""
    try:
        yield
    except StatecastError:
        raise
    except MemoryError as error:
        raise InputError(f"{origin} asks for more memory than there is: {error}.") from error
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, OverflowError,
            AttributeError) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise CorruptionError(
            f"{origin} cannot be read: it is cut off or damaged ({reason})."
        ) from error


def check_chunks(path: Path, dataset: Dataset, variables: Sequence[str], time: str) -> None:
    """Refuse a Zarr store in which a chunk is missing that others of its place have.

    A missing chunk reads as missing values, without an error. Stores leave out chunks without
    any value, as over land; but there, they are missing at all times.

    Errors:
        CorruptionError: a chunk is missing.
    """
    import zarr

    for name in variables:
        with reading(str(path)):
            group = zarr.open_group(path.absolute(), mode="r", use_consolidated=False)
            array: Any = group[name]
        shape = getattr(array, "shards", None) or array.chunks
        grid = tuple(-(-size // chunk) for size, chunk in zip(array.shape, shape, strict=True))
        there = np.zeros(grid, dtype=bool)
        for position in chunk_positions(path / name, len(grid)):
            if all(index < size for index, size in zip(position, grid, strict=True)):
                there[position] = True
        axis = dataset[name].dims.index(time)
        odd = there.any(axis=axis, keepdims=True) & ~there
        if odd.any():
            first = tuple(int(index[0]) for index in odd.nonzero())
            raise CorruptionError(
                f"{path}: {int(odd.sum())} chunk(s) of {name} are missing, first that of number "
                f"{first}, while other times have it. They would read as missing values: mend the "
                "store, or set missing_frames: keep."
            )


def chunk_positions(folder: Path, dimensions: int) -> Iterator[tuple[int, ...]]:
    """Positions of the chunk files of an array, of Zarr 2 (`0.1.2`, `0/1/2`) or 3 (`c/0/1/2`)."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).as_posix().removeprefix("c/")
        numbers = re.split(r"[./]", parts)
        if len(numbers) == dimensions and all(n.isdigit() for n in numbers) and path.is_file():
            yield tuple(map(int, numbers))


def is_labelled_file(path: Path) -> bool:
    """Whether a path is that of a NetCDF file or Zarr store, by its ending or content."""
    if path.suffix in (*NETCDF, ZARR):
        return True
    return path.is_dir() and any((path / name).is_file() for name in ZARR_FILES)
