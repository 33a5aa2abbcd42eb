"""Names of tensors in published checkpoints, for ours: pairs of prefixes, module by module."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.nn.codecs import MultilayerDecoder, MultilayerEncoder
from statecast.nn.dcgan import DCGANDecoder, DCGANEncoder
from statecast.nn.vgg import VGGDecoder, VGGEncoder

Pair = tuple[str, str]  # ours, published


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
            ("filter", "inf_z"),
            ("posterior", "q_z"),
            *multilayer_names("prior", "p_z.module", model.prior),
        ]
    return pairs


def separable_names(model: Separable) -> list[Pair]:
    """Prefixes of the four published modules, each name led by its file's."""
    pairs = [
        *encoder_names("dynamics_encoder", "ov_Et", model.dynamics_encoder, "last_op"),
        *decoder_names("decoder", "decoder", model.decoder),
    ]
    if model.content_encoder is not None:
        pairs += encoder_names("content_encoder", "ov_Es", model.content_encoder, "last_op")
    for index, block in enumerate(model.blocks):
        name = f"t_resnet.blocks.{index}.mlp.module"
        pairs += multilayer_names(f"blocks.{index}", name, block)
    return pairs


def multilayer_names(ours: str, theirs: str, layers: object) -> Iterator[Pair]:
    """Linear layers: published ones sit behind their activation, but for the first."""
    assert isinstance(layers, nn.Sequential)
    for index in range((len(layers) + 1) // 2):
        yield f"{ours}.{2 * index}", f"{theirs}.{index}.{0 if index == 0 else 1}"


def unit_names(ours: str, theirs: str) -> list[Pair]:
    """A convolution and its normalisation."""
    return [(f"{ours}.convolution", f"{theirs}.0"), (f"{ours}.norm", f"{theirs}.1")]


def encoder_names(ours: str, theirs: str, encoder: nn.Module, head: str) -> list[Pair]:
    """Stages of an encoder; `head` is the published name of its last part."""
    if isinstance(encoder, MultilayerEncoder):
        return list(multilayer_names(f"{ours}.layers", f"{theirs}.mlp.module", encoder.layers))
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
            pooled = 0 if stage == 0 else 1  # published blocks begin with their pooling
            for layer in range(len(list(block.children()))):
                name = f"{theirs}.conv.{stage}.{layer + pooled}"
                pairs += unit_names(f"{ours}.stages.{stage}.{layer}", name)
        before = f"{theirs}.{head}.1"
    return [*pairs, (f"{ours}.head.0", f"{before}.0"), (f"{ours}.head.1", f"{before}.1")]


def decoder_names(ours: str, theirs: str, decoder: nn.Module) -> list[Pair]:
    """Stages of a decoder."""
    if isinstance(decoder, MultilayerDecoder):
        return list(multilayer_names(f"{ours}.layers", f"{theirs}.mlp.module", decoder.layers))
    if isinstance(decoder, DCGANDecoder):
        pairs = unit_names(f"{ours}.first", f"{theirs}.first_upconv")
        last = len(decoder.stages) - 1
        for stage in range(last):
            pairs += unit_names(f"{ours}.stages.{stage}", f"{theirs}.conv.{stage}")
        return [*pairs, (f"{ours}.stages.{last}.convolution", f"{theirs}.conv.{last}")]
    assert isinstance(decoder, VGGDecoder)
    pairs = unit_names(f"{ours}.first", f"{theirs}.first_upconv.0")
    for stage, block in enumerate(decoder.stages):
        for layer in range(len(list(block.children()))):
            pairs += unit_names(f"{ours}.stages.{stage}.{layer}", f"{theirs}.conv.{stage}.{layer}")
    last_stage = len(decoder.stages) - 1
    return [*pairs, (f"{ours}.last.convolution", f"{theirs}.conv.{last_stage}.1")]
