"""Inspects files of arrays: names, shapes, types, ranges, and how they would be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statecast.data.user.array_axes import ORDER, evenly
from statecast.data.user.array_files import (
    Sequences,
    array_files,
    beginning_of,
    is_hdf5,
    is_torch,
    open_sequences,
    pattern_of,
    tensors_of,
)
from statecast.data.user.arrays import Arrays, check_finite, described
from statecast.errors import FileError, InputError
from statecast.io.hdf5 import arrays_of, opened
from statecast.io.numpy_files import map_npy, members_of, read_npz
from statecast.nn.codecs.build import multiple_for
from statecast.reports.inspection.contact_sheet import COLUMNS, ROWS, rows_of
from statecast.reports.inspection.findings import (
    Finding,
    one_line,
    path_option,
    sampled,
    statistics,
)

Array = np.ndarray[Any, np.dtype[Any]]

LARGEST = 1 << 28  # bytes of compressed arrays to decompress, at most
SHOWN = 20  # arrays to describe, at most
DRAWN = 1 << 20  # values of a frame to draw, at most


def inspect_arrays(path: Path | Sequence[Path]) -> Finding:
    """Inspect arrays in a file, or files that hold a sequence each.

    Errors:
        FileError, CorruptionError: a file cannot be read.
    """
    files = array_files(path)
    beginning_of(files[0])
    finding = Finding(kind_of(files[0]) if len(files) == 1 else f"{len(files)} files of arrays")
    if len(files) > 1:
        finding.say("files", ", ".join(file.name for file in files[:SHOWN]))
    alike: Counter[str] = Counter()
    for name, array in arrays_of_file(files[0], finding):
        alike[pattern_of(name)] += 1
        if alike[pattern_of(name)] > 1 or len(alike) > SHOWN:
            continue
        text = f"{array.dtype} {tuple(array.shape)}"
        if array.dtype.kind in "fiub":
            text += f", {statistics(array)}"
        finding.say(one_line(name), text)
    for pattern, count in list(alike.items())[:SHOWN]:
        if count > 1:
            finding.say(one_line(pattern), f"{count} of them")
    if len(alike) > SHOWN:
        finding.say("and", f"{len(alike) - SHOWN} more")
    suggest(finding, path)
    return finding


def kind_of(path: Path) -> str:
    """Kind of a file of arrays, in words."""
    if is_hdf5(path):
        return "HDF5"
    return "A NumPy array" if path.suffix.lower() == ".npy" else "Arrays"


def arrays_of_file(path: Path, finding: Finding) -> Iterator[tuple[str, Any]]:
    """Names and arrays of a file; very large compressed arrays are described by their header."""
    if is_hdf5(path):
        with opened(path) as content:
            yield from arrays_of(content).items()
    elif is_torch(path):
        yield from tensors_of(path).items()
    elif path.suffix.lower() == ".npy":
        yield "array", map_npy(path)
    else:
        left = LARGEST
        for name, member in members_of(path).items():
            if member.dtype.hasobject or member.size > left:
                finding.say(name, f"{member.dtype} {member.shape}, not unpacked")
                continue
            left -= member.size
            yield name, read_npz(path, name)


def suggest(finding: Finding, path: Path | Sequence[Path]) -> None:
    """Report how training would read the arrays, and draw them that way."""
    try:
        found = open_sequences([path] if isinstance(path, Path) else path)
    except (InputError, FileError) as error:
        finding.warn(error)
        return
    sequences = found.sequences
    if found.dataset is not None:
        finding.say("array", found.dataset)
    finding.say("would be read", f"by the data set arrays, axes {described(found)}")
    finding.preview = lambda: rows_of([drawn(sequences, n) for n in evenly(len(sequences), ROWS)])
    paths = [str(path)] if isinstance(path, Path) else list(map(str, path))
    lengths: Mapping[str, str] = {}
    try:
        check_finite(sequences)
        Arrays(path=tuple(paths), axes=sequences.axes, dataset=found.dataset)
    except InputError as error:
        finding.warn(error)
        if not error.options:
            return
        lengths = error.options
    words = ["train", "videos", "--data.name", "arrays", "--data.path", path_option(path)]
    words += ["--data.axes", sequences.axes] if sequences.axes not in (ORDER, "ntcx") else []
    words += ["--data.dataset", found.dataset] if found.dataset else []
    for name, length in lengths.items():
        words += [f"--data.{name}", length]
    space = sequences.frame_shape[1:]
    if any(side % multiple_for(space) for side in space):
        words += ["--model.architecture", "mlp"]
    finding.suggest("Train", words)


def drawn(sequences: Sequences, number: int) -> Array:
    """Frames (time, channel, *space) of a sequence, evenly spaced and small enough to draw."""
    times = evenly(sequences.lengths[number], COLUMNS)
    frames = [sampled(sequences.read(number, time, time + 1), DRAWN)[0] for time in times]
    return np.concatenate(frames)
