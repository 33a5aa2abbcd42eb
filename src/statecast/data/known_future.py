"""Windows whose future is known as a distribution: the best possible forecast."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from statecast.data.base import Windows
from statecast.frames import Forecast
from statecast.nn.random import standard_normal


class KnownFuture(Windows):
    """Windows with the exact law of their target, given what is observed of their context."""

    @abstractmethod
    def exact_forecast(
        self, indices: Tensor, *, samples: int, generator: torch.Generator | None = None
    ) -> Forecast:
        """Samples of the target from its exact law, in the units of the data.

        Args:
            indices: of the windows.
            samples: futures of each window.
            generator: source of the draws.
        """

    @abstractmethod
    def expected_crps(self, indices: Tensor) -> Float[Tensor, "window time"]:
        r"""Expected CRPS of the exact law, in closed form.

        $$\tfrac12 \mathbb E |X - X'|$$

        for two independent draws of each pixel, averaged over pixels. No forecast has a lower
        expected CRPS.
        """


class KnownModes(KnownFuture):
    """Windows whose future is one of a few modes, each with a known probability.

    Class attributes:
        modes: names of the modes.
    """

    modes: tuple[str, ...]

    @abstractmethod
    def mode_probabilities(self, indices: Tensor) -> Float[Tensor, "window mode"]:
        """Probability of each mode, given what is observed."""

    @abstractmethod
    def modes_of(
        self, frames: Float[Tensor, "*batch time channel *space"]
    ) -> Int[Tensor, "*batch"]:
        """The mode of each future, as an index of `modes`."""


class TwoWays(KnownModes):
    """Windows whose future takes one of two known paths; which one is random."""

    @abstractmethod
    def futures(self, indices: Tensor) -> Float[Tensor, "mode window time channel *space"]:
        """Target frames of each mode."""

    def exact_forecast(
        self, indices: Tensor, *, samples: int, generator: torch.Generator | None = None
    ) -> Forecast:
        first, second = self.futures(indices)
        probability = self.mode_probabilities(indices)[:, 1]
        drawn = standard_normal((samples, len(indices)), probability, generator)
        chosen = torch.special.ndtr(drawn) < probability
        values = torch.where(chosen[(..., *[None] * (first.ndim - 1))], second, first)
        target = self.batch(indices[:1]).target
        return Forecast(samples=values, times=target.times, channels=target.channels)

    def expected_crps(self, indices: Tensor) -> Float[Tensor, "window time"]:
        first, second = self.futures(indices)
        both = self.mode_probabilities(indices).prod(dim=1)
        return both[:, None] * (second - first).abs().flatten(2).mean(dim=2)
