"""The random numbers of one of our calls, ready-made for plain code, again and again."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from statecast.nn.random import standard_normal, uniform


class Replayed:
    """Draws as our code makes them from a generator; made once, then repeated.

    Args:
        generator: of our call, before it.
        samples: futures of each window.
        windows: of the batch.
        device: of the values.
    """

    def __init__(
        self, generator: torch.Generator, samples: int, windows: int, device: torch.device
    ) -> None:
        self.generator, self.samples, self.windows = generator, samples, windows
        self.like = torch.empty((), device=device)
        self.made: list[Tensor] = []
        self.place = 0

    def again(self) -> Replayed:
        """The same draws from the first one on."""
        self.place = 0
        return self

    def normal(self, *size: int, samples: int | None = None) -> Tensor:
        """Standard normal values (row, *size), all samples of a window side by side."""
        return self._next(lambda: self._normal(samples or self.samples, size))

    def uniform(self, *size: int) -> Tensor:
        """Uniform values (window, *size) in [0, 1)."""
        return self._next(lambda: uniform((self.windows, *size), self.like, self.generator))

    def numbers(self, *size: int) -> Tensor:
        """Uniform values in [0, 1) of the whole batch, on the processor."""
        return self._next(lambda: torch.rand(size, generator=self.generator))

    def _normal(self, samples: int, size: tuple[int, ...]) -> Tensor:
        values = standard_normal((samples, self.windows, *size), self.like, self.generator)
        return values.transpose(0, 1).flatten(0, 1)

    def _next(self, make: Callable[[], Tensor]) -> Tensor:
        if self.place == len(self.made):
            self.made.append(make())
        self.place += 1
        return self.made[self.place - 1]
