"""Observed frames from files: one reader per ending."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from statecast.checks import typed
from statecast.errors import FileError, InputError
from statecast.forecasting.predictor import Predictor
from statecast.frames import Frames, FrameSpec
from statecast.io.fields.kinds import NETCDF, ZARR, labelled_files
from statecast.io.fields.preprocessing import plain_options
from statecast.io.fields.readers import check_chunks, open_fields
from statecast.io.fields.source import FieldOptions
from statecast.io.hdf5 import HDF5, HDF5Array
from statecast.io.numpy_files import map_npy, members_of, read_npz
from statecast.io.video.containers import VIDEO_ENDINGS
from statecast.io.video.discovery import find_clips
from statecast.io.video.options import ClipOptions, Colour
from statecast.io.video.preprocessing import last_prepared

# The last `count` frames of a file, as context that fits a model.
Reader = Callable[[Path, Predictor, int], Frames]

ARRAYS = (".npy", ".npz", *HDF5)
ARRAY_NAMES = ("values", "frames", "context", "sequences")  # looked for in an .npz, in this order
LARGEST_BYTE = 255


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
        path: what `data.path` takes: of fields, a file, Zarr store, folder, pattern or list, told
            by content; or an array, a video, or a folder of images.
        predictor: the model that the context is for, and how its data are prepared.
        count: frames to take; by default as many as in training.
        reading: of fields, options of `FieldOptions` in the place of those of training, such as
            `{"uneven_times": "fill"}`; and the `engine`.

    Errors:
        FileError, CorruptionError: the file is missing, damaged, or of an unknown kind.
        InputError: its frames do not fit the model, or there is no such option.
    """
    count = predictor.spec.context if count is None else count
    if count < 1:
        raise InputError(f"A context needs at least 1 frame, got {count}.")
    named = [path] if isinstance(path, str | Path) else list(path)
    single = Path(named[0])
    arrays = single.suffix.lower() in HDF5 and not predictor.preparation.channels
    paths = [] if arrays else labelled_files(path)
    if paths:
        return read_labelled_context(paths, predictor, count, reading or {})
    if reading:
        raise InputError(f"The options {', '.join(reading)} are for fields, and {path} is none.")
    if len(named) > 1:
        raise FileError(f"{', '.join(map(str, named))}: several files are read as fields alone.")
    if not single.exists():
        raise FileError(f"There is no file {single}.")
    reader = read_clip_context if single.is_dir() else INPUTS.get(single.suffix.lower())
    if reader is None:
        raise FileError(
            f"Frames are read from {', '.join((*INPUTS, *NETCDF, ZARR))} or a folder of images, "
            f"got {single.name!r}."
        )
    return reader(single, predictor, count)


def reading_options(table: Mapping[str, Any]) -> dict[str, Any]:
    """Options of reading fields, as YAML holds them, ready for `read_context`.

    Errors:
        InputError: there is no such option.
    """
    known = {option.name for option in fields(FieldOptions)} - {"variables"} | {"engine"}
    for name in table:
        if name not in known:
            raise InputError(
                f"A forecast reads fields as in training, but for the options --data.{{"
                f"{','.join(sorted(known))}}}; got {name!r}."
            )
    return plain_options(table)


def read_array_context(path: Path, predictor: Predictor, count: int) -> Frames:
    """Context from an array (time, channel, *space) in a NumPy or HDF5 file."""
    values = as_frames(read_array(path), predictor.spec, str(path))
    return Frames.context_of(values[:, -count:], predictor.spec.channels)


def read_labelled_context(
    paths: Sequence[Path], predictor: Predictor, count: int, reading: Mapping[str, Any]
) -> Frames:
    """Context from NetCDF files and Zarr stores as one series, with its coordinates."""
    options = dict(reading)
    engine = options.pop("engine", None)
    group = options.get("group", predictor.preparation.options.group)
    datasets = {str(path): open_fields(path, engine=engine, group=group) for path in paths}
    origin = str(paths[0]) if len(paths) == 1 else f"The series of {len(paths)} files"
    frames = predictor.context(datasets, count, origin=origin, reading=options)
    if options.get("missing_frames", predictor.preparation.options.missing_frames) == "refuse":
        for path in (path for path in paths if path.is_dir()):
            for source in predictor.preparation.open(datasets, origin, reading=options).sources:
                if source.origin == str(path):
                    names, time = source.variables, source.axes.time
                    check_chunks(path, datasets[str(path)], names, time, group)
    return frames


