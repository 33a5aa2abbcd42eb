"""Published settings and weights of DSVAE, as a model of ours.

Format: https://github.com/yatindandi/Disentangled-Sequential-Autoencoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.dsvae.model import DSVAE, Posterior
from statecast.runs.official.settings import channel_names
from statecast.runs.official.svg import published_name
from statecast.runs.official.weights import load_weights, own_names

OPTIONS = {  # our option: published setting
    "content_size": "f_dim",
    "motion_size": "z_dim",
    "code_size": "conv_dim",
    "width": "step",
    "hidden": "hidden_dim",
}
VARIANTS: tuple[Posterior, ...] = ("factorised", "full")
NAMES = [  # beginnings of names, ours and published
    ("prior.cell", "z_prior_lstm"),
    ("prior.head.mean", "z_prior_mean"),
    ("prior.head.log_variance", "z_prior_logvar"),
    ("content_posterior.lstm", "f_lstm"),
    ("content_posterior.head.mean", "f_mean.model.0"),
    ("content_posterior.head.log_variance", "f_logvar.model.0"),
    ("motion_posterior.linear", "z_inter.model.0"),
    ("motion_posterior.lstm", "z_lstm"),
    ("motion_posterior.rnn", "z_rnn"),
    ("motion_posterior.head.mean", "z_mean"),
    ("motion_posterior.head.log_variance", "z_logvar"),
    *((f"encoder.{i}.convolution", f"conv.{i}.model.0") for i in range(4)),
    *((f"encoder.{i}.norm", f"conv.{i}.model.1") for i in range(4)),
    *((f"encoder.{4 + i}.convolution", f"conv_fc.{i}.model.0") for i in range(2)),
    *((f"encoder.{4 + i}.norm", f"conv_fc.{i}.model.1") for i in range(2)),
    *((f"decoder.linear.{2 * i}", f"deconv_fc.{i}.model.0") for i in range(2)),
    *((f"decoder.convolutions.{3 * i}", f"deconv.{i}.model.0") for i in range(4)),
    *((f"decoder.convolutions.{3 * i + 1}", f"deconv.{i}.model.1") for i in range(4)),
]


def from_arrays(arrays: Mapping[str, Any], config: Mapping[str, Any]) -> DSVAE:
    """The published model with these weights, in evaluation mode; frames lie in [−1, 1].

    Args:
        arrays: the published state dict; or several, each under `VARIANT/`.
        config: `f_dim`, `z_dim`, `conv_dim`, `step`, `hidden_dim`, `in_size`, `frames`; `variant`,
            `factorised` (by default) or `full`, where there are several.

    Errors:
        InputError: a setting is missing, or an array is missing, left over, or of another shape.
    """
    tensors = chosen_variant(arrays, config.get("variant", VARIANTS[0]))
    if config["frames"] < 2:
        raise InputError(f"DSVAE needs at least 2 frames, got {config['frames']}.")
    spec = FrameSpec(
        channels=channel_names(tensors["conv.0.model.0.weight"].shape[1]),
        space=(config["in_size"], config["in_size"]),
        context=config["frames"] - 1,
        horizon=1,
        value_range=(-1.0, 1.0),
    )
    options = {ours: config[theirs] for ours, theirs in OPTIONS.items()}
    full = "z_rnn.weight_ih_l0" in tensors
    model = DSVAE(spec, posterior=VARIANTS[full], published=True, **options)
    names = {name: published_name(name, NAMES) for name in own_names(model)}
    for name, theirs in names.items():  # linear layers of their encoder are kernels in ours
        own, found = model.state_dict()[name], tensors.get(theirs)
        if found is not None and len(own) == len(found) and own.numel() == found.numel():
            tensors[theirs] = found.view_as(own)
    return load_weights(model, names, tensors)


def chosen_variant(arrays: Mapping[str, Any], variant: str) -> dict[str, Tensor]:
    """The tensors of one variant, without its name, and without counters."""
    if variant not in VARIANTS:
        raise InputError(f"Variants of DSVAE are {' and '.join(VARIANTS)}, got {variant!r}.")
    several = any("/" in name for name in arrays)
    start = f"{variant}/" if several else ""
    return {
        name.removeprefix(start): torch.as_tensor(value)
        for name, value in arrays.items()
        if name.startswith(start) and not name.endswith("num_batches_tracked")
    }
