"""Reads observed frames from files; the content of a file tells its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from statecast.checks import typed
from statecast.data.user.array_axes import check_axes, fitting_axes
from statecast.data.user.array_files import (
    ENDINGS as ARRAY_ENDINGS,
)
from statecast.data.user.array_files import (
    SERIES,
    SIGNATURES,
    Sequences,
    found_arrays,
    is_array_file,
    is_hdf5,
    series_beside,
)
from statecast.errors import FileError, InputError
from statecast.forecasting.predictor import Predictor
from statecast.frames import Frames, FrameSpec
from statecast.io.fields.kinds import labelled_files
from statecast.io.fields.preprocessing import plain_options
from statecast.io.fields.readers import check_chunks
from statecast.io.fields.series import open_series
from statecast.io.fields.source import FieldOptions, check_dimensions
from statecast.io.fields.time_steps import frame_number
from statecast.io.hdf5 import HDF5
from statecast.io.paths import existing_paths
from statecast.io.video.containers import beginning_of
from statecast.io.video.decoding import video_facts
from statecast.io.video.discovery import Clip, find_clips, kind_of
from statecast.io.video.options import ClipOptions, Colour
from statecast.io.video.preprocessing import last_prepared
from statecast.io.video.remarks import bits_used

if TYPE_CHECKING:
    from xarray import Dataset

LARGEST_BYTE = 255
ARRAY_OPTIONS = ("dataset", "axes")
ON_ERROR = "on_error"  # option for videos: `refuse` or `skip` damaged ones


class Observed(NamedTuple):
    """The last frames of a source, and where it ends."""

    frames: Frames
    ends: tuple[float, ...]  # end of each sequence, in frame intervals from a fixed time


@typed
def read_context(
    path: str | Path | Sequence[str],
    predictor: Predictor,
    count: int | None = None,
    *,
    reading: Mapping[str, Any] | None = None,
) -> Frames:
    """The last frames of files, as a context for a model.

    Args:
        path: what `data.path` takes: a file, a Zarr store, a folder, a pattern, or a list. Arrays
            and videos give one sequence each; fields are one series.
        predictor: the model that the context is for, with the preparation of its data.
        count: number of frames; by default as in training.
        reading: options for reading that replace those of training: `dataset` and `axes` for
            arrays; those of `ClipOptions` and `on_error` for videos; those of `FieldOptions`, such
            as `{"uneven_times": "fill"}`, and `engine` for fields.

    Errors:
        FileError, CorruptionError: a file is missing, damaged, or of an unknown kind.
        InputError: the frames do not fit the model, or an option is unknown.
    """
    return read_observed(path, predictor, count, reading=reading).frames


def read_observed(
    path: str | Path | Sequence[str],
    predictor: Predictor,
    count: int | None = None,
    *,
    reading: Mapping[str, Any] | None = None,
) -> Observed:
    """The last frames of files, and where they end; arguments and errors as `read_context`."""
    count = predictor.spec.context if count is None else count
    if count < 1:
        raise InputError(f"A context needs at least 1 frame, got {count}.")
    named = [path] if isinstance(path, str | Path) else list(path)
    bare = Path(named[0]).suffix.lower() in HDF5 and not predictor.preparation.channels
    labelled = [] if bare else labelled_files(path)
    if labelled:
        return read_labelled_context(labelled, predictor, count, reading_options(reading or {}))
    paths = existing_paths(path)
    if holds_arrays(paths[0]):
        return read_array_context(paths, predictor, count, reading or {})
    if paths[0].is_file() and kind_of(paths[0]) is None:
        raise FileError(
            f"Frames are read from {', '.join(ARRAY_ENDINGS)}, NetCDF, Zarr, videos and images, "
            f"got {paths[0].name!r}."
        )
    return read_clip_context(paths, predictor, count, reading or {})


def holds_arrays(path: Path) -> bool:
    """Whether a path is a file of arrays, or a folder of arrays without videos."""
    if path.is_dir():
        there = any(map(is_array_file, path.rglob("*")))
        try:
            return there and not find_clips(path).clips
        except FileError:
            return there
    return is_array_file(path) or is_hdf5(path) or beginning_of(path).startswith(SIGNATURES)


def check_options(reading: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    """Raise `InputError` if this kind of data has no such option for reading."""
    for name in reading:
        if name not in known:
            raise InputError(
                f"A forecast from {what} takes --data.{{{','.join(known)}}}, got {name!r}."
            )


def read_array_context(
    paths: Sequence[Path], predictor: Predictor, count: int, reading: Mapping[str, Any]
) -> Observed:
    """Context from arrays: the last frames of every sequence, with actions if there are any.

    Arrays named `actions` and `agent_states` in the same files must begin with the first frame.
    """
    check_options(reading, ARRAY_OPTIONS, "arrays")
    arrays, _, origin = found_arrays(paths, reading.get("dataset"))
    axes = reading.get("axes")
    if axes is not None:
        check_axes(axes)
    elif predictor.axes is not None and len(predictor.axes) == len(arrays[0].shape):
        axes = predictor.axes
    else:
        axes = axes_for(arrays[0], predictor, origin, alone=len(arrays) > 1)
    sequences = Sequences(arrays, axes)
    kept = min(count, *sequences.lengths)
    pieces = [
        sequences.read(number, length - kept, length)
        for number, length in enumerate(sequences.lengths)
    ]
    values = np.stack(pieces).astype(np.float32)
    if sequences.dtype == np.uint8 and predictor.spec.value_range == (0.0, 1.0):
        values /= LARGEST_BYTE
    series = series_of_agent(paths, sequences.lengths, kept)
    if "actions" in series and not predictor.model.needs_actions:
        raise InputError(
            f"{origin} holds actions, but this {predictor.model.title} does not use actions. "
            "Remove them from the file."
        )
    frames = replace(
        predictor.frames_of(values),
        channels=predictor.spec.channels,
        actions=series.get("actions"),
        agent_states=series.get("agent_states"),
    )
    return Observed(frames, tuple(map(float, sequences.lengths)))


def series_of_agent(paths: Sequence[Path], lengths: Sequence[int], kept: int) -> dict[str, Tensor]:
    """Actions and agent states from the last `kept` frames of each sequence on, if any."""
    series = {}
    for name in SERIES:
        rows = series_beside(paths, name, len(lengths))
        if rows is not None:
            cut = [row[n - kept :] for row, n in zip(rows, lengths, strict=True)]
            least = min(map(len, cut))
            series[name] = torch.from_numpy(np.stack([row[:least] for row in cut])).float()
    return series


def axes_for(array: Any, predictor: Predictor, origin: str, *, alone: bool) -> str:
    """Axes of an array that fits the frames of a model, with or without padding.

    Errors:
        InputError: no order of axes fits.
    """
    spec = predictor.spec
    for space in (spec.space, predictor.preparation.space):
        axes = fitting_axes(array, len(spec.channels), tuple(space), origin, alone=alone)
        if axes is not None:
            return axes
    raise InputError(
        f"{origin} should be (time, channel, *space) with (channel, *space) = {spec.frame_shape}, "
        f"with or without a leading batch axis; got shape {tuple(array.shape)}. If its axes have "
        "another order, give it, for example --data.axes tnyx."
    )


def reading_options(table: Mapping[str, Any]) -> dict[str, Any]:
    """Options for reading fields, with the lists of YAML as tuples.

    Errors:
        InputError: an option is unknown.
    """
    known = {option.name for option in fields(FieldOptions)} - {"variables"} | {"engine"}
    for name in table:
        if name not in known:
            raise InputError(
                f"A forecast from fields takes --data.{{{','.join(sorted(known))}}}, got {name!r}; "
                "everything else is as in training."
            )
    return plain_options(table)


def read_labelled_context(
    paths: Sequence[Path], predictor: Predictor, count: int, reading: Mapping[str, Any]
) -> Observed:
    """Context from NetCDF files and Zarr stores that form one series, with coordinates."""
    options = dict(reading)
    datasets, origin = opened_series(paths, predictor, options)
    asked = (options.get("sequences"), options.get("channels"))
    check_dimensions(next(iter(datasets.values())), asked, origin)
    frames = predictor.context(datasets, count, origin=origin, reading=options)
    used = replace(predictor.preparation.options, **options)
    if used.missing_frames == "refuse":
        for path in (path for path in paths if path.is_dir()):
            for source in predictor.preparation.open(datasets, origin, reading=options).sources:
                if source.origin == str(path):
                    names, time = source.variables, source.axes.time
                    check_chunks(path, datasets[str(path)], names, time, used.group)
    labels = frames.coordinates
    assert labels is not None
    return Observed(frames, (frame_number(labels.times[-1], labels.step),))


def opened_series(
    paths: Sequence[Path], predictor: Predictor, options: dict[str, Any]
) -> tuple[dict[str, Dataset], str]:
    """The data sets of a series, and its name in errors; removes `engine` from the options."""
    engine = options.pop("engine", None)
    used = replace(predictor.preparation.options, **options)
    datasets = open_series(paths, used, engine=engine)
    several = f"The series of {len(paths)} files"
    return datasets, next(iter(datasets)) if len(paths) == 1 else several


def read_clip_context(
    paths: Sequence[Path], predictor: Predictor, count: int, reading: Mapping[str, Any]
) -> Observed:
    """Context from videos or folders of images, prepared as in training; one sequence each."""
    if predictor.fields is not None:
        raise InputError(
            f"The model was trained on the fields {', '.join(predictor.spec.channels)}, but "
            f"{paths[0].name} holds videos or images. Give NetCDF files or Zarr stores."
        )
    options = clip_options(predictor, reading)
    clips = find_clips(paths).clips
    if options.bits is None:
        options = replace(options, bits=bits_used(clips))
    pieces = []
    for clip in clips:
        try:
            pieces.append(last_prepared(clip, options, count))
        except FileError as error:
            if reading.get(ON_ERROR) != "skip" or len(clips) == 1:
                advice = f"Skip it with --data.{ON_ERROR} skip." if len(clips) > 1 else ""
                raise type(error)(f"{error} {advice}".strip()) from error
    if not pieces:
        raise FileError(f"None of the {len(clips)} videos can be read.")
    low, high = predictor.spec.value_range or (0.0, 1.0)
    values = torch.from_numpy(np.stack([piece.values for piece in pieces]))
    scaled = low + (high - low) * values.float() / LARGEST_BYTE
    frames = Frames.context_of(scaled, predictor.spec.channels)
    return Observed(frames, tuple(piece.end for piece in pieces))


def clip_options(predictor: Predictor, reading: Mapping[str, Any]) -> ClipOptions:
    """Options for preparing videos: those of training, with the given changes."""
    options = predictor.videos or clip_options_for(predictor.spec)
    known = [option.name for option in fields(ClipOptions) if option.name != "size"]
    check_options(reading, [*known, ON_ERROR], "videos")
    changes = {name: value for name, value in reading.items() if name != ON_ERROR}
    if "crop" in changes and not isinstance(changes["crop"], str):
        changes["crop"] = tuple(changes["crop"])
    return replace(options, **changes)


def source_rate(
    path: str | Path | Sequence[str], predictor: Predictor, reading: Mapping[str, Any] | None
) -> float | None:
    """Frames per second of a context from videos; None for other sources."""
    if labelled_files(path) or holds_arrays((paths := existing_paths(path))[0]):
        return None
    options = clip_options(predictor, reading or {})
    rate = options.frames_per_second or first_rate(find_clips(paths).clips)
    return None if rate is None else rate / options.frame_step


def first_rate(clips: Sequence[Clip]) -> float | None:
    """Frames per second of the first readable video; None for images."""
    for clip in clips:
        with suppress(FileError):
            return None if clip.images else video_facts(clip.path).rate
    return None


def clip_options_for(spec: FrameSpec) -> ClipOptions:
    """Options for a model that was not trained on videos: its size and colours, every frame.

    Errors:
        InputError: the model's frames are not images with 1 or 3 channels.
    """
    colours: dict[int, Colour] = {1: "grey", 3: "rgb"}
    if len(spec.space) != 2 or len(spec.channels) not in colours:
        raise InputError(
            f"A video has 1 or 3 channels on (height, width), but the model takes "
            f"{len(spec.channels)} channel(s) on {spec.space} points."
        )
    height, width = spec.space
    return ClipOptions(size=(height, width), colour=colours[len(spec.channels)])
