"""The maps codec: 3×3 convolutions with codes on a grid, for fields such as sea temperature.

For 64×64 frames and codes on a 16×16 grid, it is that of Donà et al. (2021),
https://arxiv.org/abs/2008.01352; any sides divisible by 4 work. As published, batch normalisation
and a leaky rectifier follow the decoder's last convolution too.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import zip_longest
from typing import cast

from torch import Tensor, nn

from statecast.nn.blocks import ConvolutionUnit
from statecast.nn.codecs.base import Content, Decoder, DecoderOptions, grid_of
from statecast.nn.codecs.vgg import Block, PooledEncoder, unit
from statecast.nn.fast.convolution import Convolution

REDUCTION = 4
ENCODER_BLOCKS = ((1, 1), (2, 2), (4, 4, 4))  # widths, in units of the first
DECODER_BLOCKS = ((4, 4, 2), (2, 2, 1), (1,))
SKIP_BLOCKS = ((4, 4, 2), (2, 1, 1), (2, 1, 1), (1, 1))
SKIP_WIDTHS = (4, 2, 1)  # widths of the encoder's skip maps, coarse to fine
HALVINGS = 2


def code_grid(frame_shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of a code."""
    return grid_of(frame_shape, REDUCTION, "maps")


class MapsEncoder(PooledEncoder):
    """Blocks of two or three convolutions, with poolings between them; the code is a map."""

    def __init__(
        self, frame_shape: tuple[int, ...], code_size: int, *, width: int, bias: bool
    ) -> None:
        code_grid(frame_shape)
        widths = [[width * factor for factor in block] for block in ENCODER_BLOCKS]
        super().__init__(frame_shape[0], widths, bias=bias, pools_last=False)
        self.head = nn.Sequential(
            unit(widths[-1][-1], 8 * width, bias),
            unit(8 * width, code_size, bias),
            Convolution(code_size, code_size, 3, 1, 1, bias=bias),
        )


class MapsDecoder(Decoder):
    """Blocks from codes on a grid to frames; with skips, all but the first see a map."""

    def __init__(self, frame_shape: tuple[int, ...], options: DecoderOptions) -> None:
        super().__init__(options)
        code_grid(frame_shape)
        width, bias, skips = options.width, options.bias, options.skips
        self.largest_feature_map = width * math.prod(frame_shape[1:])
        channels = options.inputs
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
