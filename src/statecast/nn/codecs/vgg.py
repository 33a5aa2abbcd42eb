"""The VGG codec: blocks of 3×3 convolutions between poolings.

For 64×64 frames, sizes are those of Franceschi et al. (2020), https://arxiv.org/abs/2002.09219.
Frames with sides of at least 64 are halved four times, and sides must be divisible by 16; smaller
frames are halved three times, as in the published variant for 32×32, with sides divisible by 8.
"""

from __future__ import annotations

import math
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
from statecast.nn.codecs.dcgan import encoder_head

ENCODER_BLOCKS = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8))  # widths, in units of the first
DECODER_BLOCKS = ((8, 8, 4), (4, 4, 2), (2, 1), (1,))
SMALL = 64  # frames with a side below this are halved three times, others four


def reduction_of(frame_shape: tuple[int, ...]) -> int:
    """Factor by which the codec reduces the sides of a frame."""
    return 16 if min(frame_shape[1:]) >= SMALL else 8


def unit(before: int, after: int, bias: bool) -> ConvolutionUnit:
    """A 3×3 convolution that keeps the size."""
    return ConvolutionUnit(nn.Conv2d(before, after, 3, 1, 1, bias=bias))


class Block(nn.Sequential):
    """A sequence of convolution units; the first may have shared maps as a second input."""

    @property
    def first(self) -> ConvolutionUnit:
        """The first unit."""
        return cast("ConvolutionUnit", self[0])

    def forward(
        self, frames: Tensor, once: Tensor | None = None, *, shared_first: bool = False
    ) -> Tensor:
        """Apply the units; `once` is the output of `convolve_shared` of the first one."""
        _, *rest = self
        frames = self.first.with_shared(frames, once, shared_first=shared_first)
        for layer in rest:
            frames = layer(frames)
        return frames


class PooledEncoder(Encoder):
    """Blocks of 3×3 convolutions with poolings between them, then a head.

    Args:
        channels: channels of a frame.
        widths: channels of the convolutions of each block.
        bias: whether convolutions have a bias.
        pools_last: whether a pooling follows the last block.
    """

    head: nn.Sequential

    def __init__(
        self, channels: int, widths: list[list[int]], *, bias: bool, pools_last: bool
    ) -> None:
        super().__init__()
        self.pools_last, self.stages = pools_last, nn.ModuleList()
        for sizes in widths:
            pairs = pairwise([channels, *sizes])
            self.stages.append(Block(*(unit(before, after, bias) for before, after in pairs)))
            channels = sizes[-1]

    def forward(self, frames: Tensor) -> Encoding:
        maps: list[Tensor] = []
        for stage in self.stages:
            if maps:
                frames = nn.functional.max_pool2d(frames, 2)
            frames = self.stage(stage, frames)
            maps.append(frames)
        if self.pools_last:
            frames = nn.functional.max_pool2d(frames, 2)
        return Encoding(self.head(frames), tuple(reversed(maps)))


class VGGEncoder(PooledEncoder):
    """Four blocks of two or three 3×3 convolutions, with poolings between them."""

    def __init__(
        self, frame_shape: tuple[int, ...], code_size: int, *, width: int, bias: bool, head: Head
    ) -> None:
        reduction = reduction_of(frame_shape)
        grid = grid_of(frame_shape, reduction, "vgg", reduction_of=reduction_of)
        widths = [[width * factor for factor in block] for block in ENCODER_BLOCKS]
        super().__init__(frame_shape[0], widths, bias=bias, pools_last=reduction == 16)
        # Neither published VGG encoder ends in a linear layer.
        head = "tanh" if head == "tanh" else "normalised"
        self.head = encoder_head(widths[-1][-1], grid, code_size, head=head, bias=bias)
        self.head.append(nn.Flatten())


class VGGDecoder(ConvolutionalDecoder):
    """The mirror of the encoder; with skips, each block sees the encoder's map of its size."""

    def __init__(self, frame_shape: tuple[int, ...], options: DecoderOptions) -> None:
        super().__init__(options)
        self.reduction = reduction_of(frame_shape)
        grid = grid_of(frame_shape, self.reduction, "vgg", reduction_of=reduction_of)
        width, bias = options.width, options.bias
        self.largest_feature_map = width * math.prod(frame_shape[1:])
        channels = 8 * width
        self.first = ConvolutionUnit(nn.ConvTranspose2d(options.inputs, channels, grid, bias=bias))
        self.stages = nn.ModuleList()
        for factors in DECODER_BLOCKS:
            block = Block()
            for index, factor in enumerate(factors):
                before = channels * 2 if self.skips and index == 0 else channels
                block.append(unit(before, width * factor, bias))
                channels = width * factor
            self.stages.append(block)
        last = nn.ConvTranspose2d(channels, frame_shape[0], 3, 1, 1, bias=bias)
        self.last = ConvolutionUnit(last, norm=False, rectify=False)

    def skip_units(self) -> list[ConvolutionUnit]:
        return [cast("Block", stage).first for stage in self.stages]

    def decode(self, content: Content, latents: Tensor) -> Tensor:
        frames = self.coarsest(content, latents)
        for index, (stage, once) in enumerate(
            zip(self.stages, content.precomputed[1:], strict=True)
        ):
            if index > 0 or self.reduction == 16:
                frames = nn.functional.interpolate(frames, scale_factor=2, mode="nearest")
            frames = self.stage(stage, frames, once)
        return self.last(frames)
