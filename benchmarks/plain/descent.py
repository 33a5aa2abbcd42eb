"""A training step as it is first written: loss, gradients, Adam weight by weight."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from plain.layers import Weights
from torch import Tensor


def own_copy(state: Weights) -> dict[str, Tensor]:
    """Weights and statistics by name, apart from those that they are copied from.

    They lie in memory as PyTorch makes them, whatever the layout of ours.
    """
    plain = torch.contiguous_format
    return {name: values.detach().clone(memory_format=plain) for name, values in state.items()}


class Descent:
    """Weights in training, and their optimizer.

    Args:
        state: weights and statistics by name, which change.
        trained: names of the weights among them.
        rate: learning rate.
        betas: of Adam.
        clip: largest norm of the gradient.
        clip_each: largest norm of the gradient of each weight.
    """

    def __init__(
        self,
        state: dict[str, Tensor],
        trained: list[str],
        *,
        rate: float,
        betas: tuple[float, float],
        clip: float = math.inf,
        clip_each: float = math.inf,
    ) -> None:
        self.state, self.clip, self.clip_each = state, clip, clip_each
        self.trained = [self.state[name].requires_grad_() for name in trained]
        self.optimizer = torch.optim.Adam(self.trained, lr=rate, betas=betas, foreach=False)

    def step(self, loss: Callable[[Weights], Tensor]) -> float:
        """One step; the loss before it."""
        self.optimizer.zero_grad()
        total = loss(self.state)
        total.backward()
        if self.clip_each < math.inf:
            for weight in self.trained:
                torch.nn.utils.clip_grad_norm_(weight, self.clip_each)
        if self.clip < math.inf:
            torch.nn.utils.clip_grad_norm_(self.trained, self.clip)
        self.optimizer.step()
        return total.item()
