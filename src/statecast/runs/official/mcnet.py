"""MCnet's published settings and weights, of TensorFlow, as a model of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from statecast.frames import FrameSpec
from statecast.models.mcnet.model import MCnet
from statecast.runs.official.settings import channel_names
from statecast.runs.official.weights import Arrays, load_weights

COLOURS = ("blue", "green", "red")  # the published order
NAMES = {
    "memory.gates": "lstm/Conv",
    **{f"motion_encoder.stages.{i}.0": f"dyn_conv{i + 1}" for i in range(3)},
    **{
        f"content_encoder.stages.{stage}.{2 * layer}": f"cont_conv{stage + 1}_{layer + 1}"
        for stage, layers in enumerate((2, 2, 3))
        for layer in range(layers)
    },
    **{f"decoder.combination.{2 * i}": n for i, n in enumerate(("comb1", "comb2", "h_comb"))},
    **{
        f"decoder.residuals.{level}.{2 * layer}": f"res{level}_{layer + 1}"
        for level in range(3)
        for layer in range(2)
    },
    **{  # the published code numbers stages and layers from the finest and last
        f"decoder.stages.{stage}.{2 * layer}": f"dec_deconv{3 - stage}_{layers - layer}"
        for stage, layers in enumerate((3, 2, 2))
        for layer in range(layers)
    },
    **{f"discriminator.convolutions.{i}": f"DIS/dis_h{i}_conv" for i in range(4)},
    **{f"discriminator.norms.{i}": f"DIS/bn{i + 1}" for i in range(3)},
    "discriminator.head": "DIS/dis_h3_lin",
}
ENDINGS = {  # of weight and bias
    "memory.gates": ("Matrix", "Bias"),
    "discriminator.head": ("Matrix", "bias"),
    "discriminator.norms": ("gamma", "beta"),
}


def from_arrays(arrays: Arrays, config: Mapping[str, Any]) -> MCnet:
    """A model with published weights, in evaluation mode.

    It has a discriminator if the arrays hold one. Colours have the published order: blue, green,
    red.

    Args:
        arrays: by published name; if names begin with `channels_1/` and `channels_3/`, they belong
            to two models, and `channels` in `config` chooses one, by default 1.
        config: `image` (a side, or height and width), `K` and `T`, under `sizes` or directly.

    Errors:
        InputError: a setting is missing, or an array is missing, left over, or of another shape.
    """
    sizes = config.get("sizes", config)
    prefix = f"channels_{config.get('channels', 1)}/"
    if any(name.startswith("channels_") for name in arrays):
        arrays = {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}
    image, context, horizon = (sizes[name] for name in ("image", "K", "T"))
    channels = arrays["cont_conv1_1/w"].shape[2]
    width = arrays["dyn_conv1/w"].shape[3]
    adversary = "DIS/dis_h0_conv/w" in arrays
    spec = FrameSpec(
        channels=COLOURS if channels == len(COLOURS) else channel_names(channels),
        space=(image, image) if isinstance(image, int) else tuple(image),
        context=context,
        horizon=horizon,
        value_range=(0.0, 1.0),
    )
    adversary_width = arrays["DIS/dis_h0_conv/w"].shape[3] if adversary else None
    model = MCnet(
        spec, width=width, adversary=adversary, adversary_width=adversary_width, output="sigmoid"
    )
    names = published_names(model)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for ours, theirs in names.items():
        if theirs in tensors:
            tensors[theirs] = our_layout(ours, tensors[theirs])
    return load_weights(model, names, tensors)


def published_names(model: MCnet) -> dict[str, str]:
    """The published name of each of a model's weights."""
    names = {}
    for name, _ in model.named_parameters():
        part, _, kind = name.rpartition(".")
        weight, bias = next(
            (pair for start, pair in ENDINGS.items() if part.startswith(start)), ("w", "biases")
        )
        names[name] = f"{NAMES[part]}/{weight if kind == 'weight' else bias}"
    return names


def our_layout(name: str, tensor: Tensor) -> Tensor:
    """A published tensor in the layout of our tensor of this name.

    A transposed convolution of stride 1 is a convolution with the flipped kernel.
    """
    if tensor.ndim == 2:
        return tensor.T
    if tensor.ndim != 4:
        return tensor
    if name.startswith("decoder.stages"):  # (y, x, out, in)
        return tensor.permute(2, 3, 0, 1).flip(2, 3)
    return tensor.permute(3, 2, 0, 1)
