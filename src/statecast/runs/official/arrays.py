"""from_arrays: models with the weights of published systems, given as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from statecast.checks import typed
from statecast.errors import InputError
from statecast.models.base import Forecaster

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
        system: name of the system, such as `svg`, `phydnet` or `td_vae`; what follows the name,
            such as the variant in `svg_fp` or `SVG-LP`, is read from `config`.
        arrays: arrays by published name.
        config: sizes and options under the published names.

    Errors:
        InputError: no system of this name; a setting or an array is missing, left over, or of
            another shape.
    """
    asked = system.lower().replace("-", "_")
    for name, module in MODULES.items():
        if asked.startswith(name):
            build = import_module(f"statecast.runs.official.{module}").from_arrays
            model: Forecaster = build(arrays, config)
            return model
    raise InputError(f"There is no published system {system!r}; choose from {', '.join(MODULES)}.")
