"""Published tensors loaded into our models, with their names and shapes checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.models.base import Forecaster

Arrays = Mapping[str, np.ndarray[Any, np.dtype[Any]]]
Model = TypeVar("Model", bound=Forecaster)
WRAPPERS = ("net_param", "state_dict", "model_state_dict", "model")  # of tensors, in checkpoints
PREFIXES = ("module.", "model.")  # that data parallelism and Lightning put before all names


def unwrapped(content: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """The content of a checkpoint without its wrappers."""
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return unwrapped(content[wrapper])
    return content


def without_prefixes(tensors: dict[str, Any]) -> dict[str, Any]:
    """Tensors by name, without prefixes that a wrapper of the model has added to all names."""
    for prefix in PREFIXES * 2:  # either may come first
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def load_weights(model: Model, names: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Model:
    """The model, in evaluation mode, with published tensors in place of its own.

    Args:
        model: of the published sizes.
        names: the published name of each of its tensors, by ours.
        tensors: by published name, in our layout.

    Errors:
        InputError: a tensor is missing, left over, or of another shape; the message names it.
    """
    own, system = model.state_dict(), type(model).__name__
    remaining = dict(tensors)
    with torch.no_grad():
        for name, theirs in names.items():
            if theirs not in remaining:
                raise InputError(f"The published weights of {system} lack the tensor {theirs}.")
            tensor = remaining.pop(theirs)
            if tensor.shape != own[name].shape:
                raise InputError(
                    f"By its configuration, the published tensor {theirs} should have shape "
                    f"{tuple(own[name].shape)}, got {tuple(tensor.shape)}."
                )
            own[name].copy_(tensor)
    if remaining:
        raise InputError(
            "The published weights hold tensors that the model does not have: "
            f"{', '.join(remaining)}."
        )
    return model.eval()


def own_names(model: Forecaster) -> list[str]:
    """Names of a model's tensors that published weights hold: all but normaliser and counters."""
    skipped = ("normaliser.", "num_batches_tracked")
    return [name for name in model.state_dict() if not any(part in name for part in skipped)]
