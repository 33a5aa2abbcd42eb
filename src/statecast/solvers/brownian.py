"""Brownian motion over a frame interval: one path, whatever times are requested."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.solvers.counters import Integers, counter_normals, node_keys

DEPTH = 16  # levels of midpoints; times in one cell of the last level lie 2e-5 frames apart
LEAVES = 2**DEPTH  # nodes from here on are bridges inside a cell of the last level

NodeNoise = Callable[[int], Tensor]


def bridge(
    before: Float[Tensor, "*shape"],
    after: Float[Tensor, "*shape"],
    fraction: float,
    length: float,
    standard: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    r"""A Brownian path at a fraction of an interval, given its values at both ends.

    $$W_a + \phi (W_b - W_a) + \sqrt{\phi (1 - \phi)(b - a)}\; \xi$$
    """
    return before.lerp(after, fraction) + math.sqrt(fraction * (1 - fraction) * length) * standard


def node_normals(keys: Integers, node: int, size: int, like: Tensor) -> Float[Tensor, "*keys size"]:
    """Standard normal values of one node below each key, with the dtype and device of `like`."""
    double = like.dtype == torch.float64
    values = counter_normals(node_keys(keys, node), size, double=double)
    return torch.from_numpy(values).to(like.device, like.dtype)


class BrownianPath:
    r"""A path W on [0, 1] with W(0) = 0, built by midpoints (Lévy's construction).

    W(1) is the noise of node 0. The midpoint of cell j of level l, of length $2^{-l}$, is the mean
    of both ends plus $\tfrac12 2^{-l/2}$ times the noise of node $2^l + j$. A time that lies on no
    level is a bridge inside its cell of level `DEPTH`. So a value depends on its time only, not on
    a step size, nor on which other times are requested, nor on their order.

    Args:
        noise: function from a node to standard normal values, always of one shape.
    """

    def __init__(self, noise: NodeNoise) -> None:
        self._noise = noise
        end = noise(0)
        self._values: dict[float, Tensor] = {0.0: torch.zeros_like(end), 1.0: end}

    @classmethod
    def of_keys(cls, keys: Integers, size: int, like: Tensor) -> BrownianPath:
        """Paths of `size` dimensions, one for each key, with the dtype and device of `like`."""
        return cls(lambda node: node_normals(keys, node, size, like))

    def at(self, time: float) -> Float[Tensor, "*shape"]:
        """W at a time in [0, 1].

        Errors:
            InputError: the time lies outside [0, 1].
        """
        if not 0 <= time <= 1:
            raise InputError(f"Times of a Brownian path must lie in [0, 1], got {time}.")
        low, high = 0.0, 1.0
        for level in range(DEPTH):
            if time in self._values:
                break
            middle = (low + high) / 2
            if middle not in self._values:
                node = 2**level + round(low * 2**level)
                self._values[middle] = self._between(low, high, middle, node)
            low, high = (middle, high) if time >= middle else (low, middle)
        if time not in self._values:
            self._values[time] = self._between(low, high, time, LEAVES + round(low * LEAVES))
        return self._values[time]

    def increment(self, start: float, end: float) -> Float[Tensor, "*shape"]:
        """W(end) − W(start)."""
        return self.at(end) - self.at(start)

    def _between(self, low: float, high: float, time: float, node: int) -> Tensor:
        length = high - low
        ends = self._values[low], self._values[high]
        return bridge(*ends, (time - low) / length, length, self._noise(node))
