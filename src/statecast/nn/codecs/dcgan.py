"""The DCGAN codec: strided convolutions with widths of 1, 2, 4 and 8 times the first.

For 64×64 frames, sizes are those of Franceschi et al. (2020), https://arxiv.org/abs/2002.09219. Any
size divisible by 16 works; the kernel at the code is as large as the coarsest map.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from statecast.nn.blocks import ConvolutionUnit
from statecast.nn.codecs.base import (
    Content,
    ConvolutionalDecoder,
    DecoderOptions,
    Encoder,
    Encoding,
    Head,
    grid_of,
)
from statecast.nn.fast.convolution import Convolution

REDUCTION = 16
WIDTHS = (1, 2, 4, 8)


class DCGANEncoder(Encoder):
    """Four strided 4×4 convolutions, then a kernel or linear layer over the coarsest map."""

    def __init__(
        self, frame_shape: tuple[int, ...], code_size: int, *, width: int, bias: bool, head: Head
    ) -> None:
        super().__init__()
        grid = grid_of(frame_shape, REDUCTION, "dcgan")
        sizes = [frame_shape[0], *[width * factor for factor in WIDTHS]]
        self.stages = nn.ModuleList(
            # The first stage has no batch normalisation.
            ConvolutionUnit(nn.Conv2d(before, after, 4, 2, 1, bias=bias), norm=index > 0)
            for index, (before, after) in enumerate(pairwise(sizes))
        )
        self.head = encoder_head(sizes[-1], grid, code_size, head=head, bias=bias)

    def forward(self, frames: Tensor) -> Encoding:
        maps = []
        for stage in self.stages:
            frames = self.stage(stage, frames)
            maps.append(frames)
        return Encoding(self.head(frames).flatten(1), tuple(reversed(maps)))


class DCGANDecoder(ConvolutionalDecoder):
    """The mirror of the encoder; with skips, each stage sees the encoder's map of its size."""

    def __init__(self, frame_shape: tuple[int, ...], options: DecoderOptions) -> None:
        super().__init__(options)
        grid = grid_of(frame_shape, REDUCTION, "dcgan")
        width, bias = options.width, options.bias
        self.largest_feature_map = max(width, 4 * frame_shape[0]) * math.prod(frame_shape[1:]) // 4
        sizes = [width * factor for factor in reversed(WIDTHS)]
        double = 2 if options.skips else 1
        self.first = ConvolutionUnit(nn.ConvTranspose2d(options.inputs, sizes[0], grid, bias=bias))
        stages = [
            ConvolutionUnit(nn.ConvTranspose2d(before * double, after, 4, 2, 1, bias=bias))
            for before, after in pairwise(sizes)
        ]
        last = nn.ConvTranspose2d(sizes[-1] * double, frame_shape[0], 4, 2, 1, bias=bias)
        self.stages = nn.ModuleList([*stages, ConvolutionUnit(last, norm=False, rectify=False)])

    def skip_units(self) -> list[ConvolutionUnit]:
        return [cast("ConvolutionUnit", stage) for stage in self.stages]

    def decode(self, content: Content, latents: Tensor) -> Tensor:
        frames = self.coarsest(content, latents)
        for stage, once in zip(self.skip_units(), content.precomputed[1:], strict=True):
            frames = self.stage(partial(stage.with_shared, shared_first=False), frames, once)
        return frames


def encoder_head(
    channels: int, grid: tuple[int, int], code_size: int, *, head: Head, bias: bool
) -> nn.Sequential:
    """Layers from the coarsest map to the code: a kernel of its size, or a linear layer."""
    if head == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * grid[0] * grid[1], code_size))
    layers = [Convolution(channels, code_size, grid, bias=bias), nn.BatchNorm2d(code_size)]
    return nn.Sequential(*layers, *([nn.Tanh()] if head == "tanh" else []))
