"""NumPy and HDF5 files: names, shapes, types, ranges, and what their axes may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from statecast.data.user.array_files import NAMES, in_order
from statecast.io.hdf5 import HDF5Array, arrays_of, opened
from statecast.io.numpy_files import map_npy, members_of, read_npz
from statecast.nn.codecs.build import multiple_for
from statecast.reports.inspection.contact_sheet import COLUMNS, ROWS, evenly, rows_of
from statecast.reports.inspection.findings import Finding, one_line, sampled, statistics

Array = np.ndarray[Any, np.dtype[Any]]

LARGEST = 1 << 28  # bytes of packed arrays that are unpacked to look at them
SHOWN = 20  # arrays that are described
COLOURS = (1, 3)  # channels of images
FEW = 8  # channels, at most; more are taken for a side


def inspect_npy(path: Path) -> Finding:
    """A `.npy` file.

    Errors:
        CorruptionError: it is cut off, or holds anything but numbers.
    """
    array = map_npy(path)
    finding = Finding("A NumPy array")
    describe(finding, "array", array)
    guess(finding, path, None, array)
    return finding


def inspect_npz(path: Path) -> Finding:
    """An `.npz` file; of arrays that would be very large, no more than their headers is read.

    Errors:
        CorruptionError: it is damaged.
    """
    finding = Finding("NumPy arrays")
    arrays: dict[str, Any] = {}
    members, left = members_of(path), LARGEST
    for name, member in list(members.items())[:SHOWN]:
        if member.dtype.hasobject or member.size > left:
            finding.say(name, f"{member.dtype} {member.shape}, not unpacked")
            continue
        left -= member.size
        arrays[name] = read_npz(path, name)
        describe(finding, name, arrays[name])
    if len(members) > SHOWN:
        finding.say("and", f"{len(members) - SHOWN} more")
    pick(finding, path, arrays)
    return finding


def inspect_hdf5(path: Path) -> Finding:
    """An HDF5 file; one that refers to other files is refused.

    Errors:
        FileError, CorruptionError: it cannot be read.
    """
    finding = Finding("HDF5")
    arrays: dict[str, HDF5Array] = {}
    with opened(path) as content:
        found = arrays_of(content)
        names = list(found)
        for name in names[:SHOWN]:
            describe(finding, name, found[name])
    if len(names) > SHOWN:
        finding.say("and", f"{len(names) - SHOWN} more")
    if not names:
        finding.warn("it holds no arrays of numbers")
    for name in names[:SHOWN]:
        arrays[name] = HDF5Array(path, name)
    pick(finding, path, arrays)
    return finding


def describe(finding: Finding, name: str, array: Any) -> None:
    """Say what an array holds."""
    text = f"{array.dtype} {tuple(array.shape)}"
    if array.dtype.kind in "fiub":
        text += f", {statistics(array)}"
    finding.say(one_line(name), text)


def pick(finding: Finding, path: Path, arrays: Mapping[str, Any]) -> None:
    """Guess how the array would be read that holds the frames: the one of a known name, or size."""
    usable = {n: a for n, a in arrays.items() if a.dtype.kind in "fiu" and 2 <= len(a.shape) <= 5}
    if not usable:
        return
    known = [name for name in NAMES if name in usable]
    largest = max(usable, key=lambda name: math.prod(usable[name].shape))
    name = known[0] if known else largest
    implied = bool(known) or len(arrays) == 1
    guess(finding, path, None if implied else name, usable[name])


def guess(finding: Finding, path: Path, dataset: str | None, array: Any) -> None:
    """Say how an array would be read, and draw it so."""
    if array.dtype.kind not in "fiu" or 0 in array.shape or not 2 <= len(array.shape) <= 5:
        finding.warn("it is no array of frames: 2 to 5 axes of numbers are read")
        return
    axes = guessed_axes(tuple(array.shape))
    named = f" the array {dataset}," if dataset else ""
    finding.say("would be read", f"by the data set arrays,{named} axes {axes} by a guess")
    sizes = dict(zip(axes, array.shape, strict=True))
    space = tuple(sizes[axis] for axis in "yx" if axis in sizes)
    words = ["train", "videos", "--data.name", "arrays", "--data.path", str(path)]
    words += ["--data.axes", axes] if axes not in ("ntcyx", "ntcx") else []
    words += ["--data.dataset", dataset] if dataset else []
    if any(side % multiple_for(space) for side in space):
        words += ["--model.architecture", "mlp"]
    finding.suggest("Train", words)

    def preview() -> list[list[Array]]:
        rows = []
        for number in evenly(sizes.get("n", 1), ROWS):
            times = evenly(sizes["t"], COLUMNS)
            row = [frame_of(array, axes, number, time) for time in times]
            rows.append(np.stack(row))
        return rows_of(rows)

    finding.preview = preview


def frame_of(array: Any, axes: str, number: int, time: int) -> Array:
    """A frame (channel, *space) of an array, small enough to draw."""
    parts = {"n": slice(number, number + 1), "t": slice(time, time + 1)}
    piece = array[tuple(parts.get(axis, slice(None)) for axis in axes)]
    return in_order(sampled(piece, 1 << 20)[0], axes)[0, 0]


def guessed_axes(shape: tuple[int, ...]) -> str:
    """What the axes of an array may be, by their number and sizes."""
    last = shape[-1] in COLOURS and len(shape) >= 4
    if len(shape) == 5:
        return "ntyxc" if last and shape[2] > FEW else "ntcyx"
    if len(shape) == 4:
        if last and shape[1] > FEW:
            return "tyxc"
        return "tcyx" if shape[1] <= FEW else "ntyx"
    return {2: "tx", 3: "tyx"}[len(shape)]
