"""SAVP's published settings and variables, as a model of ours."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.base import Forecaster
from statecast.models.savp.model import SAVP
from statecast.runs.official.settings import Official, Settings, channel_names
from statecast.runs.official.tensorflow import load_variables
from statecast.runs.official.weights import Arrays, own_names

OPTIONS = {  # our option: published setting
    "width": "ngf",
    "encoder_width": "nef",
    "discriminator_width": "ndf",
    "noise_size": "nz",
    "transformations": "num_transformed_images",
    "l1_weight": "l1_weight",
    "l2_weight": "l2_weight",
    "kl_weight": "kl_weight",
    "gan_weight": "video_sn_gan_weight",
    "vae_gan_weight": "video_sn_vae_gan_weight",
    "gan_feature_weight": "gan_feature_cdist_weight",
    "vae_gan_feature_weight": "vae_gan_feature_cdist_weight",
    "clip_length": "clip_length",
    "sampling_decay": "schedule_sampling_k",
}
FIXED: dict[str, Any] = {  # published settings that must have these values
    "repeat": 1, "vgg_cdist_weight": 0.0, "feature_l2_weight": 0.0, "ae_l2_weight": 0.0,
    "tv_weight": 0.0, "image_sn_gan_weight": 0.0,
    "image_sn_vae_gan_weight": 0.0, "images_sn_gan_weight": 0.0, "images_sn_vae_gan_weight": 0.0,
    "gan_feature_l2_weight": 0.0, "vae_gan_feature_l2_weight": 0.0, "gan_loss_type": "LSGAN",
    "joint_gan_optimization": False, "kl_anneal": "linear", "z_l1_weight": 0.0, "n_layers": 3,
    "norm_layer": "instance", "use_same_discriminator": False, "downsample_layer": "conv_pool2d",
    "upsample_layer": "upsample_conv2d", "activation_layer": "relu", "transformation": "cdna",
    "dilation_rate": [1, 1], "where_add": "all", "learn_initial_state": False, "rnn": "lstm",
    "conv_rnn": "lstm", "conv_rnn_norm_layer": "instance", "last_frames": 1,
    "prev_image_background": True, "first_image_background": True, "last_image_background": False,
    "last_context_image_background": False, "context_images_background": False,
    "generate_scratch_image": True, "dependent_mask": True,
    "schedule_sampling": "inverse_sigmoid", "use_e_rnn": False, "learn_prior": False,
    "use_rnn_z": True, "ablation_conv_rnn_norm": False, "ablation_rnn": False,
}  # fmt: skip
CELL = "generator/rnn/savp_cell/"
LSTM = "basic_conv2dlstm_cell/"
OLD_EPSILON = 1.001e-5  # smallest epsilon of fused normalisation in TensorFlow 1


def from_arrays(arrays: Arrays, config: Mapping[str, Any]) -> Forecaster:
    """The published model with these variables, in evaluation mode.

    Args:
        arrays: by name of the variable; without variables of discriminators, the model has none.
        config: `hparams`, as published. `tensorflow`, the version that made the variables, decides
            what is added to variances; versions before 2 add 1.001e-5.

    Errors:
        InputError: a setting is missing or has no equivalent, or an array is missing, left over,
            or of another shape.
    """
    return describe(arrays, config, Settings("config", config)).model()


def is_savp(names: Collection[str]) -> bool:
    """Whether variables have names of SAVP's generator."""
    return any(name.startswith(CELL) for name in names)


def read_variables(arrays: Arrays, settings: Settings) -> Official:
    """The variables of a published checkpoint (TensorFlow 1), with `model_hparams.json`.

    Errors:
        InputError: a setting is missing or has no equivalent, or an array is missing, left over,
            or of another shape.
    """
    return describe(arrays, {"hparams": settings, "tensorflow": "1"}, settings)


def describe(arrays: Arrays, config: Mapping[str, Any], origin: Settings) -> Official:
    """The published model with these variables and settings."""
    settings = config["hparams"]
    for name, value in FIXED.items():
        if settings.get(name, value) != value:
            raise InputError(f"{name} must be {value} for our SAVP, got {settings[name]}.")
    start, end = settings["kl_anneal_steps"]
    options = {ours: settings[theirs] for ours, theirs in OPTIONS.items()}
    options |= {"kernel_size": settings["kernel_size"][0], "kl_start": start, "kl_end": end}
    options["agent_state_weight"] = settings.get("state_weight", 0.0)
    if not any(name.startswith("discriminator/") for name in arrays):
        options |= {name: 0.0 for name in options if "gan" in name}
    if str(config.get("tensorflow", "2")).partition(".")[0] == "1":
        options["norm_epsilon"] = OLD_EPSILON
    frames, context = settings["sequence_length"], settings["context_frames"]
    channels, side = frame_size(arrays)
    name = f"{CELL}state_pred/dense/kernel"
    conditions, states = arrays[name].shape if name in arrays else (0, 0)
    spec = FrameSpec(
        channels=channel_names(channels),
        space=(side, side),
        context=context,
        horizon=frames - context,
        value_range=(0.0, 1.0),
        actions=conditions - states,
        agent_states=states,
    )

    return Official(
        "savp",
        spec,
        options,
        lambda model: load_variables(model, savp_names(model), arrays),
        origin,
    )


