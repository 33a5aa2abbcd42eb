"""Matrices of Winograd convolutions: m outputs of r taps from m + r − 1 products.

Reference: Winograd (1980), Arithmetic Complexity of Computations.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from math import lcm
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

POINTS = (0, 1, -1, 2, -2)  # polynomials are evaluated at these points and at infinity

Rows = list[list[Fraction]]


class WinogradMatrices(NamedTuple):
    """Matrices of a Winograd convolution, each the Kronecker square of that of one direction."""

    inputs: Float[Tensor, "n² n²"]  # Bᵀ
    taps: Float[Tensor, "n² r²"]  # G
    outputs: Float[Tensor, "m² n²"]  # Aᵀ


@cache
def winograd_matrices(tile: int, taps: int, dtype: torch.dtype) -> WinogradMatrices:
    """Matrices for tiles of tile² outputs and kernels of taps².

    They follow from products of polynomials (Toom and Cook): the values of both factors at n points
    determine the product; the transpose of that product is the filter. Rows of Bᵀ are scaled to
    whole numbers, and rows of G by the inverse.
    """
    size = tile + taps - 1
    at = [[Fraction(point) ** power for power in range(size)] for point in POINTS[: size - 1]]

    def vandermonde(columns: int) -> Rows:
        last = [Fraction(int(power == columns - 1)) for power in range(columns)]
        return [*(row[:columns] for row in at), last]

    data = [list(row) for row in zip(*inverse(vandermonde(size)), strict=True)]
    scale = [Fraction(lcm(*(value.denominator for value in row))) for row in data]
    data = [[value * by for value in row] for row, by in zip(data, scale, strict=True)]
    weights = [[v / by for v in row] for row, by in zip(vandermonde(taps), scale, strict=True)]
    output = [list(row) for row in zip(*vandermonde(tile), strict=True)]
    return WinogradMatrices(*(squared(rows).to(dtype) for rows in (data, weights, output)))


def inverse(rows: Rows) -> Rows:
    """The exact inverse of a regular matrix, by Gauss and Jordan."""
    size = len(rows)
    work = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(rows)]
    for i in range(size):
        pivot = next(k for k in range(i, size) if work[k][i] != 0)
        work[i], work[pivot] = work[pivot], work[i]
        work[i] = [value / work[i][i] for value in work[i]]
        for k in range(size):
            if k != i:
                work[k] = [a - work[k][i] * b for a, b in zip(work[k], work[i], strict=True)]
    return [row[size:] for row in work]


def squared(rows: Rows) -> Tensor:
    """The Kronecker square of a matrix."""
    matrix = torch.tensor([[float(value) for value in row] for row in rows], dtype=torch.float64)
    return torch.kron(matrix, matrix)
