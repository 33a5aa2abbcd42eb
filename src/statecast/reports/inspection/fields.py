"""Inspects NetCDF files and Zarr stores: variables, dimensions, time step, missing values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from statecast.data.user.array_axes import evenly
from statecast.data.user.field_files import FieldFiles
from statecast.data.user.fields import Fields
from statecast.errors import InputError
from statecast.io.fields.axes import TimelessError
from statecast.io.fields.field import Field
from statecast.io.fields.kinds import kind_of
from statecast.io.fields.preprocessing import plain_options
from statecast.io.fields.readers import groups_at, open_fields
from statecast.io.fields.series import open_series
from statecast.io.fields.source import FieldOptions, candidates
from statecast.io.json_yaml import parse_yaml
from statecast.io.paths import is_remote, shown_path
from statecast.plots.panels import south_first
from statecast.reports.inspection.contact_sheet import COLUMNS, ROWS, rows_of
from statecast.reports.inspection.findings import SAMPLE, Finding, one_line, path_option

Array = np.ndarray[Any, np.dtype[Any]]

SHOWN = 20  # variables to describe, at most
TRIALS = 5  # attempts to read a variable, each with more options


class Values(NamedTuple):
    """Statistics of the values of a field."""

    text: str  # range, and share of missing values
    empty_frames: bool  # whether a frame has no value


class Readable(NamedTuple):
    """A variable that can be read as frames."""

    files: FieldFiles
    values: Values
    words: list[str]  # the options that reading it needs


def inspect_fields(paths: Sequence[Path], *, named: Sequence[str] = ()) -> Finding:
    """Inspect NetCDF files and Zarr stores that `data.path` would take as one data set.

    Args:
        paths: the files and stores.
        named: the paths as the user gave them.

    Errors:
        FileError, CorruptionError: a file or store cannot be read.
        MissingExtraError: xarray is not installed.
    """
    count = len(paths)
    finding = Finding(kind_in_words(paths[0]) if count == 1 else f"Fields in {count} files")
    options = FieldOptions(group=group_of(finding, paths[0]))
    first = next(iter(open_series(paths, options).values()))
    finding.say("dimensions", ", ".join(f"{n} {size}" for n, size in first.sizes.items()))
    fields: dict[str, Readable] = {}
    untimed: list[str] = []
    possible = candidates(first)
    names = [str(name) for name in first.data_vars]
    for name in names[:SHOWN]:
        array = first[name]
        if array.ndim == 0:  # such as a grid mapping
            continue
        unit = array.attrs.get("units", "no unit")
        finding.say(name, f"{array.dtype} ({', '.join(map(str, array.dims))}), {unit}")
        if name in possible and array.ndim > 1:
            found = tried(finding, name, paths, options)
            if isinstance(found, str):
                untimed.append(found)
            elif found is not None:
                fields[name] = found
    if len(names) > SHOWN:
        finding.say("and", f"{len(names) - SHOWN} more")
    if fields:
        read(finding, named or [shown_path(path) for path in paths], fields)
    elif not finding.problems:
        without = (
            "no variable has frames, that is one dimension of time and one or two of space; a "
            "series at one point needs one, as by xarray's expand_dims('station')"
        )
        finding.warn(max(untimed, key=len, default=without))
    return finding


def kind_in_words(path: Path) -> str:
    """Kind of a file or store."""
    if is_remote(path):
        return "Fields on another machine"
    return "A Zarr store" if kind_of(path) == "zarr" else "A NetCDF file"


def group_of(finding: Finding, path: Path) -> str | None:
    """The group of a file to inspect: None for the root, or the first if the root is empty."""
    try:
        open_fields(path)
    except InputError:
        groups = groups_at(path)
        if not groups:
            raise
        finding.say("groups", ", ".join(groups))
        return groups[0]
    return None


def tried(
    finding: Finding, name: str, paths: Sequence[Path], options: FieldOptions
) -> Readable | str | None:
    """Try to read a variable as frames, with the options that its errors suggest, one by one.

    Returns:
        The readable variable; or, as text, why it has no frames if no dimension is time; or None
            after reporting another problem.
    """
    words: dict[str, str] = {} if options.group is None else {"group": options.group}
    options = replace(options, variables=(name,))
    problems: list[InputError] = []
    for _ in range(TRIALS):
        try:
            files = FieldFiles(paths, options, joining="auto", engine=None)
            values = values_of(files.opened[0])
            for problem in problems:
                finding.warn(f"{name}: {problem}")
            pairs = [(f"--data.{key}", text) for key, text in words.items()]
            return Readable(files, values, [word for pair in pairs for word in pair])
        except InputError as error:
            problems.append(error)
            if not error.options:
                break
            suggested = dict(error.options)
            if "crop" in suggested and "crop" in words:  # of another dimension
                suggested["crop"] = f"{words['crop'][:-1]}, {suggested['crop'][1:]}"
            words |= suggested
            parsed = {name: parse_yaml(text) for name, text in suggested.items()}
            options = replace(options, **plain_options(parsed))
    if isinstance(problems[0], TimelessError):
        return str(problems[0])
    finding.warn(f"{name}: {problems[0]}")
    return None


def read(finding: Finding, named: Sequence[str], fields: dict[str, Readable]) -> None:
    """Report how the variables with frames would be read."""
    name, (files, values, words) = next(iter(fields.items()))
    first, axes = files.opened[0], files.opened[0].axes
    order = ", by their order alone" if axes.by_order else ""
    finding.say("time is", f"{axes.time}, space is {', '.join(axes.space)}{order}")
    calendar = getattr(files.times[0][0], "calendar", "")
    dated = f" in the calendar {calendar}" if calendar else ""
    apart = f", {files.step} apart" if max(files.lengths) > 1 else ""
    finding.say("frames", f"{sum(files.lengths)}{apart}, from {files.span}{dated}")
    if len(files.lengths) > 1:
        of = f"of {files.options.sequences}" if first.first.members > 1 else "a file each"
        finding.say("sequences", f"{len(files.lengths)}, {of}")
    for note in first.notes:
        finding.say("note", note)
    for other, readable in fields.items():
        finding.say(f"{one_line(other)} values", readable.values.text)
    finding.say("would be read", "by the data set fields")
    if values.empty_frames and "--data.missing_frames" not in words:
        words = [*words, "--data.missing_frames", "keep"]
    suggest(finding, named, name, words)
    finding.preview = lambda: rows_of(
        [some(found.files.opened[0], COLUMNS) for found in list(fields.values())[:ROWS]]
    )


def suggest(finding: Finding, named: Sequence[str], name: str, words: list[str]) -> None:
    """Suggest a training on a variable, or report why its frames cannot be split."""
    pairs = zip(words[::2], words[1::2], strict=True)
    options = {option.removeprefix("--data."): parse_yaml(text) for option, text in pairs}
    try:
        data = Fields(path=tuple(named), variables=(name,), **plain_options(options))
    except InputError as error:
        finding.warn(f"No training: {error}")
        return
    for choice in data.inferred_options:
        if choice.what == "advice":
            finding.say("advice", choice.chosen)
    words = ["--data.path", path_option(named), "--data.variables", name, *words]
    recipe = "fields" if len(data.spec.space) == 2 else "fields-srvp"  # stations
    finding.suggest("Train", ["train", recipe, *words])


def some(field: Field, count: int) -> Array:
    """Evenly spaced frames of a field, (time, 1, *space), north up; unknown values are NaN."""
    frames = np.stack([frame[:1] for frame in spread(field, count)])
    return frames[:, :, ::-1] if south_first(field.coordinates(0, 1)) else frames


def spread(field: Field, count: int) -> Iterator[Array]:
    """Evenly spaced frames (channel, *space), in order."""
    other = field.of_member(field.member)
    other.options = replace(field.options, missing_frames="keep")
    for number in evenly(len(field), count):
        yield other.read(number, number + 1)[0]


def values_of(field: Field) -> Values:
    """Range and share of missing values of a field, over as many frames as fit into a sample."""
    points = max(1, int(np.prod(field.space)))
    count = max(1, min(len(field), SAMPLE // points))
    low, high, known, size, empty = np.inf, -np.inf, 0, 0, False
    land = np.ones(field.space, bool)  # points without any known value
    for frame in spread(field, count):
        values = frame[np.isfinite(frame)]
        land &= ~np.isfinite(frame).any(axis=0)
        known, size, empty = known + values.size, size + frame.size, empty or not values.size
        if values.size:
            low, high = min(low, values.min()), max(high, values.max())
    span = f"from {low:.6g} to {high:.6g}" if known else "no known value"
    missing = f", {1 - known / size:.2%} missing" if known < size else ", none missing"
    if known and land.any():
        missing += f", {land.sum()} of {land.size} points without any value, as on land"
    whole = "" if count == len(field) else f", of {count} frames evenly spread"
    return Values(span + missing + whole, empty)
