"""Networks of MCnet: encoders of motion and content, a memory, a decoder with residuals."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.nn.conv_lstm import ConvLSTMState
from statecast.nn.fast.convolution import Convolution
from statecast.nn.st_lstm import remember

LEVELS = 3  # number of poolings
MOTION_KERNELS = (5, 5, 7)


class Features(NamedTuple):
    """An encoder's features of an image."""

    coarse: Float[Tensor, "many channel y x"]  # sides are an eighth of the image's
    maps: tuple[Float[Tensor, "many channel y x"], ...]  # before each pooling, fine to coarse


def rectified(*layers: nn.Module) -> nn.Sequential:
    """Layers with a rectifier after each."""
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))


def convolution(inputs: int, outputs: int, kernel: int = 3) -> Convolution:
    """A convolution that keeps the size of maps."""
    return Convolution(inputs, outputs, kernel, padding=kernel // 2)


class PooledEncoder(nn.Module):
    """Stages of convolutions, each followed by maximum pooling over 2×2 pixels."""

    def __init__(self, *stages: nn.Sequential) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)

    def forward(self, images: Float[Tensor, "many channel y x"]) -> Features:
        """The coarsest map, and the map of each stage."""
        maps = []
        for stage in self.stages:
            maps.append(stage(images))
            images = nn.functional.max_pool2d(maps[-1], 2)
        return Features(images, tuple(maps))


def motion_encoder(channels: int, width: int) -> PooledEncoder:
    """Encoder of frame differences, with one convolution per stage."""
    sizes = [channels, *(width * 2**level for level in range(LEVELS))]
    return PooledEncoder(
        *(
            rectified(convolution(sizes[level], sizes[level + 1], MOTION_KERNELS[level]))
            for level in range(LEVELS)
        )
    )


def content_encoder(channels: int, width: int) -> PooledEncoder:
    """Encoder of a frame, with two convolutions per stage, three in the last."""
    sizes = [channels, *(width * 2**level for level in range(LEVELS))]
    stages = []
    for level in range(LEVELS):
        before, after = sizes[level], sizes[level + 1]
        repeated = [convolution(after, after) for _ in range(2 if level == LEVELS - 1 else 1)]
        stages.append(rectified(convolution(before, after), *repeated))
    return PooledEncoder(*stages)


class MotionMemory(nn.Module):
    """A convolutional LSTM of one layer, with gates in the order i, g, f, o."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = convolution(2 * channels, 4 * channels)

    def forward(
        self, inputs: Float[Tensor, "row channel y x"], memory: ConvLSTMState | None
    ) -> ConvLSTMState:
        """The next state; without a memory, from zeros."""
        if memory is None:
            zeros = torch.zeros_like(inputs)
            memory = ConvLSTMState(zeros, zeros)
        i, g, f, o = self.gates(torch.cat([inputs, memory.hidden], dim=1)).chunk(4, dim=1)
        cell = remember(memory.cell, i, f, g)
        return ConvLSTMState(torch.sigmoid(o) * torch.tanh(cell), cell)


class Decoder(nn.Module):
    """Join motion and content, and unpool to a frame, with residuals from both encoders' maps."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        fine, middle, coarse = (width * 2**level for level in range(LEVELS))
        self.combination = rectified(
            convolution(2 * coarse, coarse),
            convolution(coarse, middle),
            convolution(middle, coarse),
        )
        self.residuals = nn.ModuleList(  # fine to coarse, as the maps
            nn.Sequential(convolution(2 * size, size), nn.ReLU(), convolution(size, size))
            for size in (fine, middle, coarse)
        )
        self.stages = nn.ModuleList(  # coarse to fine
            [
                rectified(
                    convolution(coarse, coarse),
                    convolution(coarse, coarse),
                    convolution(coarse, middle),
                ),
                rectified(convolution(middle, middle), convolution(middle, fine)),
                nn.Sequential(convolution(fine, fine), nn.ReLU(), convolution(fine, channels)),
            ]
        )

    def forward(
        self,
        hidden: Float[Tensor, "row channel y x"],
        motion: tuple[Tensor, ...],
        content: Features,
    ) -> Float[Tensor, "row channel height width"]:
        """Frames before the output function, from the motion memory and both encoders' maps."""
        found = self.combination(torch.cat([hidden, content.coarse], dim=1))
        pairs = list(zip(self.residuals, motion, content.maps, strict=True))
        for stage, (residual, moving, still) in zip(self.stages, reversed(pairs), strict=True):
            added = residual(torch.cat([moving, still], dim=1))
            found = stage(torch.relu(unpool(found) + added))
        return found


def unpool(maps: Float[Tensor, "many channel y x"]) -> Float[Tensor, "many channel 2y 2x"]:
    """Maps of twice the sides: each value becomes the top left of 2×2 pixels, the rest 0."""
    many, channels, height, width = maps.shape
    found = maps.new_zeros(many, channels, 2 * height, 2 * width)
    found[:, :, ::2, ::2] = maps
    return found
