"""HDF5 files; no other file is opened while they are read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from statecast.errors import CorruptionError, FileError, InputError, StatecastError, require

Array = np.ndarray[Any, np.dtype[Any]]

HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
MAGIC = b"\x89HDF\r\n\x1a\n"
OPEN: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()  # files in use


class HDF5Array:
    """An array of numbers in an HDF5 file, read in parts, by any process.

    Args:
        path: the file.
        name: of the array in the file.
        content: the opened file.

    Attributes:
        shape: as stored.
        dtype: as stored.
    """

    def __init__(self, path: str | Path, name: str, content: Any) -> None:
        self.path, self.name = Path(path), name
        self.handle: Any = None
        self.process = 0
        self.shape, self.dtype = tuple(content[name].shape), content[name].dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getstate__(self) -> dict[str, Any]:
        """The state without the file handle, which belongs to one process."""
        return {**self.__dict__, "handle": None, "process": 0}

    def __getitem__(self, key: Any) -> Array:
        """A part of the array, by slices and indices."""
        with reading(self.path):
            if self.process != os.getpid():  # a loader's worker opens the file for itself
                self.handle, self.process = shared_file(self.path), os.getpid()
            piece: Array = self.handle[self.name][key]
            return piece


def open_file(path: Path) -> Any:
    """Open an HDF5 file for reading, and refuse links to other files.

    Errors:
        FileError: there is no such file, or it refers to other files.
        CorruptionError: it is damaged.
        MissingExtraError: h5py is not installed.
    """
    require("h5py", "hdf5", "read HDF5 files")
    import h5py

    if not path.is_file():
        raise FileError(f"There is no file {path}.")
    with reading(path):
        content = h5py.File(path, "r", locking=False)
        try:
            check_contained(content, path)
        except BaseException:
            content.close()
            raise
        return content


def shared_file(path: Path) -> Any:
    """An open HDF5 file, shared by all arrays that this process reads from it.

    It is opened once, because the search for links takes long in a file of many groups. Errors as
    `open_file`.
    """
    stamp = path.stat()
    key = (str(path.resolve()), stamp.st_mtime_ns, stamp.st_size, os.getpid())
    content = OPEN.get(key)
    if not content:
        OPEN[key] = content = open_file(path)
    return content


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file until the block ends; errors as `open_file`."""
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
    except Exception as error:  # h5py raises errors of many kinds
        reason = " ".join(str(error).split())[:160]
        raise CorruptionError(
            f"{path} cannot be read as HDF5: it is cut off or damaged ({reason})."
        ) from error


def check_contained(content: Any, path: Path) -> None:
    """Raise `FileError` if an open file refers to data outside it."""
    import h5py

    def leaving(name: str, link: Any) -> str | None:
        return None if isinstance(link, h5py.HardLink | h5py.SoftLink) else name

    def lying_elsewhere(name: str, item: Any) -> str | None:
        own = not isinstance(item, h5py.Dataset) or not (
            item.is_virtual or item.id.get_create_plist().get_external_count()
        )
        return None if own else name

    found = content.visititems_links(leaving) or content.visititems(lying_elsewhere)
    if found is not None:
        raise FileError(
            f"{path}: {found} is a link to another file, or keeps its values there. Other files "
            "are not read. Copy the values into this one."
        )


def arrays_of(content: Any) -> dict[str, Any]:
    """Find the arrays of numbers in an open file, by name."""
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiub" and item.shape:
            found[name] = item

    content.visititems(visit)
    return found
