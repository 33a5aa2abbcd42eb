"""NumPy's files, `.npy` and `.npz`: numbers come out, nothing in them runs or fills memory."""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from statecast.errors import CorruptionError, FileError, StatecastError
from statecast.io.bounds import check_unpacked

Array = np.ndarray[Any, np.dtype[Any]]

ENDING = ".npy"  # of the members of an `.npz`
DAMAGE = (  # what damaged files make NumPy and zipfile raise
    ArithmeticError, EOFError, LookupError, MemoryError, NotImplementedError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, lzma.LZMAError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Member(NamedTuple):
    """An array of an `.npz`, as its header states it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    size: int  # bytes of its numbers


def map_npy(path: Path) -> Array:
    """The array of a `.npy` file, memory-mapped.

    Errors:
        FileError: there is no such file.
        CorruptionError: it is cut off, damaged, or holds anything but numbers and text.
    """
    with reading(path):
        return np.lib.format.open_memmap(path, mode="r")


def members_of(path: Path) -> dict[str, Member]:
    """The arrays of an `.npz` by name; errors as `read_npz`."""
    with reading(path), zipfile.ZipFile(path) as archive:
        found = {}
        for item in archive.infolist():
            with archive.open(item) as stream:
                found[item.filename.removesuffix(ENDING)] = header_of(stream)
        return found


def read_npz(path: Path, name: str) -> Array:
    """An array of an `.npz`.

    Errors:
        FileError: there is no such file, or the array would unpack to far more than it takes
            (`statecast.io.bounds`).
        CorruptionError: it is cut off, damaged, or holds anything but numbers and text.
    """
    with reading(path), zipfile.ZipFile(path) as archive:
        there = archive.namelist()
        item = archive.getinfo(name if name in there else name + ENDING)
        packed = min(item.compress_size, path.stat().st_size)
        check_unpacked(path, name, size=item.file_size, packed=packed)
        with archive.open(item) as stream:
            member = header_of(stream)
        if member.size > item.file_size:
            raise ValueError(f"{name} states {member.size} bytes and has {item.file_size}")
        with archive.open(item) as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)


def header_of(stream: IO[bytes]) -> Member:
    """Shape and type that a `.npy` file states."""
    version = np.lib.format.read_magic(stream)
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if min(shape, default=0) < 0:
        raise ValueError(f"a shape of {shape}")
    return Member(shape, dtype, math.prod(shape) * dtype.itemsize)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what NumPy raises on damaged files into `CorruptionError`."""
    if not path.is_file():
        raise FileError(f"There is no file {path}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            yield
    except StatecastError:
        raise
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise CorruptionError(f"{path} cannot be read as an array of numbers: {reason}") from error
