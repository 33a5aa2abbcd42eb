"""forecast: from a file of observed frames to a file of forecasts."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from statecast.data.base import generator_of
from statecast.errors import CorruptionError, FileError, InputError
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.models.base import Forecaster
from statecast.numerics.solvers import SolverName

INPUTS = (".npy", ".npz")
OUTPUTS = (".npz", ".gif", ".png")
ARRAY_NAMES = ("values", "frames", "context", "sequences")  # looked for in an .npz, in this order
LARGEST_BYTE = 255


def forecast_file(
    model: Forecaster,
    source: str | Path,
    output: str | Path,
    *,
    horizon: int | None = None,
    samples: int = 1,
    context: int | None = None,
    substeps: int | None = None,
    solver: SolverName | None = None,
    seed: int = 1,
) -> Forecast:
    """Forecast the frames that follow those of a file, and write them to another.

    Args:
        model: the trained model.
        source: `.npy` or `.npz` array (time, channel, *space), with a leading batch axis or
            without, and without the channel axis where there is one channel. Bytes are taken as
            images of 256 levels where the model's range is [0, 1].
        output: `.npz` (samples, times, channels), `.gif` or `.png`.
        horizon: frames to forecast; by default as many as in training.
        samples: futures to draw.
        context: last frames of the file to use; by default as many as in training.
        substeps: steps of the solver per frame; by default the model's own.
        solver: of the transition's differential equation; by default the model's own.
        seed: of the samples.

    Errors:
        FileError: a file cannot be read or written, or has an unknown ending.
        InputError: the array does not fit the model.
    """
    output = Path(output)
    if output.suffix not in OUTPUTS:
        raise FileError(f"A forecast is written as {', '.join(OUTPUTS)}, got {output.name!r}.")
    if not output.parent.is_dir():
        raise FileError(f"The folder {output.parent} does not exist; make it first.")
    count = model.spec.context if context is None else context
    if count < 1:
        raise InputError(f"A context needs at least 1 frame, got {count}.")
    values = as_frames(read_array(source), model.spec, str(source))
    frames = Frames.context_of(values[:, -count:], model.spec.channels)
    forecast = model.forecast(
        frames,
        horizon,
        samples=samples,
        substeps=substeps,
        solver=solver,
        generator=generator_of(seed),
    ).to("cpu")
    write_forecast(frames, forecast, output)
    return forecast


def write_forecast(context: Frames, forecast: Forecast, output: Path) -> Path:
    """Write a forecast in the format that the ending of `output` names."""
    from statecast.animations import animate_forecast
    from statecast.plots import plot_forecast

    if output.suffix == ".npz":
        return forecast.save(output)
    if output.suffix == ".gif":
        return animate_forecast(context, forecast, output)
    return plot_forecast(context, forecast, output)


def read_array(path: str | Path) -> np.ndarray[Any, Any]:
    """An array of numbers from a `.npy` or `.npz` file; nothing in it is executed.

    Errors:
        FileError: it is missing, or no such file.
        CorruptionError: it is cut off or damaged.
        InputError: it holds no array of numbers, or several and none of a known name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileError(f"There is no file {path}.")
    if path.suffix not in INPUTS:
        raise FileError(f"Arrays are read from {' or '.join(INPUTS)}, got {path.name!r}.")
    try:
        with path.open("rb") as stream:
            content = np.load(stream, allow_pickle=False)
            if isinstance(content, np.ndarray):
                return content
            with content:
                return content[choose_name(list(content.files), path)]
    except (ValueError, EOFError, zipfile.BadZipFile, OSError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        raise CorruptionError(
            f"{path} cannot be read as an array of numbers: {' '.join(str(error).split())}"
        ) from error


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
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
