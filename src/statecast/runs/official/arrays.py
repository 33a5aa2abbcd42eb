"""from_arrays: models with the weights of published systems, from arrays."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from torch import Tensor

from statecast.checks import typed
from statecast.errors import InputError, StatecastError
from statecast.models.base import Forecaster
from statecast.runs.official.weights import unwrapped, without_prefixes

MODULES = {  # beginning of a system's name -> file of this folder, with `from_arrays`
    "svg": "svg",
    "phydnet": "phydnet",
    "mim": "predrnn",
    "predrnn": "predrnn",
    "convlstm": "predrnn",
    "pknl": "pknl",
    "mcnet": "mcnet",
    "drnet": "drnet",
    "ddpae": "ddpae",
    "dsvae": "dsvae",
    "kvae": "kvae",
    "td_vae": "td_vae",
    "cdna": "sv2p",
    "sv2p": "sv2p",
    "savp": "savp",
    "struct": "struct_vrnn",
}


@typed
def from_arrays(system: str, arrays: Mapping[str, Any], config: Mapping[str, Any]) -> Forecaster:
    """A model with published weights and sizes, in evaluation mode.

    Args:
        system: name of the system, such as `svg`, `phydnet` or `td_vae`; a suffix, such as the
            variant in `svg_fp` or `SVG-LP`, is ignored, because `config` states it.
        arrays: arrays or tensors by published name, alone or in a checkpoint with wrappers such as
            `state_dict`.
        config: sizes and options under the published names.

    Errors:
        InputError: there is no such system; or a setting or an array is missing, left over, or of
            another shape.
    """
    asked = system.lower().replace("-", "_")
    for name, module in MODULES.items():
        if asked.startswith(name):
            return build(system, module, arrays, config)
    raise InputError(f"There is no published system {system!r}; choose from {', '.join(MODULES)}.")


def build(
    system: str, module: str, arrays: Mapping[str, Any], config: Mapping[str, Any]
) -> Forecaster:
    """The model by the `from_arrays` of a file of this folder."""
    tensors = {name: native(name, value) for name, value in unwrapped(arrays).items()}
    make = import_module(f"statecast.runs.official.{module}").from_arrays
    try:
        model: Forecaster = make(without_prefixes(tensors), config)
    except StatecastError:
        raise
    except KeyError as error:
        raise InputError(f"The settings or arrays of {system} lack {error}.") from error
    except (ArithmeticError, AttributeError, IndexError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"The settings and arrays of {system} describe no model: {reason}"
        ) from error
    return model


def native(name: str, value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    """A copy of an array or tensor in the memory order and byte order that PyTorch takes."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().float().numpy()
    array = np.array(value, order="C")
    if array.dtype.kind not in "biuf":
        raise InputError(f"The array {name} should hold numbers, got {array.dtype}.")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
