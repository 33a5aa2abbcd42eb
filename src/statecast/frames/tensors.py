"""Tensors of frames: made from arrays, checked, and described in words."""

from __future__ import annotations

import math
from operator import lt
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.io.fields.forecast_layout import SPACE_NAMES


def sizes_of(values: Tensor, leading: tuple[str, ...]) -> str:
    """Sizes of the axes of frames in words, such as `batch 4, time 5, channel 1, space 32×32`."""
    sizes = [f"{name} {size}" for name, size in zip(leading, values.shape, strict=False)]
    return f"{', '.join(sizes)}, space {'×'.join(map(str, values.shape[len(leading) :]))}"


def span_of(times: Tensor) -> str:
    """The first and the last time in words."""
    return f"times {float(times[0]):g} … {float(times[-1]):g}"


def as_tensor(values: Any) -> Tensor:
    """A float32 tensor from an array or tensor of floating-point numbers.

    Errors:
        InputError: integers, because the caller must say whether 255 means 255 or 1; or no
            dense array of numbers.
    """
    if not isinstance(values, Tensor):
        if isinstance(values, str | Path):
            raise InputError(
                f"Frames must be an array of numbers, got the name {str(values)!r:.80}. Read the "
                "file first, or use statecast.forecast_file."
            )
        if np.ma.isMaskedArray(values):
            raise InputError(
                "The unknown values of a masked array would be lost. Pass values.filled(np.nan) "
                "and a `mask`."
            )
        try:
            array = np.asarray(values)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise InputError(f"Frames must be an array of numbers: {error}.") from error
        if array.dtype.kind not in "fiub":
            raise InputError(f"Frames must be an array of numbers, got dtype {array.dtype}.")
        if array.dtype.newbyteorder("=") != array.dtype or not array.flags.writeable:
            array = array.astype(array.dtype.newbyteorder("="))
        if array.dtype.kind == "f" and array.itemsize > 8:  # torch has no longer ones
            array = array.astype(np.float64)
        if array.dtype.kind == "u" and array.itemsize > 1:  # nor these, everywhere
            array = array.astype(np.int64)
        # NumPy keeps the negative stride of a single number, which torch refuses.
        array = np.ascontiguousarray(array)
        values = torch.from_numpy(array.copy() if min(array.strides, default=0) < 0 else array)
    if not is_dense(values):
        raise InputError("Frames must be a dense tensor, got a sparse one, or one without numbers.")
    if not values.is_floating_point():
        raise InputError(
            f"Frames must be floating point, got {values.dtype}. "
            "For 8-bit images in [0, 1], pass values / 255."
        )
    return values if values.dtype == torch.float32 else values.float()


def as_series(values: Any, what: str) -> Tensor | None:
    """Actions or states of an agent as a tensor (batch, time, number); None if there are none.

    A single sequence (time, number) gets a batch axis.
    """
    if values is None:
        return None
    try:
        tensor = torch.as_tensor(values).float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} must be an array of numbers: {error}.") from error
    return tensor[None] if tensor.ndim == 2 else tensor


def default_channels(values: Tensor) -> tuple[str, ...]:
    """Names channel_0, channel_1, … for values (batch, time, channel, *space)."""
    count = values.shape[2] if values.ndim > 2 else 0
    return tuple(f"channel_{i}" for i in range(count))


def as_names(channels: object) -> tuple[str, ...]:
    """Names of channels as a tuple.

    Errors:
        InputError: they are not a list or tuple of text.
    """
    if not isinstance(channels, list | tuple) or not all(isinstance(n, str) for n in channels):
        raise InputError(f"Channels must be a tuple of names, got {channels!r:.80}.")
    return tuple(channels)


def is_dense(values: object) -> TypeGuard[Tensor]:
    """Whether something is a dense tensor with numbers, not one on the device `meta`."""
    return isinstance(values, Tensor) and values.layout == torch.strided and not values.is_meta


def check_layout(values: Tensor, leading: tuple[str, ...], channels: tuple[str, ...]) -> None:
    """Raise `InputError` unless `values` is (*leading, *space), with a name for each channel."""
    layout = f"({', '.join(leading)}, *space)"
    if not is_dense(values):
        raise InputError(f"Frames must be a dense tensor {layout}, got {type(values).__name__}.")
    if not values.is_floating_point():
        raise InputError(f"Frames must be floating point {layout}, got {values.dtype}.")
    if values.ndim - len(leading) not in SPACE_NAMES:
        raise InputError(
            f"Frames must have shape {layout} with 1 or 2 space dimensions, "
            f"got {tuple(values.shape)}."
        )
    if 0 in values.shape:
        raise InputError(f"Frames must not be empty, got shape {tuple(values.shape)} = {layout}.")
    if values.shape[len(leading) - 1] != len(channels):
        raise InputError(
            f"Frames of shape {tuple(values.shape)} = {layout} have "
            f"{values.shape[len(leading) - 1]} channel(s), but {len(channels)} are named: "
            f"{channels}."
        )


def check_mask(mask: Tensor, values: Tensor) -> None:
    """Raise `InputError` unless `mask` is boolean, of the shape of `values`, NaN where False."""
    found = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != values.shape:
        raise InputError(
            f"A mask must be boolean, of the shape of its values, {tuple(values.shape)}, got "
            f"{found}."
        )
    if not bool(values[~mask].isnan().all()):
        raise InputError("Values must be NaN where the mask is False. Set them to NaN.")


def check_series(series: Tensor | None, what: str, leading: tuple[int, ...]) -> None:
    """Raise `InputError` unless a series is None, or has three axes that begin with `leading`."""
    if series is None:
        return
    if not is_dense(series) or not series.is_floating_point():
        found = getattr(series, "dtype", type(series).__name__)
        raise InputError(f"{what} must be a dense tensor of floating-point numbers, got {found}.")
    if series.ndim != 3 or tuple(series.shape[: len(leading)]) != tuple(leading):
        raise InputError(
            f"{what} must have the shape (batch, time, number), beginning with {tuple(leading)}, "
            f"got {tuple(series.shape)}."
        )


def check_times(times: Tensor, length: int) -> None:
    """Raise `InputError` unless `times` holds `length` increasing finite values."""
    if not isinstance(times, Tensor) or not times.is_floating_point():
        found = times.dtype if isinstance(times, Tensor) else type(times).__name__
        raise InputError(f"Times must be a tensor of floating-point numbers, got {found}.")
    if times.shape != (length,):
        raise InputError(f"{length} frames need {length} times, got shape {tuple(times.shape)}.")
    listed = times.tolist()
    if not all(map(math.isfinite, listed)) or not all(map(lt, listed, listed[1:])):
        raise InputError(f"Times must be finite and increase, got {listed}.")
