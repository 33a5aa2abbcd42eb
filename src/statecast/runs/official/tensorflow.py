"""Variables of TensorFlow as weights of PyTorch's layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statecast.runs.official.weights import Arrays, Model, load_weights


def as_weight(array: np.ndarray[Any, np.dtype[Any]]) -> Tensor:
    """A variable with its axes in PyTorch's order.

    Kernels, also of transposed convolutions, get their last two axes first, in reverse; matrices
    are transposed; vectors stay.
    """
    tensor = torch.from_numpy(np.asarray(array))
    if tensor.ndim < 2:
        return tensor
    return tensor.permute(tensor.ndim - 1, tensor.ndim - 2, *range(tensor.ndim - 2)).contiguous()


def load_variables(
    model: Model, names: Mapping[str, str], arrays: Arrays, *, unused: Collection[str] = ()
) -> Model:
    """The model with published variables; as `load_weights`.

    Args:
        model: of the published sizes.
        names: the published name of each of its tensors, by ours.
        arrays: by published name.
        unused: published variables that may be present but that the model does not use.

    Errors:
        InputError: a variable is missing, left over, or of another shape; the message names it.
    """
    used = {name: as_weight(array) for name, array in arrays.items() if name not in unused}
    return load_weights(model, names, used)
