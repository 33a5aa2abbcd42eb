"""Streams: one generator per sequence, so that its draws do not depend on its neighbours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor

from statecast.errors import InputError


class Streams(torch.Generator):
    """A generator for a batch of sequences, each of which draws from a stream of its own.

    What is drawn for a sequence is the same whatever batch it is in. Normal draws of
    `DiagonalGaussian` know streams; whatever else takes a generator draws from the generator that
    this one is as well, a stream of the whole batch.

    Args:
        generators: of the sequences, in the order of the batch.
    """

    generators: tuple[torch.Generator, ...]

    def __new__(cls, generators: Iterable[torch.Generator]) -> Self:
        made = super().__new__(cls)
        made.generators = tuple(generators)
        return made

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        if not self.generators:
            raise InputError("Streams need at least 1 generator, got none.")
        self.manual_seed(self.generators[0].initial_seed())

    def normal(self, shape: tuple[int, ...] | torch.Size, dtype: torch.dtype) -> Tensor:
        """Standard normal values (sample, batch, …) of this shape.

        Errors:
            InputError: the second dimension is not that of the sequences.
        """
        count = len(self.generators)
        if len(shape) < 2 or shape[1] != count:
            raise InputError(
                f"Streams of {count} sequences draw values (sample, {count}, …), got the shape "
                f"{tuple(shape)}. Pass a single generator."
            )
        options: dict[str, Any] = {"dtype": dtype, "device": self.device}
        each = (shape[0], *shape[2:])
        drawn = [torch.randn(each, generator=stream, **options) for stream in self.generators]
        return torch.stack(drawn, dim=1)
