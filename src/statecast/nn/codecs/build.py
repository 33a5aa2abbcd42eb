"""Codecs by name: builds the encoder or decoder that a recipe asks for."""

from __future__ import annotations

import math
from typing import Literal

from statecast.errors import InputError
from statecast.nn.codecs.base import (
    Decoder,
    Encoder,
    Head,
    Mixing,
    MultilayerDecoder,
    MultilayerEncoder,
    Output,
    grid_of,
)
from statecast.nn.codecs.dcgan import REDUCTION, DCGANDecoder, DCGANEncoder
from statecast.nn.codecs.grid import MapsDecoder, MapsEncoder, code_grid
from statecast.nn.codecs.resnet import ResNetEncoder
from statecast.nn.codecs.vgg import VGGDecoder, VGGEncoder

Architecture = Literal["auto", "dcgan", "vgg", "resnet", "mlp", "maps"]
WITHOUT_SKIPS = {
    "mlp": "has no maps to skip with",
    "resnet": "has no maps of the sizes that its decoder makes",
}

SMALL_GRID = 1024  # points, up to which `auto` is the multilayer codec
HIDDEN = 16  # hidden units of the multilayer codec per channel of a convolutional one, with `auto`


def suited(space: tuple[int, ...]) -> Architecture:
    """The codec that `auto` chooses: `mlp` for points and small grids, else `dcgan`."""
    return "mlp" if len(space) == 1 or math.prod(space) <= SMALL_GRID else "dcgan"


def multiple_for(space: tuple[int, ...]) -> int:
    """Number that the sides of a grid must be multiples of, for the codec that suits it."""
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
        architecture: `dcgan`, `vgg` or `resnet` for images, `mlp` for points and small grids,
            `maps` for fields whose code is a map; `auto` for whichever of `dcgan` and `mlp`
            suits the grid, the latter with 16 · width hidden units.
        frame_shape: shape of one input.
        code_size: size of the code; channels of it where it is a map.
        width: channels of the first convolution; hidden units of a multilayer codec.
        layers: linear layers of a multilayer codec.
        bias: whether convolutions have a bias.
        head: how the code leaves the encoder; a map leaves it as it is.
    """
    if architecture == "auto":
        architecture = suited(frame_shape[1:])
        width *= HIDDEN if architecture == "mlp" else 1
    if architecture == "mlp":
        return MultilayerEncoder(frame_shape, code_size, width=width, layers=layers, head=head)
    if architecture == "maps":
        return MapsEncoder(frame_shape, code_size, width=width, bias=bias)
    if architecture == "resnet":
        return ResNetEncoder(frame_shape, code_size, width=width, bias=bias, head=head)
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

    For `resnet` it is the DCGAN decoder, as published.

    Errors:
        InputError: skips for a codec that has no maps to skip with.
    """
    if architecture == "auto":
        architecture = suited(frame_shape[1:])
        width *= HIDDEN if architecture == "mlp" else 1
    if skips and architecture in WITHOUT_SKIPS:
        reason = WITHOUT_SKIPS[architecture]
        raise InputError(f"The {architecture} codec {reason}. Set skips: false.")
    if architecture == "mlp":
        return MultilayerDecoder(
            frame_shape,
            content_size,
            latent_size,
            width=width,
            layers=layers,
            output=output,
            mixing=mixing,
        )
    if architecture == "resnet":
        grid_of(frame_shape, REDUCTION, architecture)
    kinds: dict[str, type[DCGANDecoder | VGGDecoder | MapsDecoder]] = {
        "vgg": VGGDecoder,
        "maps": MapsDecoder,
    }
    return kinds.get(architecture, DCGANDecoder)(
        frame_shape,
        content_size,
        latent_size,
        width=width,
        bias=bias,
        skips=skips,
        output=output,
        mixing=mixing,
    )


def code_shape(
    architecture: Architecture, frame_shape: tuple[int, ...], code_size: int
) -> tuple[int, ...]:
    """Shape of a code: (size,), or (size, y, x) where it is a map."""
    return (code_size, *(code_grid(frame_shape) if architecture == "maps" else ()))


def check_pair(
    encoder: Architecture,
    decoder: Architecture,
    *,
    skips: bool,
    encoder_width: int,
    decoder_width: int,
) -> None:
    """Raise `InputError` for an encoder whose codes or maps the decoder cannot take."""
    if encoder != decoder and "maps" in (encoder, decoder):
        raise InputError(
            f"Codes of the maps codec are maps, others vectors: {encoder} and {decoder} do not "
            "fit. Leave decoder_architecture out."
        )
    if not skips:
        return
    if encoder != decoder:
        raise InputError(
            f"Maps of a {encoder} encoder do not fit a {decoder} decoder. Set skips: false, or "
            "leave decoder_architecture out."
        )
    if encoder_width != decoder_width:
        raise InputError(
            "Skips need encoder_width and decoder_width to be equal, got "
            f"{encoder_width} and {decoder_width}."
        )
