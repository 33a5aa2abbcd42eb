"""Principal directions of rows that arrive in parts."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError

SPARE = 32  # directions kept beyond those asked for, to reduce the error of dropping the rest


class IncrementalBasis:
    """Mean and leading principal directions of rows, updated part by part.

    Each update stacks the directions so far, scaled by their singular values, the new centred
    rows, and one row for the shift of the mean, and keeps the leading directions of the stack. The
    result is exact if the rows have no more directions than are kept.

    Reference: Ross et al. (2008), https://doi.org/10.1007/s11263-007-0075-7.

    Args:
        rank: number of directions.

    Attributes:
        count: number of rows seen.
        mean: their mean, (column,).
    """

    def __init__(self, rank: int) -> None:
        if rank < 1:
            raise InputError(f"A basis needs a rank of at least 1, got {rank}.")
        self.rank, self.count = rank, 0
        self.mean = torch.zeros(0)
        self._scaled = torch.zeros(0, 0)  # directions times singular values
        self._total = 0.0  # sum of squares around the mean

    def add(self, rows: Float[Tensor, "row column"]) -> None:
        """Add rows."""
        if self.count == 0:
            self.mean = torch.zeros_like(rows[0])
            self._scaled = rows[:0]
        new, total = len(rows), self.count + len(rows)
        shift = rows.mean(dim=0) - self.mean
        between = (self.count * new / total) ** 0.5 * shift
        centred = rows - rows.mean(dim=0)
        self._total += float(centred.square().sum() + between.square().sum())
        joined = torch.cat([self._scaled, centred, between.unsqueeze(0)])
        self._scaled = leading(joined, self.rank + SPARE)
        self.mean = self.mean + shift * (new / total)
        self.count = total

    @property
    def singular(self) -> Float[Tensor, " direction"]:
        """Singular values of the directions; their squares divided by `count` are variances."""
        return self._scaled[: self.rank].norm(dim=1)

    @property
    def directions(self) -> Float[Tensor, "direction column"]:
        """Orthonormal rows, by decreasing variance, at most `rank`."""
        return self._scaled[: self.rank] / self.singular.unsqueeze(1)

    def rank_of(self, energy: float) -> int:
        """Fewest directions with this fraction of the variance; all if they do not reach it."""
        held = self.singular.square().cumsum(dim=0)
        return min(int((held < energy * self._total).sum()) + 1, len(held))


def leading(rows: Float[Tensor, "row column"], count: int) -> Float[Tensor, "direction column"]:
    """At most `count` leading right singular vectors of a matrix, times their singular values."""
    wide = rows.shape[0] < rows.shape[1]
    gram = rows @ rows.T if wide else rows.T @ rows
    values, vectors = torch.linalg.eigh(gram)  # increasing
    values, vectors = values.flip(0)[:count], vectors.flip(1)[:, :count]
    # Squared singular values below rounding are noise; their directions are not orthogonal.
    kept = values > len(gram) * torch.finfo(values.dtype).eps * values[0].clamp(min=0)
    values, vectors = values[kept], vectors[:, kept]
    return vectors.T @ rows if wide else values.sqrt().unsqueeze(1) * vectors.T
