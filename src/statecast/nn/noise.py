"""Noise: standard normal values for all samples of a roll-out, drawn or replayed."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.nn.random import standard_normal


class Noise:
    """Standard normal values for the rows of a roll-out.

    A row is one sample of one sequence. The samples of a sequence are neighbours: row
    `sequence * samples + sample`, so that shared parts can be computed once per sequence.

    Args:
        samples: samples of each sequence.
        batch: number of sequences.
        generator: source of the draws.
        replayed: values (sample, batch, *size) that replace the draws, in order.
    """

    def __init__(
        self,
        samples: int,
        batch: int,
        generator: torch.Generator | None = None,
        *,
        replayed: Iterable[Tensor] | None = None,
    ) -> None:
        self.samples, self.batch, self.generator = samples, batch, generator
        self._replayed = None if replayed is None else iter(replayed)

    def draw(self, *size: int, like: Tensor) -> Float[Tensor, "row *size"]:
        """The next values, of this size for each row, with the dtype and device of `like`.

        Errors:
            InputError: no values are left to replay, or they have another size.
        """
        shape = (self.samples, self.batch, *size)
        if self._replayed is None:
            values = standard_normal(shape, like, self.generator)
        else:
            values = self._next(shape).to(like)
        return values.transpose(0, 1).flatten(0, 1)

    def _next(self, shape: tuple[int, ...]) -> Tensor:
        assert self._replayed is not None
        values = next(self._replayed, None)
        if values is None or values.shape != shape:
            found = "none" if values is None else f"values {tuple(values.shape)}"
            raise InputError(
                f"The noise to replay must continue with values (sample, batch, *size) = {shape}, "
                f"got {found}. Replay a recording of a roll-out of the same samples, sequences and "
                "length."
            )
        return values

    def rows(self, values: Float[Tensor, "batch *shape"]) -> Float[Tensor, "row *shape"]:
        """The values of each sequence, repeated for each of its samples."""
        return values if self.samples == 1 else values.repeat_interleave(self.samples, dim=0)
