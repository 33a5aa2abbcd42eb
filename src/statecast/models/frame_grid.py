"""Frames that come with gaps, on the grid of their frame intervals."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, Frames
from statecast.models.base import shortened
from statecast.models.latents import TIME_TOLERANCE


class Grid(NamedTuple):
    """Where frames lie among consecutive ones."""

    first: int  # time of the first frame
    places: list[int]  # of each frame, counted from the first
    length: int


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
    """Consecutive frames that hold those of increasing times.

    Errors:
        InputError: a time between frames, or two of one frame.
    """
    whole = times.round()
    if bool(((times - whole).abs() > TIME_TOLERANCE).any()) or bool((whole.diff() < 1).any()):
        raise InputError(
            "This model knows whole frames only: times of frames must be increasing whole "
            f"numbers, got {shortened(times)}."
        )
    numbers = [int(time) for time in whole.tolist()]
    places = [number - numbers[0] for number in numbers]
    return Grid(numbers[0], places, places[-1] + 1)


def spread(values: Float[Tensor, "batch time *shape"], grid: Grid, fill: float = 0.0) -> Tensor:
    """Values at their places among consecutive frames; `fill`, or False, at the others."""
    if len(grid.places) == grid.length:
        return values
    found = values.new_full((values.shape[0], grid.length, *values.shape[2:]), fill)
    found[:, grid.places] = values
    return found
