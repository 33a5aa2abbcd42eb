"""Published weights of SV2P, and of CDNA, which has no latents, as models of ours."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.action_conditioning import STATE_WEIGHT
from statecast.models.base import Forecaster
from statecast.models.pixel_motion.cdna import CDNA
from statecast.models.pixel_motion.sv2p import SV2P
from statecast.runs.official.settings import Official, Settings, channel_names
from statecast.runs.official.tensorflow import load_variables
from statecast.runs.official.weights import Arrays, own_names

SCOPE = "generator/"
DEFAULTS: dict[str, Any] = {  # published values of settings that do not follow from variables
    "context_frames": 2, "sequence_length": 12, "schedule_sampling_k": 900.0, "kl_weight": 0.001,
    "num_iterations_1st_stage": 50_000, "kl_anneal_steps": [100_000, 120_000],
    "latent_std_min": -5.0, "multi_latent": False, "state_weight": STATE_WEIGHT,
}  # fmt: skip
MODULES = {  # ours: published
    "cell.enter": "scale1_conv1",
    "cell.enter_norm": "scale1_conv1/layer_norm1",
    "cell.downsample.0": "conv2",
    "cell.downsample.1": "conv3",
    "cell.mix": "conv4",
    "cell.upsample.0": "convt1",
    "cell.upsample.1": "convt2",
    "cell.leave": "convt3",
    "cell.leave_norm": "convt3/layer_norm9",
    "cell.scratch": "convt4",
    "cell.masks": "convt7",
    **{f"cell.lstms.{index}.gates": f"state{index + 1}/Gates" for index in range(7)},
    **{f"cell.norms.{index}": f"layer_norm{index + 2}" for index in range(7)},
    **{f"tower.convolutions.{index}": f"latent_conv{index + 1}" for index in range(3)},
    **{
        f"tower.norms.{index}": f"latent_conv{index + 1}/latent_norm{index + 1}"
        for index in range(3)
    },
    "dynamics.linear": "state_pred",
    "tower.mean": "latent_mean",
    "tower.mean_norm": "latent_mean/latent_norm_mean",
    "tower.log_variance": "latent_std",
    "tower.log_variance_norm": "latent_std/latent_std_norm",
}
MOTION = {"cdna": "cdna_params", "dna": "convt4"}
POINTWISE = ("convt4", "convt7")  # transposed convolutions with a kernel of one point
# The head that predicts states of a robot; weights without actions hold it too.
UNUSED = (f"{SCOPE}state_pred/weights", f"{SCOPE}state_pred/biases")


def from_arrays(arrays: Arrays, config: Mapping[str, Any]) -> Forecaster:
    """The published model with these weights, in evaluation mode.

    Args:
        arrays: by name of the published variable.
        config: `system`, such as `SV2P, time-invariant latent, CDNA`, and published sizes and
            settings, with the numbers of `actions` and `states` if there are any. A latent that is
            `time-variant` is drawn at each step; a system without `SV2P` has no latent.

    Errors:
        InputError: a setting is missing, or an array is missing, left over, or of another shape.
    """
    return describe(arrays, config, Settings("config", config)).model()


def is_sv2p(names: Collection[str]) -> bool:
    """Whether variables have names of SV2P's generator."""
    return f"{SCOPE}scale1_conv1/weights" in names


