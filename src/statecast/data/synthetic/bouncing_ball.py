"""Bouncing ball: a disc in a box, in black and white."""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.data.base import Split, horizons_of
from statecast.data.synthetic.generated_windows import GeneratedSource, GeneratedWindows
from statecast.errors import InputError
from statecast.frames import Batch
from statecast.nn.random import Streams, standard_normal, uniform

WALL = 2  # pixels from the border of a frame to the wall, as published
MARGIN = 4  # least distance from a wall to where the ball starts, as published
START_STD = 10 / 32  # of the start around the middle, in sides of a frame, as published


class BouncingBall(GeneratedSource):
    """A ball that moves at constant speed and bounces off the walls of a box, which is drawn.

    Pixels are 0 or 1. Sizes, speeds and start are those of Fraccaro et al. (2017),
    https://arxiv.org/abs/1710.05741, whose frames came from another renderer.

    Each window carries its latents: `position` and `velocity` (window, time, 1, 2) as (x, y) in
    pixels and pixels per frame.

    Args:
        context: frames observed.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests.
        validation_horizon: frames forecast in validation; by default as in training.
        frame_size: side of a frame in pixels.
        radius: radius of the ball in pixels.
        speeds: slowest and fastest speed in pixels per frame.
        test_videos: windows of the test split.
        validation_videos: windows of the validation split.
        epoch: windows counted as one epoch; the supply of windows is endless.
        seed: seed of validation and test windows.
    """

    def __init__(
        self,
        *,
        context: int = 4,
        horizon: int = 16,
        test_horizon: int = 16,
        validation_horizon: int | None = None,
        frame_size: int = 32,
        radius: float = 3.0,
        speeds: tuple[float, float] = (2.0, 3.0),
        test_videos: int = 1000,
        validation_videos: int = 128,
        epoch: int = 5000,
        seed: int = 42,
    ) -> None:
        self.context, self.frame_size, self.radius = context, frame_size, radius
        self.speeds, self.seed = tuple(speeds), seed
        self.horizons = horizons_of(context, horizon, test_horizon, validation_horizon)
        self.counts = {"train": epoch, "validation": validation_videos, "test": test_videos}
        if min(self.counts.values()) < 1 or not 0 < speeds[0] <= speeds[1]:
            raise InputError(
                "A bouncing ball needs at least 1 window in each split and positive speeds in "
                f"increasing order, got {self.counts} and {self.speeds}."
            )
        if radius <= 0 or self.room[0] + 1 >= self.room[1]:
            raise InputError(
                f"A ball of radius {radius:g} has no room to move in frames of {frame_size} "
                "pixels. Make radius smaller, or frame_size larger."
            )

    @property
    def room(self) -> tuple[float, float]:
        """Smallest and largest coordinate of the ball's centre."""
        return WALL + self.radius, self.frame_size - 1 - WALL - self.radius

    def windows(self, split: Split) -> BallWindows:
        return BallWindows(self, split)

    @property
    def card(self) -> dict[str, Any]:
        return self.card_of(
            "bouncing_ball",
            radius=self.radius,
            speeds=list(self.speeds),
        )

    def render(
        self, positions: Float[Tensor, "window time 2"]
    ) -> Float[Tensor, "window time 1 y x"]:
        """Frames with the box and the ball."""
        pixels = torch.arange(float(self.frame_size))
        x, y = (positions[..., axis, None] - pixels for axis in (0, 1))
        ball = torch.hypot(x.unsqueeze(-2), y.unsqueeze(-1)) <= self.radius
        wall = torch.zeros(self.frame_size, dtype=torch.bool)
        wall[[WALL, -1 - WALL]] = True
        inside = (pixels >= WALL) & (pixels < self.frame_size - WALL)
        box = (wall[:, None] & inside) | (inside[:, None] & wall)
        return (ball | box).float().unsqueeze(2)


class BallWindows(GeneratedWindows):
    """Windows of one split of `BouncingBall`."""

    def __init__(self, source: BouncingBall, split: Split) -> None:
        super().__init__(split, source.counts[split], source.seed, source.card)
        self.source, self.length = source, source.context + source.horizons[split]

    def make(self, streams: Streams) -> Batch:
        source, count = self.source, len(streams.generators)
        angle, share = uniform((count, 2), torch.zeros(1), streams).unbind(1)
        drawn = standard_normal((1, count, 2), torch.zeros(1), streams)[0]
        middle, (low, high) = (source.frame_size - 1) / 2, source.room
        margin = min(MARGIN, (high - low) / 2)
        start = (
            (middle + START_STD * source.frame_size * drawn)
            .clamp(low - source.radius + margin, high + source.radius - margin)
            .clamp(low, high)
        )
        slowest, fastest = source.speeds
        speed = slowest + (fastest - slowest) * share
        angle = 2 * math.pi * angle
        velocity = speed[:, None] * torch.stack([angle.cos(), angle.sin()], dim=1)
        times = torch.arange(float(self.length))[:, None]
        positions, signs = reflected(start[:, None] + velocity[:, None] * times, low, high)
        return Batch.of(
            source.render(positions),
            source.context,
            channels=source.spec.channels,
            latents={
                "position": positions.unsqueeze(2),
                "velocity": (signs * velocity[:, None]).unsqueeze(2),
            },
        )


def reflected(
    places: Float[Tensor, "*shape"], low: float, high: float
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """Places that a straight path would reach, reflected between two walls.

    Returns:
        The places, and 1 where motion has its first direction, −1 where it is reversed.
    """
    room = high - low
    turned = (places - low).remainder(2 * room)
    back = turned > room
    return low + torch.where(back, 2 * room - turned, turned), 1.0 - 2.0 * back
