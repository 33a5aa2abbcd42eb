"""Axes of arrays: a letter for each, a fixed order, and a guess if none are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from statecast.errors import InputError

Array = np.ndarray[Any, np.dtype[Any]]

ORDER = "ntcyx"  # sequence, time, channel, y, x
LAYOUTS = (
    "ntcyx",
    "tcyx",
    "ntyx",
    "tyx",
    "ntyxc",
    "tyxc",
    "tncyx",
    "tnyx",
    "tnyxc",
    "nyxt",
    "tyxn",
    "nyxtc",
    "yxt",
    "nctyx",
)  # usual orders of axes, the most frequent first
COLOURS = (1, 3)  # channels of images
FEW = 8  # most channels, if sizes alone decide
MOST_CHANNELS = 16  # of a guess; with more, the axes must be given
LOWEST = 4  # points; a shorter axis is neither a side of a grid nor time
ROUGHER = 0.7  # time is the axis whose neighbours differ by less than this share of the other's
UNLIKE, ALIKE = 0.7, 0.5  # difference of neighbours over that of distant elements
PLACES = 6  # along each axis, at which neighbours are compared


def order_of(axes: str) -> str:
    """Axes in our order: all five, or without y for points."""
    return ORDER if "y" in axes else ORDER.replace("y", "")


def in_order(array: Array, axes: str) -> Array:
    """A view (sequence, time, channel, *space) of an array whose axes these letters name.

    `n` is the sequence, `t` time, `c` the channel, `y` and `x` space; points have `x` alone.
    Missing axes `n` and `c` get one element.
    """
    known = [axis for axis in order_of(axes) if axis in axes]
    ordered = array.transpose([axes.index(axis) for axis in known])
    for position, axis in enumerate(order_of(axes)):
        if axis not in axes:
            ordered = np.expand_dims(ordered, position)
    return ordered


def check_axes(axes: str) -> None:
    """Raise `InputError` unless letters name time, space, and nothing twice."""
    if len(set(axes)) != len(axes) or not set("tx") <= set(axes) <= set(ORDER):
        raise InputError(
            "axes must name each axis of the array once: n (sequence), t (time), c (channel), y, "
            f"x; t and x are required. Got {axes!r}. Colour frames of one video are tyxc."
        )


def guessed_axes(array: Any, origin: str, *, alone: bool = False) -> str:
    """Plausible axes of an array, by their sizes and by the likeness of neighbours along them.

    Args:
        array: anything that has a shape and a dtype and can be sliced.
        origin: named in errors.
        alone: whether it is one sequence, without an axis of sequences.

    Errors:
        InputError: no guess is good enough.
    """
    shape = tuple(array.shape)
    if len(shape) == 2:
        return "tx"
    if not 3 <= len(shape) <= len(ORDER):
        raise InputError(
            f"{origin} should have 2 to 5 axes, such as (sequence, time, channel, y, x), got "
            f"{array.dtype} {shape}. Set axes to one letter for each."
        )
    letters = {p: "yx"[i] for i, p in enumerate(space_of(shape))}
    if shape[2] <= LOWEST < shape[-1] and len(shape) == 4:
        letters = {3: "x", 2: "c"}
    elif len(shape) == 3 and shape[1] <= LOWEST < shape[2]:
        letters = {2: "x", 1: "c"}
    rest = [place for place in range(len(shape)) if place not in letters]
    if len(rest) == 3:
        second = shape[rest[1]] <= LOWEST < shape[rest[2]]  # (sequence, channel, time, y, x)
        letters[rest.pop(1 if second else 2)] = "c"
    if len(rest) == 1:
        letters[rest[0]] = "t"
    else:
        has_channels = "c" in letters.values()
        found = time_and_other(array, rest, alone=alone, has_channels=has_channels)
        letters |= dict(zip(rest, found, strict=True))
    axes = "".join(letters[place] for place in range(len(shape)))
    channels = dict(zip(axes, shape, strict=True)).get("c", 1)
    if channels > MOST_CHANNELS:
        raise InputError(
            f"{origin} has the shape {shape}. With the axes {axes} it would have {channels} "
            "channels. Set axes to one letter for each: n (sequence), t (time), c (channel), y, x."
        )
    if "n" not in axes and "y" in axes and not alone and perhaps_sequences(array, axes):
        points = axes.replace("t", "n").replace("y", "t")
        raise InputError(
            f"{origin} of shape {shape} could be frames ({axes}), or sequences of points ({points})"
            ": neighbours along the first axis are no more alike than others. Set axes to one."
        )
    return axes


def perhaps_sequences(array: Any, axes: str) -> bool:
    """Whether an array that looks like frames may hold sequences of points in time instead.

    Then neighbours along the first axis differ as much as distant elements, and those along the
    second axis do not.
    """
    images = array.dtype.kind == "b" or array.dtype == np.uint8
    if images or min(array.shape[axes.index(axis)] for axis in "ty") < 2 * PLACES:
        return False
    return alikeness(array, axes.index("t")) > UNLIKE and alikeness(array, axes.index("y")) < ALIKE


def alikeness(array: Any, place: int) -> float:
    """Mean difference of neighbours along an axis, over that of distant elements."""
    length = array.shape[place]
    near: list[float] = []
    far: list[float] = []
    for number, start in enumerate(evenly(length - 1, 2 * PLACES)):
        for lag, found in ((1, near), (length * (2 + number % 5) // 13 + 1, far)):
            first = min(start, length - 1 - lag)
            parts = [slice(None)] * len(array.shape)
            parts[place] = slice(first, first + lag + 1, lag)
            pair = np.asarray(array[tuple(parts)], dtype=np.float64)
            steps = np.abs(np.diff(pair, axis=place))
            found.append(float(np.nan_to_num(steps, posinf=0.0, neginf=0.0).mean()))
    return float(np.sum(near) / np.sum(far)) if np.sum(far) > 0 else 0.0


def fitting_axes(
    array: Any, channels: int, space: tuple[int, ...], origin: str, *, alone: bool = False
) -> str | None:
    """Axes of an array whose frames have these channels and points; None if none fit.

    If several orders fit, `guessed_axes` chooses, else the most frequent one.
    """
    orders = [axes if len(space) > 1 else axes.replace("y", "") for axes in LAYOUTS]
    sizes = {"c": channels, **dict(zip("yx"[-len(space) :], space, strict=True))}
    fits = [
        axes
        for axes in orders
        if len(axes) == len(array.shape)
        and (channels == 1 or "c" in axes)
        and not (alone and "n" in axes)
        and all(sizes.get(a, size) == size for a, size in zip(axes, array.shape, strict=True))
    ]
    if len(fits) > 1 and min(array.shape[:2]) >= LOWEST:
        try:
            guess = guessed_axes(array, origin, alone=alone)
        except InputError:
            return fits[0]
        return guess if guess in fits else fits[0]
    return fits[0] if fits else None


def space_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Which axes are y and x: the last two, unless the ones before them fit better."""
    last = len(shape) - 1
    if last == 2:
        return (0, 1) if shape[0] == shape[1] != shape[2] else (1, 2)
    before = (last - 2, last - 1)
    few = shape[last] <= LOWEST and min(shape[p] for p in before) > FEW
    square = shape[last - 2] == shape[last - 1] != shape[last]
    if len(shape) == len(ORDER) and shape[1] == shape[2] != shape[3] and shape[4] <= FEW:
        return (1, 2)
    if few or (square and (len(shape) < len(ORDER) or shape[last] <= MOST_CHANNELS)):
        return before
    return (last - 1, last)


