"""Observed frames from files: one reader per ending."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from statecast.checks import typed
from statecast.errors import FileError, InputError
from statecast.forecasting.predictor import Predictor
from statecast.frames import Frames, FrameSpec
from statecast.io.fields.readers import NETCDF, ZARR, is_labelled_file
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
def read_context(path: str | Path, predictor: Predictor, count: int | None = None) -> Frames:
    """The last frames of a file, as a context for a model.

    Args:
        path: a file with an ending of `INPUTS`, the folder of a Zarr store, or one of images.
        predictor: the model that the context is for, and how its data are prepared.
        count: frames to take; by default as many as in training.

    Errors:
        FileError, CorruptionError: the file is missing, damaged, or of an unknown kind.
        InputError: its frames do not fit the model.
    """
    path = Path(path)
    count = predictor.spec.context if count is None else count
    if count < 1:
        raise InputError(f"A context needs at least 1 frame, got {count}.")
    if not path.exists():
        raise FileError(f"There is no file {path}.")
    reader = reader_of(path)
    if reader is None:
        raise FileError(
            f"Frames are read from {', '.join(INPUTS)} or a folder of images, got {path.name!r}."
        )
    return reader(path, predictor, count)


def reader_of(path: Path) -> Reader | None:
    """What reads a path: by its ending, or what a folder holds; None where nothing does."""
    if is_labelled_file(path):
        return INPUTS[ZARR]
    return read_clip_context if path.is_dir() else INPUTS.get(path.suffix.lower())


def read_array_context(path: Path, predictor: Predictor, count: int) -> Frames:
    """Context from an array (time, channel, *space) in a NumPy or HDF5 file."""
    values = as_frames(read_array(path), predictor.spec, str(path))
    return Frames.context_of(values[:, -count:], predictor.spec.channels)


def read_labelled_context(path: Path, predictor: Predictor, count: int) -> Frames:
    """Context from a NetCDF file or Zarr store, with its coordinates."""
    from statecast.io.fields.readers import check_chunks, open_fields

    dataset = open_fields(path)
    frames = predictor.context(dataset, count, origin=str(path))
    if path.is_dir() and predictor.preparation.options.missing_frames == "refuse":
        field = predictor.preparation.open(dataset, str(path))
        check_chunks(path, dataset, field.channels, field.axes.time)
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
    **dict.fromkeys((*NETCDF, ZARR), read_labelled_context),
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
