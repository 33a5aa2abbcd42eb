"""from_arrays: models with the weights of published systems, given as arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from statecast.checks import typed
from statecast.errors import InputError
from statecast.models.base import Forecaster
from statecast.runs.official import (
    ddpae,
    drnet,
    dsvae,
    kvae,
    mcnet,
    phydnet,
    pknl,
    predrnn,
    svg,
    td_vae,
)

Build = Callable[[Mapping[str, Any], Mapping[str, Any]], Forecaster]
BUILDERS: dict[str, Build] = {  # by the beginning of a system's name
    "svg": svg.from_arrays,
    "ddpae": ddpae.from_arrays,
    "mcnet": mcnet.from_arrays,
    "phydnet": phydnet.from_arrays,
    "pknl": pknl.from_arrays,
    "mim": predrnn.from_arrays,
    "predrnn": predrnn.from_arrays,
    "convlstm": predrnn.from_arrays,
    "drnet": drnet.from_arrays,
    "dsvae": dsvae.from_arrays,
    "kvae": kvae.from_arrays,
    "td_vae": td_vae.from_arrays,
    "td-vae": td_vae.from_arrays,
}


@typed
def from_arrays(system: str, arrays: Mapping[str, Any], config: Mapping[str, Any]) -> Forecaster:
    """A model with published weights and sizes, in evaluation mode.

    Args:
        system: name of the system, such as `svg`, `phydnet`, `mim`, `predrnn`, `convlstm`, `kvae`,
            `td_vae`; what
            follows the name, such as the variant in `svg_fp` or `SVG-LP`, is read from `config`.
        arrays: arrays by published name.
        config: sizes and options under the published names.

    Errors:
        InputError: no system of this name; a setting or an array is missing, left over, or of
            another shape.
    """
    for name, build in BUILDERS.items():
        if system.lower().startswith(name):
            return build(arrays, config)
    raise InputError(f"There is no published system {system!r}; there are {', '.join(BUILDERS)}.")
