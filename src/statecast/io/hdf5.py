"""HDF5 files, read so that nothing but the file itself is opened."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import CorruptionError, FileError, InputError, StatecastError, require
from statecast.io.bounds import check_unpacked

Array = np.ndarray[Any, np.dtype[Any]]

HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
MAGIC = b"\x89HDF\r\n\x1a\n"


class HDF5Array:
    """An array of numbers in an HDF5 file, read piece by piece, by any process.

    Args:
        path: the file.
        name: of the array in it; None for the only one, or one of `known`.
        known: names that are looked for, in this order.

    Attributes:
        shape: as stored.
        dtype: as stored.

    Errors:
        FileError, CorruptionError: the file is missing, damaged, or refers to other files.
        InputError: there is no such array; those there are, are listed.
        MissingExtraError: h5py is not installed.
    """

    def __init__(
        self, path: str | Path, name: str | None = None, *, known: Sequence[str] = ()
    ) -> None:
        self.path = Path(path)
        self.handle: Any = None
        self.process = 0
        with opened(self.path) as content:
            self.name = chosen(content, name, known, self.path)
            found = checked(content, self.name, self.path)
            self.shape, self.dtype = tuple(found.shape), found.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getstate__(self) -> dict[str, Any]:
        """Without the handle, which belongs to one process."""
        return {**self.__dict__, "handle": None, "process": 0}

    def __getitem__(self, key: Any) -> Array:
        """A piece of it, by slices and numbers."""
        if self.process != os.getpid():  # a loader's worker opens the file for itself
            self.handle, self.process = open_file(self.path), os.getpid()
        with reading(self.path):
            piece: Array = checked(self.handle, self.name, self.path)[key]
            return piece

    def whole(self) -> Array:
        """All of it.

        Errors:
            FileError: it would unpack to far more than its size in the file.
        """
        size = math.prod(self.shape) * self.dtype.itemsize
        check_unpacked(self.path, self.name, size=size, packed=self.path.stat().st_size)
        return self[()]


def open_file(path: Path) -> Any:
    """An HDF5 file, opened for reading."""
    require("h5py", "hdf5", "read HDF5 files")
    import h5py

    if not path.is_file():
        raise FileError(f"There is no file {path}.")
    with reading(path):
        return h5py.File(path, "r", locking=False)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """An HDF5 file that is closed when the block ends."""
    content = open_file(path)
    try:
        with reading(path):
            yield content
    finally:
        content.close()


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what h5py raises on damaged files into `CorruptionError`."""
    try:
        yield
    except StatecastError:
        raise
    except MemoryError as error:
        raise InputError(f"{path} asks for more memory than there is: {error}.") from error
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CorruptionError(
            f"{path} cannot be read as HDF5: it is cut off or damaged ({reason})."
        ) from error


def arrays_of(content: Any) -> dict[str, Any]:
    """Arrays of numbers of an opened file by name; links are not followed."""
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub" and item.shape:
            found[name] = item

    content.visititems(visit)
    return found


def chosen(content: Any, name: str | None, known: Sequence[str], path: Path) -> str:
    """Name of the array to read.

    Errors:
        InputError: there is none of this name, or which one is not clear.
    """
    if name is not None:
        check_links(content, name, path)
        if name.strip("/") in content:
            return name.strip("/")
    arrays = arrays_of(content)
    if name is None:
        for wanted in known:
            if wanted in arrays:
                return wanted
        if len(arrays) == 1:
            return next(iter(arrays))
    there = ", ".join(f"{n} {tuple(item.shape)}" for n, item in arrays.items()) or "no arrays"
    asked = "Name one with dataset" if name is None else f"There is no {name!r}"
    raise InputError(f"{asked}: {path} holds {there}.")


def check_links(content: Any, name: str, path: Path) -> None:
    """Raise `FileError` where a name leads through a link to another place or file."""
    import h5py

    here: Any = content
    for part in name.strip("/").split("/"):
        if not isinstance(here, h5py.Group):
            return
        link = here.get(part, getlink=True)
        if link is None:
            return
        if not isinstance(link, h5py.HardLink):
            raise FileError(
                f"{path}: {name} is reached by a link, which can lead to another file. Name the "
                "array itself, or copy it into the file."
            )
        here = here[part]


def checked(content: Any, name: str, path: Path) -> Any:
    """An array of an opened file whose values lie in the file.

    Errors:
        FileError: they lie elsewhere.
        InputError: it is no array of numbers.
    """
    import h5py

    check_links(content, name, path)
    found = content[name]
    if not isinstance(found, h5py.Dataset) or found.dtype.kind not in "fiub" or not found.shape:
        raise InputError(f"{path}: {name} is no array of numbers.")
    check_values(found, name, path)
    return found


def check_values(array: Any, name: str, path: Path) -> None:
    """Raise `FileError` where the values of an array lie in other files."""
    if array.is_virtual or array.id.get_create_plist().get_external_count():
        raise FileError(
            f"{path}: the values of {name} lie in other files, which are not read. Copy them into "
            "one file."
        )


def check_contained(path: Path) -> None:
    """Raise `FileError` unless everything in a file lies in it: no links, no values elsewhere.

    For libraries that follow them without being asked, as those of NetCDF do.
    """
    import h5py

    with opened(path) as content:
        pending, seen = [content], {h5py.h5o.get_info(content.id).addr}
        while pending:
            group = pending.pop()
            for part in group:
                name = f"{group.name.rstrip('/')}/{part}".lstrip("/")
                check_links(content, name, path)
                item = group[part]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(item, h5py.Dataset):
                    check_values(item, name, path)
                elif isinstance(item, h5py.Group):
                    pending.append(item)
