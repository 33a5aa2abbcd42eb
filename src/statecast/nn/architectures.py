"""Codecs by name: builds the encoder or decoder that a recipe asks for."""

from __future__ import annotations

import math
from typing import Literal

from statecast.errors import InputError
from statecast.nn.codecs import (
    Decoder,
    Encoder,
    Head,
    Mixing,
    MultilayerDecoder,
    MultilayerEncoder,
    Output,
)
from statecast.nn.dcgan import REDUCTION, DCGANDecoder, DCGANEncoder
from statecast.nn.vgg import VGGDecoder, VGGEncoder

Architecture = Literal["auto", "dcgan", "vgg", "mlp"]

SMALL_GRID = 1024  # points: up to so many, `auto` is the multilayer codec
HIDDEN = 16  # hidden units of the multilayer codec per channel of a convolutional one, with `auto`


def suited(space: tuple[int, ...]) -> Architecture:
    """The codec that `auto` stands for: `mlp` for points and small grids, else `dcgan`."""
    return "mlp" if len(space) == 1 or math.prod(space) <= SMALL_GRID else "dcgan"


def multiple_for(space: tuple[int, ...]) -> int:
    """What the sides of a grid must be a multiple of, for the codec that suits it."""
    return REDUCTION if suited(space) == "dcgan" else 1


def encoder_of(
    architecture: Architecture,
    frame_shape: tuple[int, ...],
    code_size: int,
    *,
    width: int,
    layers: int,
    bias: bool,
    head: Head,
) -> Encoder:
    """An encoder of inputs (channel, *space).

    Args:
        architecture: `dcgan` or `vgg` for images, `mlp` for points and small grids; `auto` for
            the one of `dcgan` and `mlp` that suits the grid, the latter with 16 · width hidden
            units.
        frame_shape: shape of one input.
        code_size: size of the code.
        width: channels of the first convolution; hidden units of a multilayer codec.
        layers: linear layers of a multilayer codec.
        bias: whether convolutions have a bias.
        head: how the code leaves the encoder.
    """
    if architecture == "auto":
        architecture = suited(frame_shape[1:])
        width *= HIDDEN if architecture == "mlp" else 1
    if architecture == "mlp":
        return MultilayerEncoder(frame_shape, code_size, width=width, layers=layers, head=head)
    kind = DCGANEncoder if architecture == "dcgan" else VGGEncoder
    return kind(frame_shape, code_size, width=width, bias=bias, head=head)


def decoder_of(
    architecture: Architecture,
    frame_shape: tuple[int, ...],
    content_size: int,
    latent_size: int,
    *,
    width: int,
    layers: int,
    bias: bool,
    skips: bool,
    output: Output,
    mixing: Mixing,
) -> Decoder:
    """A decoder to frames (channel, *space); arguments as `encoder_of`.

    Errors:
        InputError: skips for the multilayer codec, which has no maps to skip with.
    """
    if architecture == "auto":
        architecture = suited(frame_shape[1:])
        width *= HIDDEN if architecture == "mlp" else 1
    if architecture == "mlp":
        if skips:
            raise InputError("The mlp codec has no maps to skip with. Set skips: false.")
        return MultilayerDecoder(
            frame_shape,
            content_size,
            latent_size,
            width=width,
            layers=layers,
            output=output,
            mixing=mixing,
        )
    kind = DCGANDecoder if architecture == "dcgan" else VGGDecoder
    return kind(
        frame_shape,
        content_size,
        latent_size,
        width=width,
        bias=bias,
        skips=skips,
        output=output,
        mixing=mixing,
    )
