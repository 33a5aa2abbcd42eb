"""Arrays of sequences in files: recognised by content, read lazily, with axes in one order."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from collections.abc import Sequence as List
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from statecast.data.user.array_axes import check_axes, guessed_axes, in_order, order_of
from statecast.errors import CorruptionError, FileError, InputError
from statecast.io.hdf5 import HDF5, MAGIC, HDF5Array, arrays_of, opened
from statecast.io.json_yaml import first_bytes
from statecast.io.numpy_files import map_npy, members_of, read_npz
from statecast.io.paths import existing_paths, natural

Array = np.ndarray[Any, np.dtype[Any]]
Stored = Array | HDF5Array

TORCH = (".pt", ".pth")
ENDINGS = (".npy", ".npz", ".mat", *TORCH, *HDF5)
NAMES = (
    "sequences",
    "values",
    "frames",
    "context",
)  # looked for in a file of several arrays, in this order
SERIES = ("actions", "agent_states")  # names of arrays beside the frames
PREDRNN = {"clips", "dims", "input_raw_data"}  # arrays of the .npz of PredRNN's Moving MNIST
NUMBERS = "fiub"  # kinds of dtypes
SMALL = 0.5  # arrays smaller than this share of the largest one do not compete with it
SIGNATURES = (b"\x93NUMPY", b"PK", b"\x89HDF", b"MATLAB")
OTHER_KINDS = {
    b"MATLAB 5.0": "a MATLAB file from before version 7.3; save it with -v7.3",
    b"\x1f\x8b": "compressed with gzip; unpack it with gunzip",
    b"\x80": "a pickle, which can run code and is not read; save its arrays as .npy",
    b"CDF": "NetCDF; train on it with the data set fields",
}


class Opened(NamedTuple):
    """Arrays found at a path."""

    sequences: Sequences
    dataset: str | None  # name of the array, or pattern of names, that was chosen
    guessed: bool  # whether the axes are a guess


class Sequences:
    """Sequences of frames (time, channel, *space) in arrays that need not be in memory.

    Args:
        arrays: arrays of one dtype and one shape of frames; each holds several sequences, or one.
        axes: a letter for each axis, see `in_order`.

    Attributes:
        lengths: frames of each sequence.
        frame_shape: (channel, *space).
        dtype: as stored.
    """

    def __init__(self, arrays: List[Stored], axes: str) -> None:
        self.arrays, self.axes = list(arrays), axes
        self.places: list[tuple[int, int]] = []  # array and number in it of each sequence
        self.lengths: list[int] = []
        frames = []
        for number, array in enumerate(arrays):
            if len(array.shape) != len(axes):
                raise InputError(
                    f"An array with the axes {axes} should have {len(axes)} sizes, got "
                    f"{array.shape}. Set axes to one letter for each axis, such as tyx."
                )
            sizes = dict(zip(axes, array.shape, strict=True))
            count = sizes.get("n", 1)
            self.places += [(number, place) for place in range(count)]
            self.lengths += [sizes["t"]] * count
            frames.append(tuple(sizes.get(axis, 1) for axis in order_of(axes)[2:]))
        self.frame_shape, self.dtype = frames[0], arrays[0].dtype
        for number, (shape, array) in enumerate(zip(frames, arrays, strict=True)):
            if (shape, array.dtype) != (self.frame_shape, self.dtype):
                raise InputError(
                    "All arrays need frames of one type and shape. The first has frames of "
                    f"{self.dtype} {self.frame_shape}, number {number} of {array.dtype} {shape}. "
                    "Convert one, or name only arrays that are alike."
                )

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, sequence: int, start: int, stop: int) -> Array:
        """Frames of a sequence from `start` up to `stop`, (time, channel, *space)."""
        number, place = self.places[sequence]
        # All axes are cut by slices, so that none is lost before they are ordered.
        parts = {"n": slice(place, place + 1), "t": slice(start, stop)}
        piece = self.arrays[number][tuple(parts.get(axis, slice(None)) for axis in self.axes)]
        return in_order(np.asarray(piece), self.axes)[0]


def open_sequences(
    path: str | Path | List[str | Path], *, dataset: str | None = None, axes: str | None = None
) -> Opened:
    """Sequences at a path, memory-mapped or read lazily; nothing in a file is executed.

    Args:
        path: a NumPy, HDF5, MATLAB 7.3 or PyTorch file, a folder of them, a pattern, or a list.
        dataset: name of the array in a file of several, or a pattern such as `*/data` for arrays
            that are a sequence each; by default the only one, one of the names `NAMES`, or the
            largest.
        axes: a letter for each axis, see `in_order`; by default a guess, see `guessed_axes`.

    Errors:
        FileError: a file is missing, of another kind, or refers to other files.
        CorruptionError: a file is cut off or damaged.
        InputError: a file holds no array of sequences, or several that could be meant.
    """
    if axes is not None:
        check_axes(axes)
    arrays, dataset, origin = found_arrays(path, dataset)
    letters = guessed_axes(arrays[0], origin, alone=len(arrays) > 1) if axes is None else axes
    return Opened(Sequences(arrays, letters), dataset, axes is None)


def found_arrays(
    path: str | Path | List[str | Path], dataset: str | None
) -> tuple[list[Stored], str | None, str]:
    """Arrays at a path, the name that chose them, and the first file.

    Errors:
        As `open_sequences`.
    """
    files = array_files(path)
    arrays: list[Stored] = []
    for file in files:
        found, dataset = arrays_in(file, dataset)
        arrays += found
    for array in arrays:
        if array.dtype.kind not in NUMBERS or 0 in array.shape:
            raise InputError(f"{files[0]} should hold numbers, got {array.dtype} {array.shape}.")
    return arrays, dataset, str(files[0])


def series_beside(path: str | Path | List[str | Path], name: str, count: int) -> list[Array] | None:
    """Actions or states of an agent, (time, number) for each sequence in some files.

    Args:
        path: of the files.
        name: of the arrays, (time, number) or (sequence, time, number).
        count: number of sequences.

    Returns:
        An array for each sequence, from its first frame on; None if the files hold none.

    Errors:
        InputError: the arrays do not fit the number of sequences.
    """
    try:
        arrays, _, origin = found_arrays(path, name)
    except InputError:
        return None
    whole = [np.asarray(array[:], np.float32) for array in arrays]
    rows = [row for array in whole for row in (array[None] if array.ndim == 2 else array)]
    if len(rows) != count or any(row.ndim != 2 for row in rows):
        raise InputError(
            f"{name} should have the shape (time, number) for each of {count} sequence(s), got "
            f"{', '.join(str(array.shape) for array in whole)} in {origin}."
        )
    return rows


def array_files(path: str | Path | List[str | Path]) -> list[Path]:
    """Files of arrays at a path; of a folder, all files of arrays in it.

    Errors:
        FileError: there is none.
    """
    files: list[Path] = []
    for item in existing_paths(path):
        inside = item.rglob("*") if item.is_dir() else [item]
        files += sorted((p for p in inside if not item.is_dir() or is_array_file(p)), key=natural)
    if not files:
        raise FileError(f"{path} holds no files of arrays ({', '.join(ENDINGS)}).")
    return files


def is_array_file(path: Path) -> bool:
    """Whether a path is a file of arrays by its ending, and not hidden."""
    hidden = any(part.startswith(".") for part in path.parts[-2:])
    return path.suffix.lower() in ENDINGS and path.is_file() and not hidden


def beginning_of(path: Path) -> bytes:
    """The first bytes of a file.

    Errors:
        FileError: it is not a regular file, or not a file of arrays.
    """
    start = first_bytes(path, 128)
    for other, what in OTHER_KINDS.items():
        if start.startswith(other):
            raise FileError(f"{path} is {what}.")
    known = start.startswith(SIGNATURES) or path.suffix.lower() in ENDINGS or is_hdf5(path)
    if not known:
        raise FileError(f"Arrays are read from {', '.join(ENDINGS)}, got {path.name!r}.")
    return start


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5 by its content; MATLAB 7.3 puts a block of text before it."""
    with path.open("rb") as stream:
        for place in (0, 512, 1024, 2048):
            stream.seek(place)
            if stream.read(len(MAGIC)) == MAGIC:
                return True
    return False


