"""SVG's published settings and weights, as a model of ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.base import Forecaster
from statecast.models.svg.model import SVG
from statecast.nn.blocks import ConvolutionUnit
from statecast.runs.official.settings import Official, Settings, channel_names
from statecast.runs.official.weights import load_weights, own_names

PRIORS = {"SVG-LP": "learned", "SVG-FP": "fixed"}
OPTIONS = {  # our option: published setting
    "width": "width",
    "code_size": "g_dim",
    "noise_size": "z_dim",
    "recurrent_size": "rnn_size",
    "predictor_layers": "predictor_rnn_layers",
    "posterior_layers": "posterior_rnn_layers",
    "prior_layers": "prior_rnn_layers",
    "kl_weight": "beta",
}


def from_arrays(arrays: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> Forecaster:
    """The published model with these weights, in evaluation mode.

    Args:
        arrays: `MODULE.NAME`, with the modules and state dicts of the published checkpoint;
            without the counters of batch normalisation.
        config: `system` (`SVG-LP` or `SVG-FP`), `backbone` (such as `vgg_64`), `channels`, and
            published options; `last_frame_skip` is off by default, as published.

    Errors:
        InputError: a setting is unknown, or an array is missing, left over, or of another shape.
    """
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return describe(tensors, config, Settings("config", config)).model()


def is_svg(names: Collection[str]) -> bool:
    """Whether tensors have names of SVG's modules."""
    return any(name.startswith("frame_predictor.") for name in names)


def read_tensors(tensors: Mapping[str, Tensor], settings: Settings) -> Official:
    """The modules of a published checkpoint, whose options `opt` are the settings.

    Errors:
        InputError: a setting is missing, or an array is missing, left over, or of another shape.
    """
    first = next(
        (tensor for name, tensor in tensors.items() if name.startswith("encoder.c1.")), None
    )
    if first is None:
        raise InputError("The published weights of SVG lack the encoder's first convolution.")
    learned = any(name.startswith("prior.") for name in tensors)
    config = {
        name: settings[name]
        for name in OPTIONS.values()
        if name not in ("width", "prior_rnn_layers")
    }
    config |= {name: settings.whole(name) for name in ("channels", "n_past", "n_future")}
    config |= {
        "system": "SVG-LP" if learned else "SVG-FP",
        "backbone": f"{settings['model']}_{settings.whole('image_width')}",
        "width": len(first),
        "prior_rnn_layers": settings.whole("prior_rnn_layers") if learned else None,
        "last_frame_skip": bool(settings.get("last_frame_skip", False)),
    }
    return describe(tensors, config, settings)


def describe(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], settings: Settings
) -> Official:
    """The published model with these tensors and settings."""
    system = config["system"]
    if system not in PRIORS:
        raise InputError(f"Published systems are {' and '.join(PRIORS)}, got {system!r}.")
    backbone, _, side = config["backbone"].partition("_")
    spec = FrameSpec(
        channels=channel_names(config["channels"]),
        space=(int(side), int(side)),
        context=config["n_past"],
        horizon=config["n_future"],
        value_range=(0.0, 1.0),
    )
    options: dict[str, Any] = {
        ours: config[theirs] for ours, theirs in OPTIONS.items() if config[theirs] is not None
    }
    options |= {"backbone": backbone, "prior": PRIORS[system]}
    options["skip_frame"] = "previous" if config.get("last_frame_skip") else "last"
    options["published"] = True
    return Official(
        "svg", spec, options, lambda model: load_weights(model, svg_names(model), tensors), settings
    )


def svg_names(model: SVG) -> dict[str, str]:
    """The published name of each of a model's tensors that a published checkpoint holds."""
    pairs = [
        *stage_names("encoder", "c", model.encoder.stages, first=1),
        *stage_names("decoder", "upc", model.decoder.stages, first=2),
        ("encoder.head", f"encoder.c{len(model.encoder.stages) + 1}"),
        ("decoder.first.convolution", "decoder.upc1.0"),
        ("decoder.first.norm", "decoder.upc1.1"),
        ("predictor.output", "frame_predictor.output.0"),
        ("predictor", "frame_predictor"),
        *((f"{part}.mean", f"{part}.mu_net") for part in ("posterior", "prior")),
        *((f"{part}.log_variance", f"{part}.logvar_net") for part in ("posterior", "prior")),
    ]
    return {name: published_name(name, pairs) for name in own_names(model)}


def stage_names(
    part: str, prefix: str, stages: nn.ModuleList, *, first: int
) -> list[tuple[str, str]]:
    """Prefixes of stages, ours and published; only stages that pool number their convolutions."""
    pairs = []
    several = any(len(list(stage.children())) > 1 for stage in stages)
    for number, stage in enumerate(stages):
        for layer, unit in enumerate(stage.children()):
            assert isinstance(unit, ConvolutionUnit)
            ours, theirs = f"{part}.stages.{number}.{layer}", f"{part}.{prefix}{number + first}"
            if unit.norm is None:  # the decoder's last convolution has no normalisation
                pairs.append((f"{ours}.convolution", f"{theirs}.{layer}"))
                continue
            theirs += f".{layer}.main" if several else ".main"
            pairs += [(f"{ours}.convolution", f"{theirs}.0"), (f"{ours}.norm", f"{theirs}.1")]
    return pairs


def published_name(name: str, pairs: list[tuple[str, str]]) -> str:
    """The published name of one of our tensors: the first prefix that fits is replaced."""
    ours, theirs = next((pair for pair in pairs if name.startswith(f"{pair[0]}.")), ("", ""))
    renamed = theirs + name[len(ours) :]
    module, _, last = renamed.rpartition(".")
    if not module.endswith(".lstm"):
        return renamed
    weight, _, layer = last.rpartition("_l")
    return f"{module}.{layer}.{weight}"
