"""Encoder and decoder of SVG, with strided (DCGAN) or pooled (VGG) convolutions, and skips.

Sizes are those of Denton and Fergus (2018), https://arxiv.org/abs/1802.07687, for frames of 64×64
and 128×128. Each convolution has a bias; each but the last has batch normalisation.
"""

from __future__ import annotations

import math
from itertools import repeat
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.nn.activation_checkpointing import Staged
from statecast.nn.blocks import ConvolutionUnit
from statecast.nn.codecs.base import Encoding, Output, grid_of
from statecast.nn.codecs.dcgan import encoder_head
from statecast.nn.codecs.vgg import Block, unit
from statecast.nn.gaussian import widened

Backbone = Literal["dcgan", "vgg"]
Maps = tuple[Tensor, ...]  # one map of each stage, from coarse to fine
LARGE = 128  # frames with sides of at least this are halved five times, others four times
WIDTHS: dict[Backbone, tuple[tuple[int, ...], ...]] = {  # by stage, in units of the first
    "dcgan": ((1,), (2,), (4,), (8,), (8,)),
    "vgg": ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8)),
}


def widths_of(backbone: Backbone, frame_shape: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Widths of the convolutions of each stage of the encoder, in units of the first."""
    return WIDTHS[backbone][: 5 if min(frame_shape[1:]) >= LARGE else 4]


def coarsest_grid(backbone: Backbone, frame_shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the coarsest map.

    Errors:
        InputError: frames are points, or a side cannot be halved often enough; names the nearest
            size that can.
    """

    def reduction_of(shape: tuple[int, ...]) -> int:
        return int(2 ** len(widths_of(backbone, shape)))

    return grid_of(frame_shape, reduction_of(frame_shape), backbone, reduction_of=reduction_of)


class SkipEncoder(Staged):
    """Stages of convolutions that each halve the frame, then a kernel over the coarsest map."""

    def __init__(
        self, frame_shape: tuple[int, ...], code_size: int, *, backbone: Backbone, width: int
    ) -> None:
        super().__init__()
        self.pools = backbone == "vgg"
        self.stages = nn.ModuleList()
        channels = frame_shape[0]
        for factors in widths_of(backbone, frame_shape):
            block = Block()
            for factor in factors:
                after = width * factor
                strided = nn.Conv2d(channels, after, 4, 2, 1)
                block.append(
                    unit(channels, after, True) if self.pools else ConvolutionUnit(strided)
                )
                channels = after
            self.stages.append(block)
        grid = coarsest_grid(backbone, frame_shape)
        self.head = encoder_head(channels, grid, code_size, head="tanh", bias=True)

    def forward(self, frames: Float[Tensor, "many channel y x"]) -> Encoding:
        """Code and skip maps of each frame."""
        maps: list[Tensor] = []
        for stage in self.stages:
            if self.pools and maps:
                frames = nn.functional.max_pool2d(frames, 2)
            frames = self.stage(stage, frames)
            maps.append(frames)
        if self.pools:
            frames = nn.functional.max_pool2d(frames, 2)
        return Encoding(self.head(frames).flatten(1), tuple(reversed(maps)))


class SkipDecoder(Staged):
    """The mirror of the encoder; with skips, each stage sees the encoder's map of its size."""

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        code_size: int,
        *,
        backbone: Backbone,
        width: int,
        output: Output,
        skips: bool = True,
    ) -> None:
        super().__init__()
        self.pools, self.output = backbone == "vgg", output
        # The last map before the frame has half its sides; in VGG, the full sides.
        largest = width if self.pools else max(width // 4, frame_shape[0])
        self.largest_feature_map = largest * math.prod(frame_shape[1:])
        widths = widths_of(backbone, frame_shape)
        channels = width * widths[-1][-1]
        grid = coarsest_grid(backbone, frame_shape)
        self.first = ConvolutionUnit(nn.ConvTranspose2d(code_size, channels, grid))
        self.stages = nn.ModuleList()
        for finer, factors in zip((None, *widths), widths, strict=False):
            block = Block()
            channels = (2 if skips else 1) * width * factors[-1]
            for factor in factors[:-1]:
                block.append(unit(channels, width * factor, True))
                channels = width * factor
            last = frame_shape[0] if finer is None else width * finer[-1]
            block.append(self.last_unit(channels, last, norm=finer is not None))
            self.stages.insert(0, block)

    def last_unit(self, before: int, after: int, *, norm: bool) -> ConvolutionUnit:
        """The last unit of a stage; without `norm`, the one that gives the frame."""
        if self.pools and norm:
            return unit(before, after, True)
        kernel = (3, 1, 1) if self.pools else (4, 2, 1)
        convolution = nn.ConvTranspose2d(before, after, *kernel)
        return ConvolutionUnit(convolution, norm=norm, rectify=norm)

    def convolve_skips(self, skips: Maps) -> Maps:
        """Contribution of skip maps to the first convolution of each stage, for any codes."""
        return tuple(
            cast("Block", stage).first.convolve_shared(maps, first=False)
            for stage, maps in zip(self.stages, skips, strict=bool(skips))
        )

    def forward(
        self, skips: Maps, codes: Float[Tensor, "few many code"]
    ) -> Float[Tensor, "few many channel y x"]:
        """Decode many codes with each set of skip maps, as from `convolve_skips`, or without."""
        frames = self.first(codes.flatten(0, 1)[..., None, None])
        for stage, once in zip(self.stages, skips or repeat(None), strict=False):
            if self.pools:
                frames = nn.functional.interpolate(frames, scale_factor=2, mode="nearest")
            frames = self.stage(stage, frames, once)
        if self.output == "sigmoid":
            frames = torch.sigmoid(frames)
        return frames.unflatten(0, codes.shape[:2])


def unfolded(encoding: Encoding, shape: tuple[int, ...]) -> Encoding:
    """An encoding of many frames, reshaped to (batch, many, …)."""
    code = widened(encoding.code).unflatten(0, shape)
    return Encoding(code, tuple(skip.unflatten(0, shape) for skip in encoding.skips))


def stacked(encodings: list[Encoding]) -> Encoding:
    """Encodings (batch, …) of several frames, stacked to (batch, many, …)."""
    code = torch.stack([widened(encoding.code) for encoding in encodings], dim=1)
    skips = zip(*(encoding.skips for encoding in encodings), strict=True)
    return Encoding(code, tuple(torch.stack(maps, dim=1) for maps in skips))
