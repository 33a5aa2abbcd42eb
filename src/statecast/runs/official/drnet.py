"""DrNet's published settings and weights, as a model of ours.

Format: https://github.com/edenton/drnet-py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.base import Forecaster
from statecast.models.drnet.model import DrNet
from statecast.runs.official.settings import Official, Settings, channel_names

MODULES = {  # our module: end of the published name, before which there may be a variant
    "content_encoder": "EC",
    "pose_encoder.network": "EP",
    "decoder": "D",
    "discriminator": "C",
    "predictor": "lstm",
}
COUNTERS = "num_batches_tracked"
BACKBONES: dict[int, Literal["vgg", "dcgan", "resnet"]] = {3: "vgg", 4: "dcgan", 5: "resnet"}
SIDE, FRAMES = 64, 10  # of frames, and observed and forecast, where no option says so
UNUSED = 64  # hidden units of networks that the arrays do not hold; any number would do


def from_arrays(arrays: Mapping[str, Any], config: Mapping[str, Any]) -> Forecaster:
    """The published model with these weights, in evaluation mode.

    A module that the arrays lack keeps its initial weights: published checkpoints hold no
    discriminator, and the LSTM lies in a file of its own. Backbones, skips and widths follow from
    the weights.

    Args:
        arrays: `MODULE.NAME`, each module in the order of its state dict. Modules are `netEC`,
            `netEP`, `netD`, `netC` and `lstm`; the name of a variant may replace `net`, as in
            `vgg_EC`.
        config: `content_dim`, `pose_dim`, `channels`, `frame_size`, `n_past`, `n_future`;
            `sd_weight` (by default 0.0001); `variant`, if there are several of one module, by
            default the first; `normalize`, whether poses have length 1, by default only from a
            ResNet.

    Errors:
        InputError: a setting is missing, or an array is missing, left over, or of another shape.
    """
    return describe(arrays, config, Settings("config", config)).model()


def is_drnet(names: Collection[str]) -> bool:
    """Whether tensors have names of DrNet's modules."""
    return any(name.startswith("netEC.") for name in names)


def read_tensors(tensors: Mapping[str, Tensor], settings: Settings) -> Official:
    """The modules of a published checkpoint, whose options `opt` are the settings.

    Errors:
        InputError: a setting is missing, or an array is missing, left over, or of another shape.
    """
    config = {name: settings.whole(name) for name in ("content_dim", "pose_dim", "channels")}
    side = settings.whole("image_width", default=SIDE)
    lengths = {name: settings.whole(name, default=FRAMES) for name in ("n_past", "n_future")}
    return describe(tensors, {**config, **lengths, "frame_size": [side, side]}, settings)


def describe(arrays: Mapping[str, Any], config: Mapping[str, Any], settings: Settings) -> Official:
    """The published model with these tensors and settings."""
    modules = modules_of(arrays, config.get("variant"))
    spec, options = sizes_of(modules, config)

    def load(model: DrNet) -> DrNet:
        for ours, tensors in modules.items():
            load_module(model.get_submodule(ours), ours, tensors)
        return model

    return Official("drnet", spec, options, load, settings)


def modules_of(arrays: Mapping[str, Any], variant: str | None) -> dict[str, dict[str, Tensor]]:
    """Tensors of each of our modules, by published name, without counters."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in arrays.items():
        module, _, rest = name.partition(".")
        if not rest.endswith(COUNTERS):
            found.setdefault(module, {})[rest] = torch.as_tensor(np.asarray(value))
    modules = {}
    for ours, end in MODULES.items():
        fitting = [m for m in found if m in (end, f"net{end}") or m.endswith(f"_{end}")]
        chosen = [m for m in fitting if variant and m.startswith(variant)] or fitting
        if chosen:
            modules[ours] = found[chosen[0]]
        for module in fitting:
            del found[module]
    if found or not {"content_encoder", "decoder"} <= modules.keys():
        raise InputError(
            "Published weights of DrNet belong to netEC, netEP, netD, netC and lstm; netEC and "
            f"netD are required. Left over: {', '.join(found) or 'none'}."
        )
    return modules


def sizes_of(
    modules: Mapping[str, Mapping[str, Tensor]], config: Mapping[str, Any]
) -> tuple[FrameSpec, dict[str, Any]]:
    """Spec and options of a model, with the sizes of settings and weights."""
    spec = FrameSpec(
        channels=channel_names(config["channels"]),
        space=tuple(config["frame_size"]),
        context=config["n_past"],
        horizon=config["n_future"],
        value_range=(0.0, 1.0),
    )
    first = next(iter(modules["content_encoder"].values()))
    kernels = {name: next(iter(tensors.values())).shape[-1] for name, tensors in modules.items()}
    pose = BACKBONES.get(kernels.get("pose_encoder.network", 4))
    backbone = BACKBONES.get(kernels["content_encoder"])
    if pose is None or backbone not in ("dcgan", "vgg"):
        raise InputError("The kernels of these encoders match no published variant.")
    deconvolutions = [tensor for tensor in modules["decoder"].values() if tensor.ndim == 4]
    inputs = deconvolutions[1].shape[0 if backbone == "dcgan" else 1]
    recurrent = modules.get("predictor", {})
    discriminator = modules.get("discriminator")
    return spec, {
        "backbone": backbone,
        "skips": inputs != deconvolutions[0].shape[1],
        "pose_backbone": pose,
        "width": len(first),
        "content_size": config["content_dim"],
        "pose_size": config["pose_dim"],
        "normalise_pose": bool(config.get("normalize", pose == "resnet")),
        "discriminator_hidden": len(next(iter(discriminator.values())))
        if discriminator
        else UNUSED,
        "recurrent_size": len(recurrent["embed.weight"]) if recurrent else UNUSED,
        "recurrent_layers": sum(name.endswith("weight_hh") for name in recurrent) or 1,
        "confusion_weight": config.get("sd_weight", 1e-4),
        "published": True,
    }


def load_module(module: nn.Module, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Load published tensors, which have the order of ours."""
    own = {key: value for key, value in module.state_dict().items() if not key.endswith(COUNTERS)}
    theirs = list(tensors.items())
    for (key, value), (published, tensor) in zip(own.items(), theirs, strict=False):
        kind = key.rpartition(".")[2].partition("_l")[0]  # of any layer of the LSTM
        if value.shape != tensor.shape or published.rpartition(".")[2] != kind:
            raise InputError(
                f"The array {published} of DrNet's {name} should be a {kind} of shape "
                f"{tuple(value.shape)}, got {tuple(tensor.shape)}."
            )
    if len(own) != len(theirs):
        raise InputError(f"DrNet's {name} has {len(own)} arrays, got {len(theirs)}.")
    state = {key: tensor for key, (_, tensor) in zip(own, theirs, strict=True)}
    module.load_state_dict(state, strict=False)
