"""Encoders and decoders of frames: DCGAN, VGG and multilayer, as functions of weights by name."""

from __future__ import annotations

import torch
from plain.layers import Weights, convolve, finish, layers, linear, norm, transpose
from torch import Tensor
from torch.nn import functional


def encode(
    weights: Weights, name: str, frames: Tensor, *, training: bool = False
) -> tuple[Tensor, list[Tensor]]:
    """Codes of frames, and their maps from coarse to fine."""
    if f"{name}.layers.0.weight" in weights:
        return layers(weights, f"{name}.layers", frames.flatten(1)), []
    maps: list[Tensor] = []
    vgg = f"{name}.stages.0.0.convolution.weight" in weights
    for stage in range(4):
        own = f"{name}.stages.{stage}"
        if vgg:
            frames = functional.max_pool2d(frames, 2) if maps else frames
            frames = block(weights, own, frames, training)
        else:
            frames = convolve(weights, f"{own}.convolution", frames, 2, 1)
            frames = finish(weights, own, frames, training)
        maps.insert(0, frames)
    if f"{name}.head.0.weight" not in weights:
        return linear(weights, f"{name}.head.1", frames.flatten(1)), maps
    if vgg:
        frames = functional.max_pool2d(frames, 2)
    code = norm(weights, f"{name}.head.1", convolve(weights, f"{name}.head.0", frames), training)
    return torch.tanh(code).flatten(1), maps


def decode(weights: Weights, code: Tensor, maps: list[Tensor], *, training: bool = False) -> Tensor:
    """Frames of codes that content and latent are joined in; values in [0, 1]."""
    if "decoder.layers.0.weight" in weights:
        return torch.sigmoid(layers(weights, "decoder.layers", code))
    frames = transpose(weights, "decoder.first.convolution", code[:, :, None, None])
    frames = finish(weights, "decoder.first", frames, training)
    vgg = "decoder.last.convolution.weight" in weights
    for stage in range(4):
        own = f"decoder.stages.{stage}"
        if vgg:
            frames = functional.interpolate(frames, scale_factor=2, mode="nearest")
        if maps:
            frames = torch.cat([frames, maps[stage]], 1)
        if vgg:
            frames = block(weights, own, frames, training)
        else:
            frames = transpose(weights, f"{own}.convolution", frames, 2, 1)
            frames = finish(weights, own, frames, training) if stage < 3 else frames
    if vgg:
        frames = transpose(weights, "decoder.last.convolution", frames, 1, 1)
    return torch.sigmoid(frames)


def block(weights: Weights, name: str, frames: Tensor, training: bool) -> Tensor:
    """3×3 convolutions in a row."""
    index = 0
    while f"{name}.{index}.convolution.weight" in weights:
        own = f"{name}.{index}"
        frames = convolve(weights, f"{own}.convolution", frames, 1, 1)
        frames = finish(weights, own, frames, training)
        index += 1
    return frames
