"""Frames with gaps, placed on the grid of frame intervals."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, Frames
from statecast.models.argument_checks import shortened
from statecast.models.latents import TIME_TOLERANCE


class Grid(NamedTuple):
    """Places of some frames among consecutive ones."""

    first: int  # time of the first frame
    places: list[int]  # place of each frame, counted from the first
    length: int  # number of consecutive frames


def whole_frames(batch: Batch) -> Frames:
    """Context and target frames of a batch as one sequence each."""
    return Frames(
        values=batch.values,
        times=torch.cat([batch.context.times, batch.target.times]),
        channels=batch.context.channels,
        mask=batch.mask,
    )


def known_frames(frames: Frames) -> Bool[Tensor, "batch time"]:
    """Which frames of each sequence have any known value."""
    if frames.mask is None:
        return torch.ones(frames.values.shape[:2], dtype=torch.bool, device=frames.values.device)
    return frames.mask.flatten(2).any(dim=2)


def grid_of_times(times: Float[Tensor, " time"]) -> Grid:
    """The grid of consecutive frames that contains frames at increasing times.

    Errors:
        InputError: a time lies between frames, or two times fall on one frame.
    """
    whole = times.round()
    if bool(((times - whole).abs() > TIME_TOLERANCE).any()) or bool((whole.diff() < 1).any()):
        raise InputError(
            "This model works in whole frames only: times must be increasing whole numbers, "
            f" got {shortened(times)}."
        )
    numbers = [int(time) for time in whole.tolist()]
    places = [number - numbers[0] for number in numbers]
    return Grid(numbers[0], places, places[-1] + 1)


def spread(values: Float[Tensor, "batch time *shape"], grid: Grid, fill: float = 0.0) -> Tensor:
    """Values at their places among consecutive frames; `fill` (False for bool) elsewhere."""
    if len(grid.places) == grid.length:
        return values
    found = values.new_full((values.shape[0], grid.length, *values.shape[2:]), fill)
    found[:, grid.places] = values
    return found
