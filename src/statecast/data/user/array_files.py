"""Arrays of sequences in files: opened lazily, their axes put in one order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from statecast.errors import FileError, InputError
from statecast.io.hdf5 import HDF5, HDF5Array
from statecast.io.numpy_files import map_npy, members_of, read_npz

Array = np.ndarray[Any, np.dtype[Any]]

ENDINGS = (".npy", ".npz", *HDF5)
NAMES = ("sequences", "values", "frames")  # looked for in an .npz or HDF5 file, in this order
ORDER = "ntcyx"  # sequence, time, channel, y, x


class LazySequences:
    """Sequences (sequence, time, channel, *space) of an array that is not in memory.

    Args:
        stored: the array, sliced when it is read.
        axes: letter of each of its axes, see `in_order`.
    """

    def __init__(self, stored: HDF5Array, axes: str) -> None:
        self.stored, self.axes = stored, axes
        sizes = dict(zip(axes, stored.shape, strict=True))
        self.shape = tuple(sizes.get(axis, 1) for axis in wanted(axes))
        self.dtype, self.ndim = stored.dtype, len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, sequence: Any) -> Array:
        """A whole sequence."""
        return self.read(int(sequence), 0, self.shape[1])

    def read(self, sequence: int, start: int, stop: int) -> Array:
        """Frames of a sequence, (time, channel, *space)."""
        # All axes are cut by slices, so that none is lost before they are ordered.
        parts = {"n": slice(sequence, sequence + 1), "t": slice(start, stop)}
        piece = self.stored[tuple(parts.get(axis, slice(None)) for axis in self.axes)]
        return in_order(piece, self.axes)[0]


Sequences = Array | LazySequences


def wanted(axes: str) -> str:
    """Axes in our order: all five, or without y for points."""
    return ORDER if "y" in axes else ORDER.replace("y", "")


def in_order(array: Array, axes: str) -> Array:
    """A view (sequence, time, channel, *space) of an array whose axes these letters name.

    `n` is the sequence, `t` time, `c` the channel, `y` and `x` space; points have `x` alone.
    Axes `n` and `c` that are not there get one element.
    """
    known = [axis for axis in wanted(axes) if axis in axes]
    ordered = array.transpose([axes.index(axis) for axis in known])
    for position, axis in enumerate(wanted(axes)):
        if axis not in axes:
            ordered = np.expand_dims(ordered, position)
    return ordered


def check_axes(axes: str) -> None:
    """Raise `InputError` unless letters name time, space, and nothing twice."""
    if len(set(axes)) != len(axes) or not set("tx") <= set(axes) <= set(ORDER):
        raise InputError(
            "axes names each axis of the array once: n (sequence), t (time), c (channel), y, x; t "
            f"and x must be there. Got {axes!r}; frames of one video in colours are tyxc."
        )


def open_sequences(
    path: str | Path, *, dataset: str | None = None, axes: str | None = None
) -> Sequences:
    """Sequences of a file, memory-mapped or read lazily; nothing in it is executed.

    Args:
        path: `.npy`, `.npz`, or HDF5.
        dataset: name of the array in an `.npz` or HDF5 file; by default the only one, or one named
            `sequences`, `values` or `frames`.
        axes: letter of each axis, see `in_order`; by default `ntcyx`, or `ntcx` of four.

    Errors:
        FileError: it is missing, of another ending, or refers to other files.
        CorruptionError: it is cut off or damaged.
        InputError: it is no array of sequences.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise FileError(f"Sequences are read from {', '.join(ENDINGS)}, got {path.name!r}.")
    if not path.is_file():
        raise FileError(f"There is no file {path}. Set data.path to an array of sequences.")
    if dataset is not None and ending == ".npy":
        raise InputError(f"{path} holds one array without a name; leave dataset out.")
    if axes is not None:
        check_axes(axes)
    array = HDF5Array(path, dataset, known=NAMES) if ending in HDF5 else loaded(path, dataset)
    allowed = (4, 5) if axes is None else (len(axes),)
    if array.dtype.kind not in "fiu" or array.ndim not in allowed or 0 in array.shape:
        expected = (
            "(sequence, time, channel, y, x), or (sequence, time, channel, point)"
            if axes is None
            else f"{len(axes)} axes, {axes}"
        )
        raise InputError(
            f"{path} should hold numbers {expected}, got {array.dtype} {array.shape}. Add missing "
            "axes of size 1, or say with axes what each one is, such as tyx."
        )
    letters = axes or (ORDER if array.ndim == len(ORDER) else "ntcx")
    return (
        LazySequences(array, letters) if isinstance(array, HDF5Array) else in_order(array, letters)
    )


def loaded(path: Path, dataset: str | None) -> Array:
    """The array of a `.npy` file, memory-mapped, or of an `.npz`, read as a whole."""
    if path.suffix.lower() == ".npy":
        return map_npy(path)
    return read_npz(path, name_of_array(list(members_of(path)), path, dataset))


def name_of_array(names: list[str], path: Path, dataset: str | None) -> str:
    """The array of an `.npz` to read: that asked for, the only one, or the first of a known name.

    Errors:
        InputError: there is none of this name, or which one is not clear.
    """
    if dataset is not None:
        if dataset in names:
            return dataset
        raise InputError(f"There is no {dataset!r}: {path} holds the arrays {names}.")
    for name in NAMES:
        if name in names:
            return name
    if len(names) != 1:
        raise InputError(
            f"{path} holds the arrays {names}; say with dataset which, or name one of them "
            f"{', '.join(NAMES)}."
        )
    return names[0]
