"""Checkpoints of the published implementations, read safely into our models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from statecast.errors import FileError, InputError
from statecast.frames import FrameSpec
from statecast.models.base import Forecaster
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.official_names import Pair, separable_names, srvp_names
from statecast.pickle_machine import PickledModule
from statecast.pickles import module_tensors, read_pickle

SEPARABLE_FILES = ("ov_Es", "ov_Et", "decoder", "t_resnet")
OPTIONAL_FILES = ("ov_Es",)  # absent without S
COLOURS = {1: ("intensity",), 3: ("red", "green", "blue")}
SMALL_DATA = {"taxibj": 32}  # published data sets whose frames are not 64×64


class Official(NamedTuple):
    """A published checkpoint in our words."""

    name: str  # of the model, in MODELS
    spec: FrameSpec
    options: dict[str, Any]  # of the model's constructor
    tensors: dict[str, Tensor]  # under their published names


def load_official(folder: str | Path) -> Forecaster:
    """A model with the weights of a published checkpoint folder, in evaluation mode.

    Args:
        folder: of SRVP: `model.pt` and `config.json`; of Separable: `ov_Es.pt`, `ov_Et.pt`,
            `decoder.pt`, `t_resnet.pt` and `params.json`. Nothing in them is executed.

    Errors:
        FileError: the folder is neither, or a file is missing.
        InputError: the files ask for code, or do not fit their configuration.

    Formats: https://github.com/edouardelasalles/srvp and
    https://github.com/JeremDona/spatiotemporal_variable_separation.
    """
    official = read_official(folder)
    if official.name == "srvp":
        srvp = SRVP(official.spec, **official.options)
        return assign(srvp, official.tensors, srvp_names(srvp)).eval()
    separable = Separable(official.spec, **official.options)
    return assign(separable, official.tensors, separable_names(separable)).eval()


def is_official(folder: str | Path) -> bool:
    """Whether a folder has the layout of a published checkpoint."""
    folder = Path(folder)
    srvp = (folder / "config.json").is_file() and (folder / "model.pt").is_file()
    return srvp or (folder / "params.json").is_file()


def read_official(folder: str | Path) -> Official:
    """Read a published folder: which model it is, its options, its tensors.

    Errors:
        FileError: the folder is no published checkpoint, or a file is missing.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        return read_srvp(folder)
    if (folder / "params.json").is_file():
        return read_separable(folder)
    raise FileError(
        f"{folder} is no published checkpoint: expected config.json beside model.pt (SRVP), or "
        "params.json beside ov_Es.pt, ov_Et.pt, decoder.pt and t_resnet.pt (Separable)."
    )


def read_srvp(folder: Path) -> Official:
    """Read `model.pt` and `config.json`."""
    config = Settings(folder / "config.json")
    tensors = read_pickle(folder / "model.pt")
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise InputError(f"{folder / 'model.pt'} should hold a state dict: names and tensors.")
    channels = config["nc"]
    spec = FrameSpec(
        channels=COLOURS.get(channels) or tuple(f"channel_{i}" for i in range(channels)),
        space=(config["nx"], config["nx"]),
        context=config["nt_cond"],
        horizon=config["seq_len"] - config["nt_cond"],
        value_range=(0.0, 1.0),
    )
    options = {
        "architecture": config["archi"],
        "skips": config["skipco"],
        "width": config["nf"],
        "code_size": config["nhx"],
        "latent_size": config["ny"],
        "noise_size": config["nz"],
        "inference_frames": config["nt_inf"],
        "inference_hidden": config["nh_inf"],
        "inference_layers": config["nlayers_inf"],
        "transition_hidden": config["nh_res"],
        "transition_layers": config["nlayers_res"],
        "transition_gain": config["res_gain"],
        "substeps": config["n_euler_steps"],
        "observation_std": config["obs_scale"],
        "initial_weight": config["beta_y"],
        "noise_weight": config["beta_z"],
        "residual_weight": config["l2_res"],
    }
    return Official("srvp", spec, options, dict(tensors))


