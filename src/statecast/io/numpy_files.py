"""NumPy's files, `.npy` and `.npz`, read so that nothing in them runs or fills the memory."""

from __future__ import annotations

import math
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from statecast.errors import CorruptionError, FileError, StatecastError

Array = np.ndarray[Any, np.dtype[Any]]

ENDING = ".npy"  # of the members of an `.npz`
UNPACKED = 1 << 28  # bytes; up to this size, any compression ratio is allowed
EXPANSION = 200  # largest ratio of unpacked to packed bytes above that size


class Member(NamedTuple):
    """An array of an `.npz`, as its header states it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int  # bytes of its numbers


def check_unpacked(path: Path, what: str, *, size: int, packed: int) -> None:
    """Raise `FileError` if a part of a file would unpack to far more bytes than it takes.

    Args:
        path: the file, for the message.
        what: name of the part, for the message; empty for the whole file.
        size: stated size in bytes.
        packed: bytes that the part takes in the file.
    """
    if size > UNPACKED and size > EXPANSION * packed:
        named = f"{path}: {what}" if what else str(path)
        raise FileError(
            f"{named} would unpack from {packed} to {size} bytes. More than {UNPACKED} bytes, and "
            f"more than {EXPANSION} times the packed size, are taken for a decompression bomb."
        )


def map_npy(path: Path) -> Array:
    """Memory-map the array of a `.npy` file.

    Errors:
        FileError: there is no such file.
        CorruptionError: it is cut off or damaged, or holds Python objects.
    """
    with reading(path):
        with path.open("rb") as stream:
            if header_of(stream).dtype.hasobject:
                raise CorruptionError(
                    f"{path} holds Python objects, which can run code and are not read. Save each "
                    "sequence as a .npy file of one folder."
                )
        return np.lib.format.open_memmap(path, mode="r")


def members_of(path: Path) -> dict[str, Member]:
    """List the arrays of an `.npz` by name; errors as `read_npz`."""
    with reading(path), zipfile.ZipFile(path) as archive:
        found = {}
        for item in archive.infolist():
            with archive.open(item) as stream:
                found[item.filename.removesuffix(ENDING)] = header_of(stream)
        return found


def read_npz(path: Path, name: str) -> Array:
    """Read an array of an `.npz`.

    Errors:
        FileError: there is no such file, or the array would unpack to far more bytes.
        CorruptionError: it is cut off or damaged, lacks the array, or holds Python objects.
    """
    with reading(path), zipfile.ZipFile(path) as archive:
        item = archive.getinfo(name if name in archive.namelist() else name + ENDING)
        packed = min(item.compress_size, path.stat().st_size)
        check_unpacked(path, name, size=item.file_size, packed=packed)
        with archive.open(item) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)


def header_of(stream: IO[bytes]) -> Member:
    """Read the header of a `.npy` file."""
    version = np.lib.format.read_magic(stream)
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return Member(shape, dtype, math.prod(shape) * dtype.itemsize)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what NumPy raises on damaged files into `CorruptionError`."""
    if not path.is_file():
        raise FileError(f"There is no file {path}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that Python 2 wrote
            yield
    except StatecastError:
        raise
    except Exception as error:  # damage can make the reader of headers raise anything
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise CorruptionError(f"{path} cannot be read as an array of numbers: {reason}") from error
