"""Checks of the arguments of forecasts: times, actions, sizes."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statecast.checks import LONGEST
from statecast.errors import InputError
from statecast.models.latents import TIME_TOLERANCE

Times = Sequence[float] | Tensor | np.ndarray[Any, Any]


def as_times(times: Times, dtype: torch.dtype) -> Float[Tensor, " time"]:
    """Times, in frame intervals, as a tensor on the CPU.

    Errors:
        InputError: they are not a list of finite numbers, or exceed `LONGEST` in size.
    """
    try:
        given = torch.as_tensor(times)
        wanted = given.to("cpu", dtype)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"Times must be a list of numbers: {error}.") from error
    real = not given.is_complex() and given.dtype != torch.bool
    finite = real and bool(torch.isfinite(wanted).all())
    if wanted.ndim != 1 or len(wanted) == 0 or not finite:
        raise InputError(
            f"Times must be a list of finite numbers, got {shortened(wanted)} of shape "
            f"{tuple(wanted.shape)}."
        )
    if float(wanted.abs().max()) > LONGEST:
        raise InputError(f"Times must lie within {LONGEST} frames, got {shortened(wanted)}.")
    return wanted


def whole_leads(times: Float[Tensor, " time"], title: str) -> Float[Tensor, " time"]:
    """Times of frames after the context, rounded to the whole numbers that they stand for.

    Args:
        times: lead times, in frame intervals.
        title: name of the model, for messages.

    Errors:
        InputError: a time lies between frames or before time 1.
    """
    leads = times.round()
    if bool(((times - leads).abs() > TIME_TOLERANCE).any()) or bool((leads < 1).any()):
        raise InputError(
            f"{title} works in whole frames only: ask for whole `times` from 1, the first frame "
            f"after the context, got {shortened(times)}."
        )
    return leads


def checked_series(
    series: Tensor | None, what: str, size: tuple[int, int], *, like: Tensor
) -> Float[Tensor, "batch time number"] | None:
    """The first actions or agent states of a context; None for a model without them.

    Args:
        series: (batch, time, number).
        what: their name, for messages.
        size: number of times needed, and of numbers at each.
        like: frames; the result has their dtype.

    Errors:
        InputError: they are missing, too few, of another size, or not finite.
    """
    length, numbers = size
    if not numbers:
        return None
    if series is None or series.shape[1] < length or series.shape[2] != numbers:
        raise InputError(
            f"The model needs {what} of shape (batch, {length}, {numbers}), from the first context "
            f"frame on, got {None if series is None else tuple(series.shape)}. Pass "
            f"Frames.context_of(values, {what}=…)."
        )
    if not bool(torch.isfinite(series[:, :length]).all()):
        raise InputError(f"The {what} of a context must be finite, got NaN or infinity.")
    return series[:, :length].to(like.dtype)


def shortened(values: Tensor) -> str:
    """The first 8 values, as text."""
    listed = values.flatten()[:8].tolist()
    return f"{listed}{' …' if values.numel() > len(listed) else ''}"


def check_size(shape: tuple[int, ...]) -> None:
    """Raise `InputError` where frames of this shape would take more memory than there is."""
    if not hasattr(os, "sysconf"):  # Windows, where the allocation itself fails
        return
    size = 4 * math.prod(shape)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > there:
        raise InputError(
            f"Frames of shape {shape} = (sample, batch, time, channel, *space) take "
            f"{size / 2**30:.3g} GiB, but the machine has {there / 2**30:.3g} GiB of memory. "
            "Forecast fewer samples or sequences at once."
        )
