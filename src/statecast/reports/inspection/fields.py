"""NetCDF files and Zarr stores: variables, dimensions, time step, units, missing values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.field import Field
from statecast.io.fields.kinds import groups_of, kind_of
from statecast.io.fields.preprocessing import plain_options
from statecast.io.fields.readers import open_fields
from statecast.io.fields.source import FieldOptions, Source, candidates
from statecast.io.fields.time_steps import text_of
from statecast.io.json_yaml import parse_yaml
from statecast.io.paths import is_remote
from statecast.reports.inspection.contact_sheet import COLUMNS, ROWS, evenly, rows_of
from statecast.reports.inspection.findings import SAMPLE, Finding, one_line

if TYPE_CHECKING:
    from xarray import Dataset

Array = np.ndarray[Any, np.dtype[Any]]

SHOWN = 20  # variables that are described
TRIALS = 5  # most options that a variable needs to be read
ADVICE = re.compile(r"--data\.(\w+) ('[^']*'|[^\s,;)]+)")  # in the message of an error


def inspect_fields(paths: Sequence[Path], *, named: Sequence[str] = ()) -> Finding:
    """NetCDF files and Zarr stores that `data.path` would take as one data set.

    Args:
        paths: the files and stores.
        named: what the user called them.

    Errors:
        FileError, CorruptionError: one cannot be read.
        MissingExtraError: xarray is not installed.
    """
    zarr = is_remote(paths[0]) or kind_of(paths[0]) == "zarr"
    kind = "A Zarr store" if zarr else "A NetCDF file"
    finding = Finding(kind if len(paths) == 1 else f"Fields in {len(paths)} files")
    group, first = opened(finding, paths[0])
    datasets = [first, *(open_fields(path, group=group) for path in paths[1:])]
    finding.say("dimensions", ", ".join(f"{n} {size}" for n, size in first.sizes.items()))
    fields: dict[str, tuple[Field, list[str]]] = {}
    possible = candidates(first)
    names = [str(name) for name in first.data_vars]
    for name in names[:SHOWN]:
        array = first[name]
        unit = array.attrs.get("units", "no unit")
        finding.say(name, f"{array.dtype} ({', '.join(map(str, array.dims))}), {unit}")
        if name in possible and array.ndim > 1:
            found = tried(finding, name, paths, datasets, FieldOptions(group=group))
            if found is not None:
                fields[name] = found
    if len(names) > SHOWN:
        finding.say("and", f"{len(names) - SHOWN} more")
    if fields:
        read(finding, named or [str(path) for path in paths], fields)
    elif not finding.problems:
        finding.warn("no variable has frames: a dimension of time, and one or two of space")
    return finding


def opened(finding: Finding, path: Path) -> tuple[str | None, Dataset]:
    """The group of a file that is looked at, the first where the root has no variables."""
    try:
        return None, open_fields(path)
    except InputError:
        groups = groups_of(path) if kind_of(path) else []
        if not groups:
            raise
        finding.say("groups", ", ".join(groups))
        return groups[0], open_fields(path, group=groups[0])


def tried(
    finding: Finding,
    name: str,
    paths: Sequence[Path],
    datasets: Sequence[Dataset],
    options: FieldOptions,
) -> tuple[Field, list[str]] | None:
    """A variable as frames, and the options that it needs, which errors advise one by one."""
    words: list[str] = [] if options.group is None else ["--data.group", options.group]
    options = replace(options, variables=(name,))
    problems: list[str] = []
    for _ in range(TRIALS):
        try:
            pairs = zip(datasets, paths, strict=True)
            field = Field([Source(data, options, str(path)) for data, path in pairs], options)
            field.check_missing()
            for problem in problems:
                finding.warn(f"{name}: {problem}")
            return field, words
        except InputError as error:
            problems.append(str(error))
            advice = ADVICE.search(str(error))
            if advice is None or advice[1] in ("time", "y", "x", "variables"):
                break
            option, text = advice[1], advice[2].strip("'")
            options = replace(options, **plain_options({option: parse_yaml(text)}))
            words += [f"--data.{option}", text]
    if not problems[0].count("none of them can be told to be time"):
        finding.warn(f"{name}: {problems[0]}")
    return None


def read(
    finding: Finding, named: Sequence[str], fields: dict[str, tuple[Field, list[str]]]
) -> None:
    """Say how the variables with frames would be read."""
    name, (first, words) = next(iter(fields.items()))
    axes = first.axes
    order = ", by their order alone" if axes.by_order else ""
    finding.say("time is", f"{axes.time}, space is {', '.join(axes.space)}{order}")
    times = first.frames.times
    calendar = getattr(times[0], "calendar", "")
    dated = f" in the calendar {calendar}" if calendar else ""
    span = f"{text_of(times[0])} to {text_of(times[-1])}"
    finding.say("frames", f"{len(first)}, {first.frames.step} apart, from {span}{dated}")
    if first.first.members > 1:
        finding.say("sequences", f"{first.first.members}, of {first.options.sequences}")
    for note in first.notes:
        finding.say("note", note)
    for other, (field, _) in fields.items():
        finding.say(f"{one_line(other)} values", values_of(field))
    finding.say("would be read", "by the data set fields")
    start = some(first, COLUMNS)
    if (
        np.isnan(start).reshape(len(start), -1).all(axis=1).any()
        and "--data.missing_frames" not in words
    ):
        words = [*words, "--data.missing_frames", "keep"]
    path = named[0] if len(named) == 1 else f"[{', '.join(named)}]"
    finding.suggest(
        "Train", ["train", "fields", "--data.path", path, "--data.variables", name, *words]
    )
    finding.preview = lambda: rows_of(
        [some(field, COLUMNS) for field, _ in list(fields.values())[:ROWS]]
    )


def some(field: Field, count: int) -> Array:
    """Evenly spaced frames of a field, (time, 1, *space); unknown values are NaN."""
    return np.stack([frame[0] for frame in spread(field, count)])[:, None]


def spread(field: Field, count: int) -> Iterator[Array]:
    """Evenly spaced frames (channel, *space), in order."""
    other = field.of_member(field.member)
    other.options = replace(field.options, missing_frames="keep")
    for number in evenly(len(field), count):
        yield other.read(number, number + 1)[0]


def values_of(field: Field) -> str:
    """Range and share of missing values of a field, of as many frames as fit a sample."""
    points = max(1, int(np.prod(field.space)))
    count = max(1, min(len(field), SAMPLE // points))
    low, high, known, size = np.inf, -np.inf, 0, 0
    for frame in spread(field, count):
        values = frame[np.isfinite(frame)]
        known, size = known + values.size, size + frame.size
        if values.size:
            low, high = min(low, values.min()), max(high, values.max())
    span = f"from {low:.6g} to {high:.6g}" if known else "no known value"
    missing = f", {1 - known / size:.2%} missing" if known < size else ", none missing"
    return span + missing + ("" if count == len(field) else f", of {count} frames evenly spread")
