"""Squares that move in a square frame and bounce off its walls at the exact point of contact."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

ROUNDING = 1e-9  # pixels; an object that passes a wall by less touches it
Array = np.ndarray[Any, np.dtype[Any]]


class Trajectories(NamedTuple):
    """Positions and velocities of many objects, in pixels and pixels per frame.

    The position is that of the top left corner; the last axis is (x, y), x along columns.
    """

    positions: Array  # (time, object, 2)
    velocities: Array  # (time, object, 2)


def trajectories(
    count: int,
    length: int,
    *,
    room: int,
    max_speed: int,
    stochastic: bool,
    standing: bool = True,
    generator: torch.Generator,
) -> Trajectories:
    """Random starts and speeds, and the motion that follows.

    Args:
        count: number of objects.
        length: number of frames.
        room: largest coordinate of an object: the side of the frame less that of the object.
        max_speed: largest speed along each axis; speeds are whole numbers, and may be 0.
        stochastic: whether a bounce draws a new speed; otherwise it reflects the old one.
        standing: whether both speeds of an object may be 0, as published.
        generator: source of starts, speeds and new speeds.

    Rule: Franceschi et al. (2020), https://arxiv.org/abs/2002.09219, appendix.
    """
    starts = whole_numbers((count, 2), 0, room, generator)

    def draw() -> Array:
        if standing:
            return whole_numbers((count, 2), -max_speed, max_speed, generator)
        return moving_speeds(count, max_speed, generator)

    return move(starts, draw(), length, room=room, draw=draw if stochastic else None)


def move(starts: Array, speeds: Array, length: int, *, room: int, draw: Any = None) -> Trajectories:
    """Follow objects (object, 2) for `length` frames, the first one at their starts.

    Args:
        starts: first positions.
        speeds: first velocities.
        length: number of frames.
        room: largest coordinate; the smallest is 0.
        draw: returns new speeds for all objects; those that bounce take theirs, turned away from
            the wall. None reflects the old speeds.
    """
    position, velocity = starts.astype(np.float64), speeds.astype(np.float64)
    positions, velocities = [position], [velocity]
    for _ in range(length - 1):
        position, velocity = step(position, velocity, room, draw)
        positions.append(position)
        velocities.append(velocity)
    return Trajectories(np.stack(positions), np.stack(velocities))


def step(position: Array, velocity: Array, room: int, draw: Any) -> tuple[Array, Array]:
    """Move for one frame: straight to the next wall, bounce, and on for the rest of the frame."""
    left = np.ones(len(position))
    while True:
        aim = position + velocity * left[:, None]
        # A wall that is just touched at the end of a frame is bounced off in the next one.
        outside = (aim < -ROUNDING) | (aim > room + ROUNDING)
        if not outside.any():
            return aim.clip(0, room), velocity
        # Time to each wall that would be crossed; the first counts, or both in a corner.
        wall = np.where(aim < 0, 0.0, float(room))
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(outside, (wall - position) / velocity, np.inf)
        first = times.min(axis=1)
        hit = outside & (times == first[:, None])
        moving = np.minimum(first, left)
        position = np.where(hit, wall, position + velocity * moving[:, None])
        left = left - moving
        fresh = -velocity if draw is None else draw()
        bounced = hit.any(axis=1, keepdims=True)
        away = np.where(wall == 0, np.abs(fresh), -np.abs(fresh))
        kept = velocity if draw is None else np.where(bounced, fresh, velocity)
        velocity = np.where(hit, away, kept)


def moving_speeds(count: int, max_speed: int, generator: torch.Generator) -> Array:
    """Speeds (object, 2) in whole numbers; all pairs except (0, 0) are equally likely."""
    across = 2 * max_speed + 1
    pair = whole_numbers((count,), 0, across**2 - 2, generator)
    pair = pair + (pair >= across**2 // 2)  # the pair in the middle is left out
    return np.stack([pair // across, pair % across], axis=1) - max_speed


def whole_numbers(shape: tuple[int, ...], low: int, high: int, generator: torch.Generator) -> Array:
    """Whole numbers from `low` to `high`, both included."""
    drawn: Array = torch.randint(low, high + 1, shape, generator=generator).numpy()
    return drawn.astype(np.float64)