def arrays_in(path: Path, dataset: str | None) -> tuple[list[Stored], str | None]:
    """Arrays of a file that hold its sequences, and the name that chose them."""
    start = beginning_of(path)
    ending = path.suffix.lower()
    if is_torch(path):
        tensors = tensors_of(path)
        shapes = {name: (array.shape, array.dtype) for name, array in tensors.items()}
        chosen, dataset = choose(shapes, dataset, path)
        return [tensors[name] for name in chosen], dataset
    if start.startswith(b"PK") or ending == ".npz":
        members = members_of(path)
        if dataset is None and members.keys() >= PREDRNN:
            return predrnn_clips(path), None
        shapes = {name: (member.shape, member.dtype) for name, member in members.items()}
        chosen, dataset = choose(shapes, dataset, path)
        return [read_npz(path, name) for name in chosen], dataset
    if ending in HDF5 or is_hdf5(path):
        with opened(path) as content:
            shapes = {name: (tuple(a.shape), a.dtype) for name, a in arrays_of(content).items()}
            wanted = None if dataset is None else dataset.strip("/")
            chosen, dataset = choose(shapes, wanted, path)
            return [HDF5Array(path, name, content) for name in chosen], dataset
    if dataset is not None:
        raise InputError(f"{path} holds one array without a name. Leave dataset out.")
    return [map_npy(path)], None


