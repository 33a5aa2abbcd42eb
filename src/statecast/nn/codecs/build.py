"""Build the encoder and decoder that a recipe names."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from statecast.errors import InputError
from statecast.nn.codecs.base import (
    Decoder,
    DecoderOptions,
    Encoder,
    Head,
    MultilayerDecoder,
    MultilayerEncoder,
    grid_of,
)
from statecast.nn.codecs.dcgan import REDUCTION, DCGANDecoder, DCGANEncoder
from statecast.nn.codecs.grid import MapsDecoder, MapsEncoder, code_grid
from statecast.nn.codecs.resnet import ResNetEncoder
from statecast.nn.codecs.vgg import VGGDecoder, VGGEncoder

Architecture = Literal["auto", "dcgan", "vgg", "resnet", "mlp", "maps"]
WITHOUT_SKIPS = {
    "mlp": "has no maps for skip connections",
    "resnet": "has no maps of the sizes that its decoder needs",
}

SMALL_GRID = 1024  # largest number of points for which `auto` is the multilayer codec
HIDDEN = 16  # with `auto`, hidden units of the multilayer codec per channel of a convolutional one


def suited(space: tuple[int, ...]) -> Architecture:
    """The codec that `auto` chooses: `mlp` for points and small grids, else `dcgan`."""
    return "mlp" if len(space) == 1 or math.prod(space) <= SMALL_GRID else "dcgan"


def multiple_for(space: tuple[int, ...]) -> int:
    """Number that must divide the sides of a grid, for the codec that suits it."""
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
            `maps` for fields whose code is a map. `auto` chooses between `dcgan` and `mlp` by the
            grid; `mlp` then has 16 · width hidden units.
        frame_shape: shape of one input.
        code_size: size of the code; number of channels if it is a map.
        width: channels of the first convolution; hidden units of a multilayer codec.
        layers: linear layers of a multilayer codec.
        bias: whether convolutions have a bias.
        head: last layer of the encoder; codes that are maps have none.
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
    architecture: Architecture, frame_shape: tuple[int, ...], options: DecoderOptions
) -> Decoder:
    """A decoder to frames (channel, *space); `architecture` as for `encoder_of`.

    For `resnet`, it is the DCGAN decoder, as published.

    Errors:
        InputError: skips for a codec without maps for them.
    """
    if architecture == "auto":
        architecture = suited(frame_shape[1:])
        if architecture == "mlp":
            options = replace(options, width=options.width * HIDDEN)
    if options.skips and architecture in WITHOUT_SKIPS:
        reason = WITHOUT_SKIPS[architecture]
        raise InputError(f"The {architecture} codec {reason}. Set skips: false.")
    if architecture == "resnet":
        grid_of(frame_shape, REDUCTION, architecture)
    kinds: dict[str, type[MultilayerDecoder | DCGANDecoder | VGGDecoder | MapsDecoder]] = {
        "mlp": MultilayerDecoder,
        "vgg": VGGDecoder,
        "maps": MapsDecoder,
    }
    return kinds.get(architecture, DCGANDecoder)(frame_shape, options)


def code_shape(
    architecture: Architecture, frame_shape: tuple[int, ...], code_size: int
) -> tuple[int, ...]:
    """Shape of a code: (size,), or (size, y, x) if it is a map."""
    return (code_size, *(code_grid(frame_shape) if architecture == "maps" else ()))


def check_pair(
    encoder: Architecture,
    decoder: Architecture,
    *,
    skips: bool,
    encoder_width: int,
    decoder_width: int,
) -> None:
    """Raise `InputError` unless the decoder can use the encoder's codes and maps."""
    if encoder != decoder and "maps" in (encoder, decoder):
        raise InputError(
            f"Codes are maps in the maps codec and vectors in others: {encoder} and {decoder} "
            "cannot be combined. Leave decoder_architecture out."
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
