"""Forks: a ball goes left or right, with a probability that its brightness shows."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from statecast.data.base import Split, horizons_of
from statecast.data.known_future import TwoWays
from statecast.data.synthetic.generated_windows import GeneratedSource, GeneratedWindows
from statecast.errors import InputError
from statecast.frames import Batch
from statecast.nn.random import Streams, uniform

DARKEST = 0.3  # brightness of the darkest ball; the brightest one is white
LATEST = 3.0  # frames after the last observed one in which the ball reaches the fork
RADIUS = 0.1  # of the ball, in shares of a frame's side
SIDES = ("left", "right")


class Forks(GeneratedSource):
    r"""A ball that falls to the middle of a frame, and goes left or right from there.

    The probability of going right grows linearly with the ball's brightness, and the context shows
    everything else. So the law of the future is known: two videos, with probabilities p and
    1 − p. Forecasts can be compared with this law, and not only with one outcome.

    Each window carries its latents: `position` (window, time, 1, 2) as (x, y) in pixels,
    `brightness`, `probability` of going right, and `side` (window, 1): 0 for left, 1 for right.

    Args:
        context: frames observed, all before the fork.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests.
        validation_horizon: frames forecast in validation; by default as in training.
        frame_size: side of a frame in pixels.
        probabilities: of going right, for the darkest and for the brightest ball.
        test_videos: windows of the test split.
        validation_videos: windows of the validation split.
        epoch: windows counted as one epoch; the supply of windows is endless.
        seed: seed of validation and test windows.
    """

    def __init__(
        self,
        *,
        context: int = 5,
        horizon: int = 10,
        test_horizon: int = 10,
        validation_horizon: int | None = None,
        frame_size: int = 32,
        probabilities: tuple[float, float] = (0.1, 0.9),
        test_videos: int = 500,
        validation_videos: int = 128,
        epoch: int = 500_000,
        seed: int = 42,
    ) -> None:
        self.context, self.frame_size, self.seed = context, frame_size, seed
        self.probabilities = tuple(probabilities)
        self.horizons = horizons_of(context, horizon, test_horizon, validation_horizon)
        self.counts = {"train": epoch, "validation": validation_videos, "test": test_videos}
        if min(self.counts.values()) < 1 or frame_size < 16:
            raise InputError(
                "Forks need at least 1 window in each split and frames of at least 16 pixels, got "
                f"{self.counts} and {frame_size}."
            )
        if not all(0 < probability < 1 for probability in self.probabilities):
            raise InputError(f"Probabilities must lie within (0, 1), got {self.probabilities}.")
        if min(self.horizons.values()) <= LATEST:
            raise InputError(
                f"Horizons must be longer than {LATEST:g} frames, so that the ball has turned at "
                f"the end, got {self.horizons}."
            )

    def windows(self, split: Split) -> ForkWindows:
        return ForkWindows(self, split)

    @property
    def card(self) -> dict[str, Any]:
        return self.card_of(
            "forks",
            probabilities=list(self.probabilities),
        )

    def positions(
        self, lead: Float[Tensor, " window"], side: Float[Tensor, " window"], length: int
    ) -> Float[Tensor, "window time 2"]:
        """Centres (x, y) of balls in pixels.

        Args:
            lead: time of the fork, in frames after the last observed one.
            side: −1 for left, 1 for right.
            length: frames, from the first observed one on.
        """
        radius, middle = RADIUS * self.frame_size, (self.frame_size - 1) / 2
        speed = (middle - radius) / (self.context + LATEST)
        after = torch.arange(1.0 - self.context, 1.0 - self.context + length) - lead[:, None]
        y = middle + speed * after.clamp(max=0)
        way = (speed * after.clamp(min=0)).clamp(max=middle - radius)
        return torch.stack([middle + side[:, None] * way, y], dim=2)

    def render(
        self, positions: Float[Tensor, "window time 2"], brightness: Float[Tensor, " window"]
    ) -> Float[Tensor, "window time 1 y x"]:
        """Frames of balls, with edges one pixel wide."""
        pixels = torch.arange(float(self.frame_size))
        x, y = (positions[..., axis, None] - pixels for axis in (0, 1))
        distance = torch.hypot(x.unsqueeze(-2), y.unsqueeze(-1))
        inside = (RADIUS * self.frame_size + 0.5 - distance).clamp(0, 1)
        return (brightness[:, None, None, None] * inside).unsqueeze(2)

    def probability(self, brightness: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Probability of going right."""
        low, high = self.probabilities
        return low + (high - low) * (brightness - DARKEST) / (1 - DARKEST)


class ForkWindows(GeneratedWindows, TwoWays):
    """Windows of one split of `Forks`."""

    modes = SIDES

    def __init__(self, source: Forks, split: Split) -> None:
        super().__init__(split, source.counts[split], source.seed, source.card)
        self.source, self.length = source, source.context + source.horizons[split]

    def make(self, streams: Streams) -> Batch:
        source, count = self.source, len(streams.generators)
        lead, shade, outcome = uniform((count, 3), torch.zeros(1), streams).unbind(1)
        lead, brightness = LATEST * lead, DARKEST + (1 - DARKEST) * shade
        probability = source.probability(brightness)
        right = outcome < probability
        positions = source.positions(lead, 2.0 * right - 1, self.length)
        return Batch.of(
            source.render(positions, brightness),
            source.context,
            channels=source.spec.channels,
            latents={
                "position": positions.unsqueeze(2),
                "brightness": brightness,
                "probability": probability,
                "side": right.long()[:, None],
            },
        )

    def futures(self, indices: Tensor) -> Float[Tensor, "mode window time 1 y x"]:
        """Target frames of each side."""
        source, latents = self.source, self.batch(indices).latents
        brightness, true = latents["brightness"], latents["position"][:, :, 0]
        middle = (source.frame_size - 1) / 2
        away = (true[..., :1] - middle).abs()
        ways = [
            source.render(torch.cat([middle + side * away, true[..., 1:]], dim=2), brightness)
            for side in (-1, 1)
        ]
        return torch.stack(ways)[:, :, source.context :]

    def mode_probabilities(self, indices: Tensor) -> Float[Tensor, "window mode"]:
        probability = self.batch(indices).latents["probability"]
        return torch.stack([1 - probability, probability], dim=1)

    def modes_of(self, frames: Float[Tensor, "*batch time channel y x"]) -> Int[Tensor, "*batch"]:
        """The side that is brighter in the last frame."""
        last = frames[..., -1, :, :, :].sum(dim=(-3, -2))
        half = last.shape[-1] // 2
        return (last[..., -half:].sum(dim=-1) > last[..., :half].sum(dim=-1)).long()