def choose(
    arrays: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]], dataset: str | None, path: Path
) -> tuple[list[str], str | None]:
    """Names of the arrays to read, and the name or pattern that chose them.

    Arrays of one name in several groups are a sequence each, and so are numbered arrays.

    Errors:
        InputError: no array has this name, or several could be meant.
    """
    there = ", ".join(f"{name} {shape}" for name, (shape, _) in arrays.items()) or "no arrays"
    if dataset is not None:
        pattern = dataset if "*" in dataset else f"*/{dataset}"
        names = [n for n in arrays if n == dataset] or fnmatch.filter(arrays, pattern)
        if not names:
            raise InputError(f"{path} has no array {dataset!r}; it holds {there}.")
        return sorted(names, key=lambda name: natural(Path(name))), dataset
    objects = [name for name, (_, dtype) in arrays.items() if dtype.hasobject]
    if objects:
        raise InputError(
            f"{path}: {objects[0]} holds Python objects, which can run code and are not read. Save "
            "each sequence as a .npy file of one folder."
        )
    for name in NAMES:
        if name in arrays:
            return [name], name
    sizes: dict[str, int] = {}
    members: dict[str, list[str]] = {}
    for name, (shape, dtype) in arrays.items():
        if dtype.kind in NUMBERS:
            key = pattern_of(name)
            members.setdefault(key, []).append(name)
            sizes[key] = sizes.get(key, 0) + int(np.prod(shape, dtype=np.int64))
    ranked = sorted(sizes, key=lambda key: -sizes[key])
    if not ranked or (len(ranked) > 1 and sizes[ranked[1]] > SMALL * sizes[ranked[0]]):
        raise InputError(f"{path} holds {there}. Name one of them with dataset.")
    largest = members[ranked[0]]
    if len(largest) == 1:
        return largest, largest[0] if len(arrays) > 1 else None
    return sorted(largest, key=lambda name: natural(Path(name))), ranked[0]


def pattern_of(name: str) -> str:
    """Pattern for the names of arrays like this one: the same in another group, or numbered."""
    *groups, leaf = name.split("/")
    if groups:
        return f"*/{leaf}"
    return re.sub(r"_\d+$", "_*", leaf)


def is_torch(path: Path) -> bool:
    """Whether a file is one of PyTorch, by its ending; its content is a zip file, like `.npz`."""
    return path.suffix.lower() in TORCH


def tensors_of(path: Path) -> dict[str, Array]:
    """The tensors of a PyTorch file, which holds one or a dictionary; no code in it is run.

    Errors:
        CorruptionError: it is damaged, or holds something else.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        items = content.items() if isinstance(content, dict) else [("tensor", content)]
        return {str(n): t.numpy() for n, t in items if isinstance(t, torch.Tensor)}
    except Exception as error:  # torch and pickle raise errors of every kind
        reason = " ".join(str(error).split())[:120]
        raise CorruptionError(f"{path} cannot be read as tensors ({reason}).") from error


def predrnn_clips(path: Path) -> list[Stored]:
    """Sequences of PredRNN's files, which hold all frames and the place of each clip in them."""
    frames, clips, dims = (read_npz(path, name) for name in ("input_raw_data", "clips", "dims"))
    frames = frames.reshape(-1, *np.ravel(dims)[:3].tolist())
    starts, ends = clips[0, :, 0], clips[-1].sum(axis=1)
    return [frames[int(start) : int(stop)] for start, stop in zip(starts, ends, strict=True)]
