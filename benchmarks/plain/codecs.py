"""Encoders and decoders of frames: DCGAN, VGG and multilayer, as functions of weights by name."""

from __future__ import annotations

from collections.abc import Iterator

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
    pooled = kernel(weights, next(units(weights, f"{name}.stages.0"))) == 3
    for stage in stages(weights, name):
        if pooled and maps:
            frames = functional.max_pool2d(frames, 2)
        for own in units(weights, stage):
            frames = convolve(weights, f"{own}.convolution", frames, 1 if pooled else 2, 1)
            frames = finish(weights, own, frames, training)
        maps.insert(0, frames)
    if f"{name}.head.0.weight" not in weights:
        return linear(weights, f"{name}.head.1", frames.flatten(1)), maps
    if frames.shape[-1] > weights[f"{name}.head.0.weight"].shape[-1]:
        frames = functional.max_pool2d(frames, 2)
    code = norm(weights, f"{name}.head.1", convolve(weights, f"{name}.head.0", frames), training)
    return torch.tanh(code).flatten(1), maps


def decode(
    weights: Weights,
    code: Tensor,
    maps: list[Tensor],
    *,
    training: bool = False,
    name: str = "decoder",
) -> Tensor:
    """Frames of codes that content and latent are joined in; values in [0, 1]."""
    return torch.sigmoid(logits(weights, code, maps, training=training, name=name))


def logits(
    weights: Weights, code: Tensor, maps: list[Tensor], *, training: bool, name: str
) -> Tensor:
    """Frames before the sigmoid."""
    if f"{name}.layers.0.weight" in weights:
        return layers(weights, f"{name}.layers", code)
    frames = transpose(weights, f"{name}.first.convolution", code[:, :, None, None])
    frames = finish(weights, f"{name}.first", frames, training)
    pooled = kernel(weights, next(units(weights, f"{name}.stages.0"))) == 3
    for index, stage in enumerate(stages(weights, name)):
        if pooled:
            frames = functional.interpolate(frames, scale_factor=2, mode="nearest")
        if maps:
            frames = torch.cat([frames, maps[index]], 1)
        for own in units(weights, stage):
            frames = decoding_unit(weights, own, frames, training)
    if f"{name}.last.convolution.weight" in weights:
        frames = decoding_unit(weights, f"{name}.last", frames, training)
    return frames


def decoding_unit(weights: Weights, name: str, frames: Tensor, training: bool) -> Tensor:
    """A convolution of a decoder; the last one of all has no normalisation, and nothing follows."""
    last, strided = f"{name}.norm.weight" not in weights, kernel(weights, name) == 4
    convolution = transpose if last or strided else convolve
    frames = convolution(weights, f"{name}.convolution", frames, 2 if strided else 1, 1)
    return frames if last else finish(weights, name, frames, training)


def stages(weights: Weights, name: str) -> Iterator[str]:
    """Names of the stages of a codec."""
    index = 0
    while any(True for _ in units(weights, f"{name}.stages.{index}")):
        yield f"{name}.stages.{index}"
        index += 1


def units(weights: Weights, stage: str) -> Iterator[str]:
    """Names of the convolutions of a stage, which may be one itself."""
    if f"{stage}.convolution.weight" in weights:
        yield stage
    index = 0
    while f"{stage}.{index}.convolution.weight" in weights:
        yield f"{stage}.{index}"
        index += 1


def kernel(weights: Weights, name: str) -> int:
    """Side of the kernel of a convolution."""
    return weights[f"{name}.convolution.weight"].shape[-1]
