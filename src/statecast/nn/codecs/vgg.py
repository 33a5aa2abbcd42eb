"""The VGG codec: blocks of 3×3 convolutions between poolings.

Sizes as in Franceschi et al. (2020), https://arxiv.org/abs/2002.09219, for 64×64 frames. Sides of
64 and more are halved four times and must be divisible by 16; smaller frames are halved three
times and must be divisible by 8, as in the published variant for 32×32.
"""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor, nn

from statecast.nn.blocks import ConvolutionUnit
from statecast.nn.codecs.base import (
    Content,
    ConvolutionalDecoder,
    Encoder,
    Encoding,
    Head,
    Mixing,
    Output,
    grid_of,
    mixed_size,
)
from statecast.nn.codecs.dcgan import encoder_head

ENCODER_BLOCKS = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8))  # widths, in units of the first
DECODER_BLOCKS = ((8, 8, 4), (4, 4, 2), (2, 1), (1,))
SMALL = 64  # frames with a smaller side are halved three times, not four


def reduction_of(frame_shape: tuple[int, ...]) -> int:
    """Factor by which the codec reduces the sides of a frame."""
    return 16 if min(frame_shape[1:]) >= SMALL else 8


def unit(before: int, after: int, bias: bool) -> ConvolutionUnit:
    """A 3×3 convolution that keeps the size."""
    return ConvolutionUnit(nn.Conv2d(before, after, 3, 1, 1, bias=bias))


class Block(nn.Sequential):
    """Convolution units in a row; the first may take maps that a sequence's frames share."""

    @property
    def first(self) -> ConvolutionUnit:
        """The first of them."""
        return cast("ConvolutionUnit", self[0])

    def forward(
        self, frames: Tensor, once: Tensor | None = None, *, shared_first: bool = False
    ) -> Tensor:
        """Apply the units; `once` is what the first one's `convolve_shared` gave."""
        _, *rest = self
        frames = self.first.with_shared(frames, once, shared_first=shared_first)
        for layer in rest:
            frames = layer(frames)
        return frames


class VGGEncoder(Encoder):
    """Four blocks of two or three 3×3 convolutions, halved in between."""

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        code_size: int,
        *,
        width: int,
        bias: bool,
        head: Head,
    ) -> None:
        super().__init__()
        self.reduction = reduction_of(frame_shape)
        grid = grid_of(frame_shape, self.reduction, "vgg", reduction_of=reduction_of)
        channels = frame_shape[0]
        self.stages = nn.ModuleList()
        for factors in ENCODER_BLOCKS:
            block = Block()
            for factor in factors:
                block.append(unit(channels, width * factor, bias))
                channels = width * factor
            self.stages.append(block)
        # The published VGG encoders end without a linear layer in both papers.
        head = "tanh" if head == "tanh" else "normalised"
        self.head = encoder_head(channels, grid, code_size, head=head, bias=bias)

    def forward(self, frames: Tensor) -> Encoding:
        maps: list[Tensor] = []
        for stage in self.stages:
            if maps:
                frames = nn.functional.max_pool2d(frames, 2)
            frames = self.stage(stage, frames)
            maps.append(frames)
        if self.reduction == 16:
            frames = nn.functional.max_pool2d(frames, 2)
        return Encoding(self.head(frames).flatten(1), tuple(reversed(maps)))


class VGGDecoder(ConvolutionalDecoder):
    """The mirror of the encoder; with skips, each block sees the encoder's map of its size."""

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
        self.reduction = reduction_of(frame_shape)
        grid = grid_of(frame_shape, self.reduction, "vgg", reduction_of=reduction_of)
        self.output, self.mixing, self.skips = output, mixing, skips
        self.largest_feature_map = width * math.prod(frame_shape[1:])
        inputs = mixed_size(content_size, latent_size, mixing)
        channels = 8 * width
        self.first = ConvolutionUnit(nn.ConvTranspose2d(inputs, channels, grid, bias=bias))
        self.stages = nn.ModuleList()
        for factors in DECODER_BLOCKS:
            block = Block()
            for index, factor in enumerate(factors):
                before = channels * 2 if skips and index == 0 else channels
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
