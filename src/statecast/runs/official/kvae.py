"""KVAE's published settings and weights, as a model of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.kvae.model import KVAE
from statecast.runs.official.settings import channel_names
from statecast.runs.official.weights import load_weights

Array = np.ndarray[Any, np.dtype[Any]]
UNUSED = ("B",)  # control matrices: the published controls are zero
MIXING = (  # not used by a single matrix
    "y_0",
    "alpha/basic_lstm_cell/kernel",
    "alpha/basic_lstm_cell/bias",
    "alpha/alpha_var/weights",
    "alpha/alpha_var/biases",
)
ENCODER, DECODER = "vae/encoder/", "vae/decoder/"
SIZES = {  # our option: published size
    "code_size": "dim_a",
    "state_size": "dim_z",
    "matrices": "K",
    "mixing_hidden": "alpha_units",
}
CONSTANTS = {  # our option: published constant
    "transition_variance": "noise_transition",
    "emission_variance": "noise_emission",
    "initial_variance": "init_cov",
    "reconstruction_weight": "scale_reconstruction",
}


def from_arrays(arrays: Mapping[str, Array], config: Mapping[str, Any]) -> KVAE:
    """The published model with these weights, in evaluation mode.

    It estimates its loss and starts its forecasts as published.

    Args:
        arrays: variables of the published checkpoint under their names.
        config: the tables `sizes` (`image`, `filters`, `dim_a`, `dim_z`, `K`, `alpha_units`,
            `time`, `t_init_mask`) and `constants` (`noise_emission`, `noise_transition`,
            `init_cov`, `initial_mean`, `scale_reconstruction`).

    Errors:
        InputError: a setting is missing, or an array is missing, left over, or of another shape.
    """
    sizes, constants = config["sizes"], config["constants"]
    context = sizes["t_init_mask"]
    spec = FrameSpec(
        channels=channel_names(sizes.get("channels", 1)),
        space=(sizes["image"], sizes["image"]),
        context=context,
        horizon=sizes["time"] - context,
        value_range=(0.0, 1.0),
    )
    options = {ours: sizes[theirs] for ours, theirs in SIZES.items()}
    options |= {ours: constants[theirs] for ours, theirs in CONSTANTS.items()}
    filters = tuple(sizes["filters"])
    model = KVAE(spec, filters=filters, estimator="published", forecast_from="means", **options)
    model.dynamics.initial_mean.fill_(constants.get("initial_mean", 0.0))
    left = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
    for name in (*UNUSED, *(MIXING if model.dynamics.mixing is None else ())):
        left.pop(name, None)
    state = state_of(left, model, filters)
    if left:
        raise InputError(f"These arrays of KVAE are left over: {', '.join(sorted(left))}.")
    return load_weights(model, {name: name for name in state}, state)


def state_of(left: dict[str, Tensor], model: KVAE, filters: tuple[int, ...]) -> dict[str, Tensor]:
    """The state dict of a model, from published tensors, which are removed from `left`."""
    coarsest = [side // 2 ** len(filters) for side in model.spec.space]
    state = {
        "dynamics.transition": left.pop("A"),
        "dynamics.emission": left.pop("C"),
        "dynamics.transition_noise": left.pop("Q"),
        "dynamics.emission_noise": left.pop("R"),
    }
    grid = (*coarsest, filters[-1])
    for number in range(len(filters)):
        name = f"{ENCODER}Stack/convolution2d_{number + 1}"
        state |= convolution(left, name, f"encoder.layers.{3 * number + 1}")
        name = f"{DECODER}Conv{f'_{number}' if number else ''}"
        state |= convolution(left, name, f"decoder.layers.{3 * number + 2}")
    state |= convolution(
        left, f"{DECODER}Conv_{len(filters)}", f"decoder.layers.{3 * len(filters) + 2}"
    )
    for ours, theirs in {"mean": "", "variance": "_1"}.items():
        weight, bias = pair(left, f"{ENCODER}fully_connected{theirs}")
        state[f"encoder.{ours}.weight"] = channels_first(weight.T, grid)
        state[f"encoder.{ours}.bias"] = bias
    weight, bias = pair(left, f"{DECODER}fully_connected")
    state["decoder.layers.0.weight"] = channels_first(weight, grid).T
    state["decoder.layers.0.bias"] = channels_first(bias, grid)
    return state | ({} if model.dynamics.mixing is None else mixing_state(left, model.code_size))


def pair(left: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """Weights and biases of a layer, removed from `left`."""
    return left.pop(f"{name}/weights"), left.pop(f"{name}/biases")


def convolution(left: dict[str, Tensor], theirs: str, ours: str) -> dict[str, Tensor]:
    """A kernel, published as (row, column, input, output)."""
    weight, bias = pair(left, theirs)
    return {f"{ours}.weight": weight.permute(3, 2, 0, 1), f"{ours}.bias": bias}


def channels_first(values: Tensor, grid: tuple[int, ...]) -> Tensor:
    """Features of the last axis, published as (row, column, channel), with channels first."""
    return values.unflatten(-1, grid).movedim(-1, -3).flatten(-3)


def mixing_state(left: dict[str, Tensor], code_size: int) -> dict[str, Tensor]:
    """The mixing network; TensorFlow orders gates differently, and adds 1 to the forget gate."""
    kernel = ours_gates(left.pop("alpha/basic_lstm_cell/kernel"))
    bias = ours_gates(left.pop("alpha/basic_lstm_cell/bias"))
    weight, weight_bias = pair(left, "alpha/alpha_var")
    bias.chunk(4)[1].add_(1.0)
    return {
        "dynamics.mixing.first": left.pop("y_0"),
        "dynamics.mixing.lstm.weight_ih": kernel[:code_size].T,
        "dynamics.mixing.lstm.weight_hh": kernel[code_size:].T,
        "dynamics.mixing.lstm.bias_ih": bias,
        "dynamics.mixing.lstm.bias_hh": torch.zeros_like(bias),
        "dynamics.mixing.weights.weight": weight.T,
        "dynamics.mixing.weights.bias": weight_bias,
    }


def ours_gates(values: Tensor) -> Tensor:
    """Gates along the last axis, published as input, new, forget, output, in PyTorch's order."""
    first, new, forget, output = values.chunk(4, dim=-1)
    return torch.cat([first, forget, new, output], dim=-1)
