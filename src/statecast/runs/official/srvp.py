"""SRVP's published settings, converted both ways, and the reader of its two files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.io.json_yaml import own_file
from statecast.io.torch_files import load_torch_file
from statecast.models.srvp import SRVP
from statecast.runs.official.settings import (
    Official,
    Settings,
    channel_names,
    check_defaults,
    check_fit,
    options_of,
    settings_of,
)
from statecast.runs.official.tensor_names import published_names
from statecast.runs.official.weights import load_weights

ARCHITECTURES = ("dcgan", "vgg")
SIDE = 64  # of published frames
OPTIONS = {  # our option: published setting, and its kind
    "skips": ("skipco", "flag"),
    "width": ("nf", "whole"),
    "code_size": ("nhx", "whole"),
    "latent_size": ("ny", "whole"),
    "noise_size": ("nz", "whole"),
    "inference_frames": ("nt_inf", "whole"),
    "inference_hidden": ("nh_inf", "whole"),
    "inference_layers": ("nlayers_inf", "whole"),
    "transition_hidden": ("nh_res", "whole"),
    "transition_layers": ("nlayers_res", "whole"),
    "transition_gain": ("res_gain", "number"),
    "substeps": ("n_euler_steps", "whole"),
    "observation_std": ("obs_scale", "number"),
    "kl_initial_weight": ("beta_y", "number"),
    "kl_noise_weight": ("beta_z", "number"),
    "step_norm_weight": ("l2_res", "number"),
}
DEFAULTS: dict[str, Any] = {  # published settings without a counterpart in our models
    "apex_amp": False,
    "dataset": "smmnist",
    "deterministic": False,
    "device": None,
    "max_speed": 4,
    "n_gpu": 0,
    "ndigits": 2,
    "subsampling": 8,
    "torch_amp": False,
}


def read_srvp(folder: Path) -> Official:
    """Read `model.pt` and `config.json`."""
    config = Settings(folder / "config.json")
    if config["archi"] not in ARCHITECTURES:
        raise config.unfit("archi", " or ".join(ARCHITECTURES))
    options = {"architecture": config["archi"], "output": "sigmoid"}
    horizon = config.whole("seq_len") - config.whole("nt_cond")
    spec = FrameSpec(
        channels=channel_names(config.whole("nc")),
        space=(config.whole("nx"), config.whole("nx")),
        context=config["nt_cond"],
        horizon=horizon,
        value_range=(0.0, 1.0),
    )
    tensors = load_torch_file(own_file(folder / "model.pt"))
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise InputError(f"{folder / 'model.pt'} should hold a state dict: names and tensors.")
    options |= options_of(config, OPTIONS)
    options["content_size"] = options["inference_hidden"]  # one setting in the published code
    tensors = dict(tensors)
    return Official(
        "srvp",
        spec,
        options,
        lambda model: load_weights(model, published_names(model), tensors),
        config,
    )


def srvp_settings(model: SRVP, options: Mapping[str, Any]) -> dict[str, Any]:
    """The published settings of a model built with these options.

    Errors:
        InputError: the published layout cannot hold an option; the message names it.
    """
    demands = {
        "transition": (options["transition"], "residual"),
        "stochastic": (options["stochastic"], True),
        "architecture": (options["architecture"], ARCHITECTURES),
        "output": (model.decoder.output, "sigmoid"),
        "content_size": (options["content_size"], options["inference_hidden"]),
        "frames of": (f"{'×'.join(map(str, model.spec.space))} points", f"{SIDE}×{SIDE} points"),
    }
    check_fit(model, demands)
    check_defaults(model, options, {*OPTIONS, *demands, "codec_layers", "normalise"})
    return settings_of(options, OPTIONS) | {
        "archi": options["architecture"],
        "nt_inf": model.inference_frames,
        "nc": len(model.spec.channels),
        "nx": SIDE,
        "nt_cond": model.spec.context,
        "seq_len": model.spec.length,
    }
