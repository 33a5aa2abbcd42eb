"""Finite differences on regular grids, for whole batches at once."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

# Second derivative on 5 points, error of order h⁴.
SECOND_DERIVATIVE = (-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12)
REACH = 2  # points on each side


def second_derivative(
    values: Float[Tensor, "*shape"], axis: int, *, spacing: float = 1.0
) -> Float[Tensor, "*shape"]:
    """Fourth-order second derivative along an axis; 0 at the two outermost points of each end."""
    result = torch.zeros_like(values)
    inner = values.shape[axis] - 2 * REACH
    out = result.narrow(axis, REACH, inner)
    for offset, weight in enumerate(SECOND_DERIVATIVE):
        out.add_(values.narrow(axis, offset, inner), alpha=weight / spacing**2)
    return result


def laplacian(values: Float[Tensor, "*batch y x"]) -> Tensor:
    """Sum of the second derivatives along the last two axes, for a spacing of 1."""
    along_y = second_derivative(values, values.ndim - 2)
    return along_y.add_(second_derivative(values, values.ndim - 1))