def read_clip_context(path: Path, predictor: Predictor, count: int) -> Frames:
    """Context from a video or a folder of images, prepared as in training."""
    options = predictor.videos or clip_options_for(predictor.spec)
    clips = find_clips(str(path))
    if len(clips) > 1:
        raise InputError(
            f"{path} holds {len(clips)} videos; name one of them, such as {clips[0].path}."
        )
    values = torch.from_numpy(last_prepared(clips[0], options, count)).float() / LARGEST_BYTE
    low, high = predictor.spec.value_range or (0.0, 1.0)
    return Frames.context_of((low + (high - low) * values)[None], predictor.spec.channels)


INPUTS: dict[str, Reader] = {
    **dict.fromkeys(ARRAYS, read_array_context),
    **dict.fromkeys(VIDEO_ENDINGS, read_clip_context),
}


def read_array(path: str | Path) -> np.ndarray[Any, Any]:
    """An array of numbers from a `.npy`, `.npz` or HDF5 file; nothing in it is executed.

    Errors:
        FileError: it is missing, or no such file.
        CorruptionError: it is cut off or damaged.
        InputError: it holds no array of numbers, or several and none of a known name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"There is no file {path}.")
    if path.suffix.lower() not in ARRAYS:
        raise FileError(f"Arrays are read from {', '.join(ARRAYS)}, got {path.name!r}.")
    if path.suffix.lower() in HDF5:
        return HDF5Array(path, known=ARRAY_NAMES).whole()
    if path.suffix.lower() == ".npy":
        return map_npy(path)
    return read_npz(path, choose_name(list(members_of(path)), path))


def choose_name(names: list[str], path: Path) -> str:
    """The array of an `.npz` to read: the only one, or the first of a known name."""
    for name in ARRAY_NAMES:
        if name in names:
            return name
    if len(names) == 1:
        return names[0]
    raise InputError(
        f"{path} holds the arrays {names}; name the frames one of {', '.join(ARRAY_NAMES)}."
    )


def as_frames(array: np.ndarray[Any, Any], spec: FrameSpec, origin: str) -> torch.Tensor:
    """An array as frames (batch, time, channel, *space) that fit a model.

    Errors:
        InputError: its shape or type does not fit.
    """
    if array.dtype == np.uint8 and spec.value_range == (0.0, 1.0):
        array = array.astype(np.float32) / LARGEST_BYTE
    if array.dtype.kind not in "fiu":
        raise InputError(f"{origin} should hold numbers, got {array.dtype}.")
    full = 2 + len(spec.frame_shape)
    shape = array.shape
    channels_last = (*spec.space, len(spec.channels))
    if shape[-len(channels_last) :] == channels_last != spec.frame_shape:
        array = np.moveaxis(array, -1, -len(channels_last))
    if array.ndim < full and len(spec.channels) == 1 and shape[-len(spec.space) :] == spec.space:
        missing_channel = array.ndim == full - 2 or shape[1:] != spec.frame_shape
        if missing_channel:
            array = np.expand_dims(array, array.ndim - len(spec.space))
    if array.ndim == full - 1:
        array = array[None]
    if array.ndim != full or array.shape[2:] != spec.frame_shape:
        raise InputError(
            f"{origin} should be (time, channel, *space) with (channel, *space) = "
            f"{spec.frame_shape}, with a leading batch axis or without; got shape {shape}."
        )
    return torch.from_numpy(np.array(array, dtype=np.float32, order="C"))


def clip_options_for(spec: FrameSpec) -> ClipOptions:
    """Options for a model that was not trained on videos: its size, its colours, every frame.

    Errors:
        InputError: no video has such frames.
    """
    colours: dict[int, Colour] = {1: "grey", 3: "rgb"}
    if len(spec.space) != 2 or len(spec.channels) not in colours:
        raise InputError(
            f"The model works on {len(spec.channels)} channel(s) on {spec.space} points; a video "
            "has 1 or 3 channels on (height, width)."
        )
    height, width = spec.space
    return ClipOptions(size=(height, width), colour=colours[len(spec.channels)])