def read_separable(folder: Path) -> Official:
    """Read the four pickled modules and `params.json`."""
    config = Settings(folder / "params.json")
    constant = config["no_s"]
    modules = {
        name: read_module(folder / f"{name}.pt")
        for name in SEPARABLE_FILES
        if not (constant and name in OPTIONAL_FILES)
    }
    tensors = {
        f"{file}.{name}": tensor
        for file, module in modules.items()
        for name, tensor in module_tensors(module).items()
    }
    architecture = config["architecture"]
    if architecture not in ("dcgan", "vgg", "mlp") or config.get("decoder_architecture"):
        raise InputError(
            f"{folder} uses the codec {architecture!r} with "
            f"{config.get('decoder_architecture')!r}; dcgan, vgg and mlp can be read."
        )
    offset, context = config["offset"], config["nt_cond"]
    if offset not in (0, context):
        raise InputError(
            f"{folder} aligns its dynamics {offset} frames back; 0 or the context's {context} "
            "can be read."
        )
    frame = separable_frame(architecture, config["data"], modules["decoder"], tensors)
    spec = FrameSpec(
        channels=COLOURS.get(frame[0]) or tuple(f"channel_{i}" for i in range(frame[0])),
        space=frame[1:],
        context=context,
        horizon=config["nt_pred"],
        value_range=(0.0, 1.0),
    )
    options = {
        "architecture": architecture,
        "skips": config["skipco"],
        "encoder_layers": config["enc_n_layers"],
        "decoder_layers": config["dec_n_layers"],
        "content": "constant" if constant else "learned",
        "content_size": config["code_size_s"],
        "latent_size": config["code_size_t"],
        "mixing": "product" if config["mixing"] == "mul" else "concat",
        "blocks": config["n_blocks"],
        "dynamics_hidden": config["res_hidden_size"],
        "dynamics_gain": config["gain_resnet"],
        "rollout_from": "target" if offset == 0 else "context",
        "forecast_weight": config["lamb_pred"],
        "alignment_weight": config["lamb_ae"],
        "invariance_weight": config["lamb_s"],
        "prior_weight": config["lamb_t"],
        "output": "identity" if config["data"] in ("taxibj", "sst") else "sigmoid",
        "normalise": "none",
    }
    if architecture == "mlp":
        widths = {
            "encoder_width": config["enc_hidden_size"],
            "decoder_width": config["dec_hidden_size"],
        }
    else:
        width = convolution_width(tensors)
        widths = {"encoder_width": width, "decoder_width": width}
    return Official("separable", spec, options | widths, tensors)


def read_module(path: Path) -> PickledModule:
    """Read one pickled module as inert data."""
    module = read_pickle(path)
    if not isinstance(module, PickledModule):
        raise InputError(f"{path} should hold a pickled module, got {type(module).__name__}.")
    return module


def convolution_width(tensors: Mapping[str, Tensor]) -> int:
    """Channels of the first convolution, which the published settings leave out."""
    for name in ("ov_Et.conv.0.0.weight", "ov_Et.conv.0.0.0.weight"):
        if name in tensors:
            return len(tensors[name])
    raise InputError("ov_Et.pt holds no first convolution, conv.0.0.")


def separable_frame(
    architecture: str, data: str, decoder: PickledModule, tensors: Mapping[str, Tensor]
) -> tuple[int, ...]:
    """Shape (channel, *space) of the frames that a published decoder makes."""
    if architecture == "mlp":
        shape = decoder.state.get("output_shape")
        if not isinstance(shape, list | tuple) or not all(isinstance(n, int) for n in shape):
            raise InputError("decoder.pt names no output_shape, the shape of its frames.")
        return tuple(shape)
    for name in ("decoder.conv.3.weight", "decoder.conv.3.1.weight"):
        if name in tensors:
            side = SMALL_DATA.get(data, 64)
            return (tensors[name].shape[1], side, side)
    raise InputError("decoder.pt holds no last convolution, conv.3.")


def assign(model: Forecaster, tensors: Mapping[str, Tensor], pairs: list[Pair]) -> Forecaster:
    """Copy published tensors into a model of ours.

    Errors:
        InputError: a tensor is missing, left over, or of another shape; names it.
    """
    remaining = dict(tensors)
    state: dict[str, Tensor] = {}
    own = {name for name in model.state_dict() if not name.startswith("normaliser.")}
    for name in sorted(own):
        theirs = published_name(name, pairs)
        if theirs not in remaining:
            raise InputError(f"The published checkpoint lacks the tensor {theirs}.")
        tensor = remaining.pop(theirs)
        expected = model.state_dict()[name].shape
        if tensor.shape != expected:
            raise InputError(
                f"The published tensor {theirs} should have shape {tuple(expected)} by its "
                f"configuration, got {tuple(tensor.shape)}."
            )
        state[name] = tensor
    if remaining:
        raise InputError(
            f"The published checkpoint holds tensors of no known part: {', '.join(remaining)}."
        )
    with torch.no_grad():
        model.load_state_dict(state, strict=False)
    return model


def published_name(name: str, pairs: list[Pair]) -> str:
    """The published name of one of our tensors."""
    for ours, theirs in pairs:
        if name.startswith(f"{ours}."):
            return theirs + name[len(ours) :]
    raise InputError(f"The published layout has no place for {name}.")


class Settings(dict[str, Any]):
    """Published settings, whose missing keys are a user's error and not a `KeyError`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise FileError(f"{path} cannot be read as JSON: {error}.") from error
        if not isinstance(content, dict):
            raise FileError(f"{path} should hold a JSON object of settings.")
        super().__init__(content)

    def __missing__(self, key: str) -> Any:
        raise InputError(f"{self.path} lacks the setting {key!r}.")