def read_variables(arrays: Arrays, settings: Settings) -> Official:
    """The variables of a published checkpoint, whose shapes give the sizes.

    Args:
        arrays: by name of the variable.
        settings: `model_hparams.json`; missing settings have their published defaults.

    Errors:
        InputError: an array is missing, left over, or of another shape.
    """

    def shape(name: str) -> tuple[int, ...]:
        if f"{SCOPE}{name}" not in arrays:
            raise InputError(f"The published variables of SV2P lack {SCOPE}{name}.")
        return arrays[f"{SCOPE}{name}"].shape

    lstms = [shape(f"state{index}/Gates/biases")[0] // 4 for index in range(1, 8)]
    *_, channels, first = shape("scale1_conv1/weights")
    masks = shape("convt7/biases")[0] - 1
    if f"{SCOPE}cdna_params/weights" in arrays:
        motion = "CDNA"
        points, kernels = shape("cdna_params/weights")
        side, kernel = 8 * math.isqrt(points // lstms[4]), math.isqrt(kernels // masks)
    else:  # no weight belongs to a place
        motion, side, kernel = "DNA", 64, math.isqrt(shape("convt4/biases")[0])
    latent = f"{SCOPE}latent_mean/weights" in arrays
    known = lstms[3] + (shape("latent_mean/weights")[-1] if latent else 0)
    config: dict[str, Any] = {
        "system": f"SV2P, {motion}" if latent else motion,
        "frame": side,
        "channels": channels,
        "lstm_sizes": lstms,
        "first_conv": first,
        "num_masks": masks,
        "kernel": kernel,
        **DEFAULTS,
    }
    if shape("conv4/weights")[2] > known:
        conditions, states = shape("state_pred/weights")
        config |= {"actions": conditions - states, "states": states}
    if latent:
        tower = [shape(f"latent_conv{index}/weights") for index in (1, 2, 3)]
        config |= {
            "latent_tower": [size[-1] for size in tower],
            "latent_channels": shape("latent_mean/weights")[-1],
            "sequence_length": tower[0][2] // channels,
        }
    given = {k: v for k, v in settings.items() if k in DEFAULTS}
    return describe(arrays, config | given, settings)


def describe(arrays: Arrays, config: Mapping[str, Any], settings: Settings) -> Official:
    """The published model with these variables and settings."""
    system, side = str(config["system"]), config["frame"]
    spec = FrameSpec(
        channels=channel_names(config["channels"]),
        space=(side, side) if isinstance(side, int) else tuple(side),
        context=config["context_frames"],
        horizon=config["sequence_length"] - config["context_frames"],
        value_range=(0.0, 1.0),
        actions=config.get("actions", 0),
        agent_states=config.get("states", 0),
    )
    motion = motion_of(system)
    options: dict[str, Any] = {
        "motion": motion,
        "width": config["first_conv"],
        "lstm_widths": tuple(config["lstm_sizes"]),
        "transformations": max(config["num_masks"] - 1, 1),
        "kernel_size": config["kernel"],
        "sampling_decay": config["schedule_sampling_k"],
        "agent_state_weight": config.get("state_weight", STATE_WEIGHT),
        "published": True,
    }
    if "sv2p" not in system.lower():
        return Official("cdna", spec, options, lambda m: load(m, arrays, motion), settings)
    start, end = config["kl_anneal_steps"]
    options |= {
        "latent": "step" if is_time_variant(config, system) else "sequence",
        "latent_channels": config["latent_channels"],
        "tower_widths": tuple(config["latent_tower"]),
        "kl_weight": config["kl_weight"],
        "posterior_start": config["num_iterations_1st_stage"],
        "kl_start": start,
        "kl_end": end,
    }
    if (least := config["latent_std_min"]) != -5.0:
        raise InputError(f"latent_std_min must be −5 for our SV2P, got {least}.")
    return Official("sv2p", spec, options, lambda m: load(m, arrays, motion), settings)


def motion_of(system: str) -> str:
    """How a published system moves pixels: `cdna` or `dna`.

    Errors:
        InputError: by spatial transformers, whose published variables are not known.
    """
    words = system.lower().replace(",", " ").split()
    if "stp" in words:
        raise InputError("Published weights of STP cannot be read: their names are not known.")
    return "dna" if "dna" in words else "cdna"


def is_time_variant(config: Mapping[str, Any], system: str) -> bool:
    """Whether each step has its own latent, by the setting `multi_latent` or by the name."""
    return bool(config.get("multi_latent", "time-variant" in system.lower()))


def load(model: SV2P | CDNA, arrays: Arrays, motion: str) -> SV2P | CDNA:
    """The model with published weights, in evaluation mode."""
    pointwise = {f"{SCOPE}{name}/weights" for name in POINTWISE}
    turned = {
        name: array.swapaxes(-1, -2) if name in pointwise else array
        for name, array in arrays.items()
    }
    unused = UNUSED if model.dynamics is None else ()
    return load_variables(model, sv2p_names(model, motion), turned, unused=unused)


def sv2p_names(model: SV2P | CDNA, motion: str) -> dict[str, str]:
    """The published name of each of a model's tensors."""
    modules = MODULES | {"cell.motion": MOTION[motion]}
    names = {}
    for name in own_names(model):
        module, _, part = name.rpartition(".")
        norm = "norm" in modules[module].rpartition("/")[2]
        ending = (
            {"weight": "gamma", "bias": "beta"} if norm else {"weight": "weights", "bias": "biases"}
        )
        names[name] = f"{SCOPE}{modules[module]}/{ending[part]}"
    return names
