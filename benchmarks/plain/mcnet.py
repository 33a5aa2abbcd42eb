"""MCnet without its adversary: motion from differences of frames, content from the last frame."""

from __future__ import annotations

import torch
from plain.given import Given
from plain.layers import State, Weights, same
from plain.pixel_motion import conv_lstm
from torch import Tensor
from torch.nn import functional


def loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Squared errors of the target and differences of image gradients."""
    context, target = frames[:, : given.context], frames[:, given.context :]
    made = forecast(weights, context, target.shape[1], given)
    gradient = sum((edges(made, axis) - edges(target, axis)).abs().mean() for axis in (-1, -2))
    return 4 * (made - target).square().mean() + given.options.gradient_weight * gradient


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (window, time, …) after a context."""
    memory, maps = None, []
    for time in range(1, context.shape[1]):
        moved = context[:, time] - context[:, time - 1]
        memory, maps = remember(weights, moved, memory)
    frame, made = context[:, -1], []
    while True:
        content, still = pooled(weights, "content_encoder", 2 * frame - 1)
        made.append(decode(weights, memory[0], maps, content, still) / 2 + 0.5)
        if len(made) == horizon:
            return torch.stack(made, 1)
        memory, maps = remember(weights, made[-1] - frame, memory)
        frame = made[-1]


def edges(frames: Tensor, axis: int) -> Tensor:
    """Absolute differences of neighbours, of which zeros follow the last."""
    return frames.diff(dim=axis, append=torch.zeros_like(frames.narrow(axis, 0, 1))).abs()


def remember(weights: Weights, moved: Tensor, memory: State | None) -> tuple[State, list[Tensor]]:
    """The memory after a difference of frames, and the maps of it."""
    features, maps = pooled(weights, "motion_encoder", moved)
    return conv_lstm(weights, "memory", features, memory), maps


def pooled(weights: Weights, name: str, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Features of images, and the maps of each stage before pooling."""
    maps: list[Tensor] = []
    while f"{name}.stages.{len(maps)}.0.weight" in weights:
        maps.append(convolutions(weights, f"{name}.stages.{len(maps)}", images).relu())
        images = functional.max_pool2d(maps[-1], 2)
    return images, maps


def convolutions(weights: Weights, name: str, maps: Tensor) -> Tensor:
    """Convolutions with rectifiers in between."""
    index = 0
    while f"{name}.{index}.weight" in weights:
        maps = same(weights, f"{name}.{index}", maps.relu() if index else maps)
        index += 2
    return maps


def decode(
    weights: Weights, hidden: Tensor, motion: list[Tensor], content: Tensor, still: list[Tensor]
) -> Tensor:
    """A frame in [−1, 1]."""
    both = torch.cat([hidden, content], 1)
    found = convolutions(weights, "decoder.combination", both).relu()
    for stage in range(len(motion)):
        level = len(motion) - 1 - stage
        pair = torch.cat([motion[level], still[level]], 1)
        added = convolutions(weights, f"decoder.residuals.{level}", pair)
        found = torch.relu(unpool(found) + added)
        found = convolutions(weights, f"decoder.stages.{stage}", found)
        found = found.relu() if level else found
    return found


def unpool(maps: Tensor) -> Tensor:
    """Twice the sides, with each value in a corner of zeros."""
    found = maps.new_zeros(*maps.shape[:2], 2 * maps.shape[2], 2 * maps.shape[3])
    found[:, :, ::2, ::2] = maps
    return found
