"""PKnl of 2019: a U-net finds the motion of the last frame, which a bilinear warp follows."""

from __future__ import annotations

import torch
from plain.given import Given
from plain.layers import Weights, norm, same
from torch import Tensor
from torch.nn import functional


def loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Squared errors, and penalties of the motion."""
    options, horizon = given.options, frames.shape[1] - given.context
    total = frames.new_zeros(())
    window = frames[:, : given.context]
    for time in range(horizon):
        frame, motion = move(weights, window, training=True)
        u, v = motion.unbind(1)
        divergence = u.diff(dim=2)[:, :-1] + v.diff(dim=1)[:, :, :-1]
        smoothness = sum(motion.diff(dim=axis).square().mean((0, 2, 3)).sum() for axis in (2, 3))
        total = (
            total
            + (frame - frames[:, given.context + time]).square().mean()
            + options.smoothness_weight * smoothness
            + options.divergence_weight * divergence.square().mean()
            + options.magnitude_weight * motion.square().mean()
        )
        window = torch.cat([window[:, 1:], frame[:, None]], 1)
    return total / horizon


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (window, time, …) after a context."""
    made = []
    for _ in range(horizon):
        made.append(move(weights, context, training=False)[0])
        context = torch.cat([context[:, 1:], made[-1][:, None]], 1)
    return torch.stack(made, 1)


def move(weights: Weights, window: Tensor, *, training: bool) -> tuple[Tensor, Tensor]:
    """The next frame, and the motion that leads to it."""
    motion = estimate(weights, window.flatten(1, 2), training)
    height, width = motion.shape[2:]
    y = torch.linspace(-1, 1, height, device=motion.device)[:, None].expand(height, width)
    x = torch.linspace(-1, 1, width, device=motion.device).expand(height, width)
    grid = (torch.stack([x, y]) - motion).permute(0, 2, 3, 1)
    return functional.grid_sample(window[:, -1], grid, align_corners=True), motion


def estimate(weights: Weights, inputs: Tensor, training: bool) -> Tensor:
    """The U-net."""
    maps, level = [inputs], 0
    while f"estimator.encoder.{level}.0.0.weight" in weights:
        found, own, index = maps[-1], f"estimator.encoder.{level}", 0
        while f"{own}.{index}.0.weight" in weights:
            found = same(weights, f"{own}.{index}.0", found, 1 if index else 2)
            found, index = norm(weights, f"{own}.{index}.1", found, training).relu(), index + 1
        maps.append(found)
        level += 1
    found = maps.pop()
    for stage in range(level):
        found = functional.interpolate(found, scale_factor=2, mode="bilinear", align_corners=False)
        found = same(weights, f"estimator.decoder.{stage}.convolution", found).relu()
        found = torch.cat([maps.pop(), found], 1)
    return same(weights, "estimator.head", found)