def frame_size(arrays: Arrays) -> tuple[int, int]:
    """Channels and side of the square frames that published variables were trained on."""
    channels = arrays[f"{CELL}scratch_image/conv2d/bias"].shape[0]
    flat = arrays[f"{CELL}cdna_kernels/dense/kernel"].shape[0]
    downward = [name for name in arrays if name.endswith("conv_pool2d/bias")]
    smallest = max(arrays[name].shape[0] for name in downward)
    return channels, round((flat / smallest) ** 0.5) * 2 ** len(downward)


def savp_names(model: SAVP) -> dict[str, str]:
    """The published name of each of a model's tensors."""
    modules = cell_modules(model) | encoder_modules(model)
    names = {}
    for name in own_names(model):
        module, _, part = name.rpartition(".")
        if name.startswith("discriminators."):
            names[name] = discriminator_name(module, part)
            continue
        published = modules[module]
        norm = module.endswith("norm") or ".norms." in module
        ending = {"weight": "gamma", "bias": "beta"} if norm else {"weight": "kernel"}
        names[name] = f"{published}{ending.get(part, part)}"
    return names


def cell_modules(model: SAVP) -> dict[str, str]:
    """The beginning of the published names of each of the cell's layers."""
    cell = model.cell
    modules = {"cell.lstm.gates": f"{CELL}lstm_z/basic_lstm_cell/"}
    numbered = [
        *((f"cell.stages_down.{i}", "conv_pool2d") for i in range(len(cell.stages_down))),
        *((f"cell.stages_up.{i}", "upsample_conv2d") for i in range(len(cell.stages_up))),
    ]
    for number, (ours, kind) in enumerate(numbered):
        lstm = f"{CELL}lstm_h{number}/{LSTM}"
        modules |= {
            f"{ours}.resize.convolution": f"{CELL}h{number}/{kind}/",
            f"{ours}.resize.norm": f"{CELL}h{number}/InstanceNorm/",
            f"{ours}.lstm.gates": lstm,
            f"{ours}.lstm.gate_norm": f"{lstm}input_transform_forget_output/",
            f"{ours}.lstm.cell_norm": f"{lstm}state/",
        }
    last = len(numbered)
    for ours, between, end in (("scratch", "scratch", "scratch_image"), ("masks",) * 3):
        modules |= {
            f"cell.{ours}.first": f"{CELL}h{last}_{between}/conv2d/",
            f"cell.{ours}.norm": f"{CELL}h{last}_{between}/InstanceNorm/",
            f"cell.{ours}.second": f"{CELL}{end}/conv2d/",
        }
    return modules | {
        "cell.kernels": f"{CELL}cdna_kernels/dense/",
        "dynamics.linear": f"{CELL}state_pred/dense/",
    }


def encoder_modules(model: SAVP) -> dict[str, str]:
    """The beginning of the published names of each of the posterior's layers."""
    scope = "generator/encoder/"
    modules = {
        "encoder.mean": f"{scope}z_mu/dense/",
        "encoder.log_variance": f"{scope}z_log_sigma_sq/dense/",
    }
    layers = 0 if model.encoder is None else len(model.encoder.convolutions)
    for index in range(layers):
        modules[f"encoder.convolutions.{index}"] = f"{scope}layer_{index + 1}/conv2d/"
        modules[f"encoder.norms.{index}"] = f"{scope}layer_{index + 2}/InstanceNorm/"
    return modules


def discriminator_name(module: str, part: str) -> str:
    """The published name of a tensor of a discriminator."""
    _, which, layer = module.split(".", 2)
    scope = "discriminator/encoder/video/" if which == "vae_gan" else "discriminator/video/"
    if layer == "output":
        return f"{scope}sn_fc4/dense/{'kernel' if part == 'weight' else part}"
    number = int(layer.rpartition(".")[2])
    published = f"{scope}sn_conv{number // 2}_{number % 2}/"
    return published + (
        "bias" if part == "bias" else f"conv3d/{'kernel' if part == 'weight' else part}"
    )
