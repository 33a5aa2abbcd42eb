"""Arrays of TensorFlow's variables, as weights of PyTorch's layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from statecast.errors import InputError

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


def as_weight(array: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    """A variable with its axes in PyTorch's order.

    Kernels of convolutions, transposed ones too, have their last two axes first and exchanged;
    matrices are transposed; vectors stay.
    """
    tensor = torch.from_numpy(np.asarray(array))
    if tensor.ndim < 2:
        return tensor
    return tensor.permute(tensor.ndim - 1, tensor.ndim - 2, *range(tensor.ndim - 2)).contiguous()


def load_variables(
    model: nn.Module, names: Mapping[str, str], arrays: Arrays, *, unused: Collection[str] = ()
) -> None:
    """Set a model's tensors from published variables.

    Args:
        model: changed in place.
        names: by tensor of the model's state dict, the published name.
        arrays: by published name.
        unused: published variables that may be present but that the model does not use.

    Errors:
        InputError: a variable is missing, left over, or of another shape; names it.
    """
    expected, found = set(names.values()), set(arrays) - set(unused)
    if differing := sorted(expected ^ found):
        raise InputError(
            f"These arrays of {type(model).__name__} are missing or left over: "
            f"{', '.join(differing)}."
        )
    own = model.state_dict()
    with torch.no_grad():
        for ours, theirs in names.items():
            weight = as_weight(arrays[theirs])
            if weight.shape != own[ours].shape:
                raise InputError(
                    f"The published array {theirs} should have shape {tuple(own[ours].shape)} by "
                    f"its settings, with PyTorch's order of axes, got {tuple(weight.shape)}."
                )
            own[ours].copy_(weight)


def setting(config: Mapping[str, Any], name: str, system: str) -> Any:
    """A published setting.

    Errors:
        InputError: it is missing.
    """
    if name not in config:
        raise InputError(f"The settings of {system} lack {name!r}.")
    return config[name]


def own_names(model: nn.Module) -> list[str]:
    """Names of a model's tensors, except the normaliser's."""
    return [name for name in model.state_dict() if not name.startswith("normaliser.")]
