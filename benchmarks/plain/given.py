"""Inputs of a plain system besides its weights: options, sizes and random numbers."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from torch import Tensor


class Draws(Protocol):
    """Random numbers, ready-made, in the order in which a system asks for them."""

    def normal(self, *size: int, samples: int | None = None) -> Tensor:
        """Standard normal values (row, *size), all samples of a window side by side."""
        ...

    def uniform(self, *size: int) -> Tensor:
        """Uniform values (window, *size) in [0, 1)."""
        ...

    def numbers(self, *size: int) -> Tensor:
        """Uniform values in [0, 1) of the whole batch."""
        ...


class Given(NamedTuple):
    """Besides the weights.

    Attributes:
        options: those of the model's recipe, by name.
        context: frames observed.
        step: optimiser steps done before.
        draws: random numbers.
        samples: futures of each window, the rows of one batch.
    """

    options: Any
    context: int
    step: int
    draws: Draws
    samples: int = 1

    def rows(self, values: Tensor) -> Tensor:
        """Values of each window, repeated for its samples."""
        return values.repeat_interleave(self.samples, 0)
