"""Published names of our tensors, as pairs of prefixes for each module."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from statecast.errors import InputError
from statecast.models.base import Forecaster
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.nn.blocks import MapLayers
from statecast.nn.codecs.base import MultilayerDecoder, MultilayerEncoder
from statecast.nn.codecs.dcgan import DCGANDecoder, DCGANEncoder
from statecast.nn.codecs.grid import MapsDecoder, MapsEncoder
from statecast.nn.codecs.resnet import ResidualUnit, ResNetEncoder
from statecast.nn.codecs.vgg import VGGDecoder, VGGEncoder

Pair = tuple[str, str]  # ours, published


def published_names(model: Forecaster) -> dict[str, str]:
    """The published name of each of a model's tensors, except the normaliser's.

    Errors:
        InputError: the published layouts cannot hold a tensor, or the model.
    """
    if isinstance(model, SRVP):
        pairs = srvp_names(model)
    elif isinstance(model, Separable):
        pairs = separable_names(model)
    else:
        raise InputError(f"There is no published layout for {type(model).__name__}.")
    own = [name for name in model.state_dict() if not name.startswith("normaliser.")]
    return {name: published_name(name, pairs) for name in own}


def published_name(name: str, pairs: list[Pair]) -> str:
    """The published name of one of our tensors."""
    for ours, theirs in pairs:
        if name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    raise InputError(f"The published layout cannot hold {name}.")


def srvp_names(model: SRVP) -> list[Pair]:
    """Prefixes of an SRVP state dict."""
    pairs = [
        *encoder_names("encoder", "encoder", model.encoder, "last_conv"),
        *decoder_names("decoder", "decoder", model.decoder),
        ("content_of_frame.0", "w_proj.0"),
        ("content_of_sum.0", "w_inf.0"),
        *multilayer_names("initial", "q_y.module", model.initial),
        *multilayer_names("transition.velocity", "dynamics.module", model.transition.velocity),
    ]
    if model.prior is not None:
        pairs += [
            ("lstm", "inf_z"),
            ("posterior", "q_z"),
            *multilayer_names("prior", "p_z.module", model.prior),
        ]
    return pairs


def separable_names(model: Separable) -> list[Pair]:
    """Prefixes of the four published modules; each begins with the name of its file."""
    pairs = [
        *encoder_names("dynamics_encoder", "ov_Et", model.dynamics_encoder, "last_op"),
        *decoder_names("decoder", "decoder", model.decoder),
    ]
    if model.content_encoder is not None:
        pairs += encoder_names("content_encoder", "ov_Es", model.content_encoder, "last_op")
    for index, block in enumerate(model.dynamics_blocks):
        ours = f"dynamics_blocks.{index}"
        if isinstance(block, MapLayers):
            for layer in range(len(block)):
                name = f"t_resnet.resblock_modules.{index}.conv.{layer}"
                pairs += unit_names(f"{ours}.{layer}", name)
        else:
            pairs += multilayer_names(ours, f"t_resnet.blocks.{index}.mlp.module", block)
    return pairs


def multilayer_names(ours: str, theirs: str, layers: object) -> Iterator[Pair]:
    """Linear layers; in the published layout, all but the first come after their activation."""
    assert isinstance(layers, nn.Sequential)
    for index in range((len(layers) + 1) // 2):
        yield f"{ours}.{2 * index}", f"{theirs}.{index}.{0 if index == 0 else 1}"


def unit_names(ours: str, theirs: str) -> list[Pair]:
    """A convolution and its normalisation."""
    return [(f"{ours}.convolution", f"{theirs}.0"), (f"{ours}.norm", f"{theirs}.1")]


def encoder_names(ours: str, theirs: str, encoder: nn.Module, head: str) -> list[Pair]:
    """Parts of an encoder; `head` is the published name of its last part."""
    if isinstance(encoder, MultilayerEncoder):
        return list(multilayer_names(f"{ours}.layers", f"{theirs}.mlp.module", encoder.layers))
    if isinstance(encoder, ResNetEncoder):
        return resnet_names(ours, theirs, encoder)
    if isinstance(encoder, MapsEncoder):
        return maps_encoder_names(ours, theirs, encoder)
    pairs: list[Pair] = []
    if isinstance(encoder, DCGANEncoder):
        for stage in range(len(encoder.stages)):
            pairs += unit_names(f"{ours}.stages.{stage}", f"{theirs}.conv.{stage}")
        if isinstance(encoder.head[1], nn.Linear):
            return [*pairs, (f"{ours}.head.1", f"{theirs}.{head}.1")]
        before = f"{theirs}.{head}"
    else:
        assert isinstance(encoder, VGGEncoder)
        for stage, block in enumerate(encoder.stages):
            # Published blocks begin with pooling.
            first = 0 if stage == 0 else 1
            pairs += block_names(f"{ours}.stages.{stage}", f"{theirs}.conv.{stage}", block, first)
        before = f"{theirs}.{head}.1"
    return [*pairs, (f"{ours}.head.0", f"{before}.0"), (f"{ours}.head.1", f"{before}.1")]


def block_names(ours: str, theirs: str, block: nn.Module, first: int = 0) -> list[Pair]:
    """Units of a block; `first` is the published number of the first one."""
    pairs: list[Pair] = []
    for layer in range(len(list(block.children()))):
        pairs += unit_names(f"{ours}.{layer}", f"{theirs}.{layer + first}")
    return pairs


def resnet_names(ours: str, theirs: str, encoder: ResNetEncoder) -> list[Pair]:
    """Parts of a ResNet-18, which numbers its stages from 1."""
    pairs = [
        (f"{ours}.stem.convolution", f"{theirs}.conv1"),
        (f"{ours}.stem.norm", f"{theirs}.bn1"),
        (f"{ours}.head.0", f"{theirs}.conv_out"),
    ]
    for stage, blocks in enumerate(encoder.stages):
        for index, block in enumerate(blocks.children()):
            assert isinstance(block, ResidualUnit)
            own, name = f"{ours}.stages.{stage}.{index}", f"{theirs}.layer{stage + 1}.{index}"
            for number, part in ((1, "first"), (2, "second")):
                pairs += [
                    (f"{own}.{part}.convolution", f"{name}.conv{number}"),
                    (f"{own}.{part}.norm", f"{name}.bn{number}"),
                ]
            pairs += unit_names(f"{own}.shortcut", f"{name}.downsample")
    return pairs


def maps_encoder_names(ours: str, theirs: str, encoder: MapsEncoder) -> list[Pair]:
    """Parts of an encoder of maps, which numbers its stages from 1."""
    pairs: list[Pair] = []
    for stage, block in enumerate(encoder.stages):
        first = 0 if stage == 0 else 1
        pairs += block_names(f"{ours}.stages.{stage}", f"{theirs}.conv{stage + 1}", block, first)
    head = f"{theirs}.conv{len(encoder.stages) + 1}"
    for layer in (0, 1):
        pairs += unit_names(f"{ours}.head.{layer}", f"{head}.{layer}")
    return [*pairs, (f"{ours}.head.2", f"{head}.2.0")]


def decoder_names(ours: str, theirs: str, decoder: nn.Module) -> list[Pair]:
    """Stages of a decoder."""
    if isinstance(decoder, MultilayerDecoder):
        return list(multilayer_names(f"{ours}.layers", f"{theirs}.mlp.module", decoder.layers))
    pairs: list[Pair] = []
    if isinstance(decoder, MapsDecoder):
        for stage, block in enumerate(decoder.stages):
            pairs += block_names(f"{ours}.stages.{stage}", f"{theirs}.conv{stage + 1}", block)
        return pairs
    if isinstance(decoder, DCGANDecoder):
        pairs = unit_names(f"{ours}.first", f"{theirs}.first_upconv")
        last = len(decoder.stages) - 1
        for stage in range(last):
            pairs += unit_names(f"{ours}.stages.{stage}", f"{theirs}.conv.{stage}")
        return [*pairs, (f"{ours}.stages.{last}.convolution", f"{theirs}.conv.{last}")]
    assert isinstance(decoder, VGGDecoder)
    pairs = unit_names(f"{ours}.first", f"{theirs}.first_upconv.0")
    for stage, block in enumerate(decoder.stages):
        pairs += block_names(f"{ours}.stages.{stage}", f"{theirs}.conv.{stage}", block)
    last_stage = len(decoder.stages) - 1
    return [*pairs, (f"{ours}.last.convolution", f"{theirs}.conv.{last_stage}.1")]
