"""Encoders and decoders of PhyDNet, between frames and feature maps of its two branches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.models.phydnet.cells import group_norm
from statecast.nn.blocks import LEAK
from statecast.nn.fast.convolution import Convolution
from statecast.nn.fast.transposed import UpsamplingConvolution

REDUCTION = 4  # factor by which the sides of a frame are reduced


class Branches(NamedTuple):
    """Feature maps of both branches, and skip maps of the input frames."""

    physical: Float[Tensor, "row channel y x"]
    residual: Float[Tensor, "row channel y x"]
    skips: tuple[Tensor, ...]  # fine to coarse; empty for a codec without skips

    def rows(self, rows: slice) -> Branches:
        """The chosen rows."""
        skips = tuple(skip[rows] for skip in self.skips)
        return Branches(self.physical[rows], self.residual[rows], skips)


class BranchCodec(nn.Module, ABC):
    """Codec from frames to the inputs of two branches, and from their states to frames."""

    @abstractmethod
    def encode(self, frames: Float[Tensor, "row channel height width"]) -> Branches:
        """The inputs of both branches."""

    @abstractmethod
    def branch_maps(self, states: Branches) -> tuple[Tensor, Tensor]:
        """Maps (row, channel, y, x) of the physical and of the residual state, to be added."""

    @abstractmethod
    def decode(
        self, maps: Float[Tensor, "row channel y x"], skips: tuple[Tensor, ...]
    ) -> Float[Tensor, "row channel height width"]:
        """Frames before the output function, from maps of one branch or from their sum."""


class SeparateCodec(BranchCodec):
    """A shared encoder and decoder, with an encoder and a decoder for each branch; no skips.

    Args:
        channels: channels of a frame.
        width: channels of the first convolutions.
        state_channels: channels of the feature maps.
        groups: groups of the normalisation in every layer.
    """

    def __init__(self, channels: int, width: int, state_channels: int, groups: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            down(channels, width, 2, groups),
            down(width, width, 1, groups),
            down(width, state_channels, 2, groups),
        )

        def pair(stage: Callable[[int, int, int, int], nn.Sequential]) -> nn.Sequential:
            return nn.Sequential(
                *(stage(state_channels, state_channels, 1, groups) for _ in range(2))
            )

        self.physical_encoder, self.residual_encoder = pair(down), pair(down)
        self.physical_decoder, self.residual_decoder = pair(up), pair(up)
        self.decoder = nn.Sequential(
            up(state_channels, width, 2, groups),
            up(width, width, 1, groups),
            UpsamplingConvolution(width, channels, 3, stride=2, cut=1),
        )

    def encode(self, frames: Float[Tensor, "row channel height width"]) -> Branches:
        maps = self.encoder(frames)
        return Branches(self.physical_encoder(maps), self.residual_encoder(maps), ())

    def branch_maps(self, states: Branches) -> tuple[Tensor, Tensor]:
        return self.physical_decoder(states.physical), self.residual_decoder(states.residual)

    def decode(
        self, maps: Float[Tensor, "row channel y x"], skips: tuple[Tensor, ...]
    ) -> Float[Tensor, "row channel height width"]:
        return self.decoder(maps)


class SkipCodec(BranchCodec):
    """One encoder and decoder for both branches, with skip maps from the input frame.

    Args:
        channels: channels of a frame.
        width: channels of the second convolution; the first has half as many.
        state_channels: channels of the feature maps.
        groups: groups of the normalisation in every layer.
    """

    def __init__(self, channels: int, width: int, state_channels: int, groups: int) -> None:
        super().__init__()
        half, double, deep = width // 2, 2 * width, state_channels
        self.encoder = nn.ModuleList(
            down(*sizes, groups)
            for sizes in (
                (channels, half, 1), (half, width, 1), (width, double, 2),
                (double, double, 1), (double, deep, 2), (deep, deep, 1),
            )
        )  # fmt: skip
        self.decoder = nn.ModuleList(
            up(2 * before, after, stride, groups)
            for before, after, stride in (
                (deep, deep, 1), (deep, double, 2), (double, double, 1), (double, width, 2),
                (width, half, 1),
            )
        )  # fmt: skip
        self.decoder.append(UpsamplingConvolution(2 * half, channels, 3, stride=1, cut=1))

    def encode(self, frames: Float[Tensor, "row channel height width"]) -> Branches:
        maps, skips = frames, []
        for stage in self.encoder:
            maps = stage(maps)
            skips.append(maps)
        return Branches(maps, maps, tuple(skips))

    def branch_maps(self, states: Branches) -> tuple[Tensor, Tensor]:
        return states.physical, states.residual

    def decode(
        self, maps: Float[Tensor, "row channel y x"], skips: tuple[Tensor, ...]
    ) -> Float[Tensor, "row channel height width"]:
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            maps = stage(torch.cat([maps, skip], dim=1))
        return maps


def down(inputs: int, outputs: int, stride: int, groups: int) -> nn.Sequential:
    """A 3×3 convolution that divides the sides by `stride`, normalised and rectified."""
    return normalised(Convolution(inputs, outputs, 3, stride, 1), groups)


def up(inputs: int, outputs: int, stride: int, groups: int) -> nn.Sequential:
    """A 3×3 transposed convolution that multiplies the sides by `stride`, normalised, rectified."""
    layer = UpsamplingConvolution(inputs, outputs, 3, stride=stride, cut=1)
    return normalised(layer, groups)


def normalised(layer: nn.Conv2d | nn.ConvTranspose2d, groups: int) -> nn.Sequential:
    """A convolution, group normalisation and a leaky rectifier."""
    norm = group_norm(groups, layer.out_channels)
    return nn.Sequential(layer, norm, nn.LeakyReLU(LEAK, inplace=True))
