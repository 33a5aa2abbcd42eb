"""The codec of maps: 3×3 convolutions whose codes keep a grid, for fields such as sea temperature.

As in Donà et al. (2021), https://arxiv.org/abs/2008.01352, for 64×64 frames and codes on a 16×16
grid; any sides divisible by 4 work. As published, the decoder's last convolution too is followed
by batch normalisation and a leaky rectifier.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import zip_longest
from typing import cast

from torch import Tensor, nn

from statecast.nn.blocks import ConvolutionUnit
from statecast.nn.codecs.base import (
    Content,
    Decoder,
    Encoder,
    Encoding,
    Mixing,
    Output,
    grid_of,
    mixed_size,
)
from statecast.nn.codecs.vgg import Block, unit
from statecast.nn.fast.convolution import Convolution

REDUCTION = 4
ENCODER_BLOCKS = ((1, 1), (2, 2), (4, 4, 4))  # widths, in units of the first
DECODER_BLOCKS = ((4, 4, 2), (2, 2, 1), (1,))
SKIP_BLOCKS = ((4, 4, 2), (2, 1, 1), (2, 1, 1), (1, 1))
SKIP_WIDTHS = (4, 2, 1)  # of the maps that the encoder passes on, coarse to fine
HALVINGS = 2


def code_grid(frame_shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a code."""
    return grid_of(frame_shape, REDUCTION, "maps")


class MapsEncoder(Encoder):
    """Blocks of two or three convolutions, halved in between; the code is a map."""

    def __init__(
        self, frame_shape: tuple[int, ...], code_size: int, *, width: int, bias: bool
    ) -> None:
        super().__init__()
        code_grid(frame_shape)
        channels = frame_shape[0]
        self.stages = nn.ModuleList()
        for factors in ENCODER_BLOCKS:
            block = Block()
            for factor in factors:
                block.append(unit(channels, width * factor, bias))
                channels = width * factor
            self.stages.append(block)
        self.head = nn.Sequential(
            unit(channels, 8 * width, bias),
            unit(8 * width, code_size, bias),
            Convolution(code_size, code_size, 3, 1, 1, bias=bias),
        )

    def forward(self, frames: Tensor) -> Encoding:
        maps: list[Tensor] = []
        for stage in self.stages:
            if maps:
                frames = nn.functional.max_pool2d(frames, 2)
            frames = self.stage(stage, frames)
            maps.append(frames)
        return Encoding(self.head(frames), tuple(reversed(maps)))


class MapsDecoder(Decoder):
    """From codes on a grid to frames; with skips, each block but the first sees a map."""

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        content_size: int,
        latent_size: int,
        *,
        width: int,
        bias: bool,
        skips: bool,
        output: Output,
        mixing: Mixing,
    ) -> None:
        super().__init__()
        code_grid(frame_shape)
        self.output, self.mixing, self.skips = output, mixing, skips
        self.largest_feature_map = width * math.prod(frame_shape[1:])
        channels = mixed_size(content_size, latent_size, mixing)
        blocks = SKIP_BLOCKS if skips else DECODER_BLOCKS
        self.stages = nn.ModuleList()
        for index, factors in enumerate(blocks):
            if skips and index > 0:
                channels += width * SKIP_WIDTHS[index - 1]
            block = Block()
            for factor in factors:
                block.append(unit(channels, width * factor, bias))
                channels = width * factor
            if index == len(blocks) - 1:
                block.append(unit(channels, frame_shape[0], bias))
            self.stages.append(block)

    def shared_maps(self, content: Content) -> list[tuple[ConvolutionUnit, Tensor | None, bool]]:
        code = content.code if self.mixing == "concat" else None
        maps = (code, *content.skips) if self.skips else (code,)
        units = [cast("Block", stage).first for stage in self.stages]
        return [(unit, found, True) for unit, found in zip_longest(units, maps)]

    def decode(self, content: Content, latents: Tensor) -> Tensor:
        frames, _ = self.mix(content, latents)
        for index, (stage, once) in enumerate(zip(self.stages, content.precomputed, strict=True)):
            if index >= len(self.stages) - HALVINGS:
                frames = nn.functional.interpolate(frames, scale_factor=2, mode="nearest")
            frames = self.stage(partial(stage, shared_first=True), frames, once)
        return frames