def time_and_other(
    array: Any, places: list[int], *, alone: bool, has_channels: bool
) -> tuple[str, str]:
    """Letters of two axes: one is time, the other sequences or channels."""
    first, second = places
    sizes = array.shape[first], array.shape[second]
    smooth = [roughness(array, place, other) for place, other in (places, places[::-1])]
    time_first = smooth[0] < ROUGHER * smooth[1]
    time_second = smooth[1] < ROUGHER * smooth[0]
    if min(sizes) < LOWEST:
        time_first, time_second = sizes[0] > sizes[1], sizes[1] > sizes[0]
    images = array.dtype.kind == "b" or array.dtype == np.uint8
    few = sizes[1] <= (LOWEST if images else FEW)
    if not time_first and not time_second:  # then sizes decide
        few = sizes[1] <= FEW
        time_first = not has_channels and (few or sizes[1] > FEW * sizes[0])
    if time_first:
        return ("t", "c" if (few or alone) and not has_channels else "n")
    colours = images and sizes[0] in COLOURS
    return ("c" if (colours or alone) and not has_channels else "n", "t")


def roughness(array: Any, place: int, other: int) -> float:
    """Mean difference of neighbours along an axis, at a few places of this and another axis."""
    found = []
    for along in evenly(array.shape[place] - 1, PLACES):
        for across in evenly(array.shape[other], PLACES):
            parts = [slice(None)] * len(array.shape)
            parts[place], parts[other] = slice(along, along + 2), slice(across, across + 1)
            pair = np.asarray(array[tuple(parts)], dtype=np.float64)
            steps = np.abs(np.diff(pair, axis=place))
            found.append(float(steps[np.isfinite(steps)].mean()) if np.isfinite(steps).any() else 0)
    return float(np.mean(found)) if found else 0.0


def evenly(count: int, most: int) -> list[int]:
    """At most `most` numbers below `count`, evenly spaced."""
    if count < 1:
        return []
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()
