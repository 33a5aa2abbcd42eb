"""A training step as it is first written: loss, gradients, Adam weight by weight."""

from __future__ import annotations

from collections.abc import Callable

import torch
from plain.layers import Weights
from torch import Tensor


class Descent:
    """Weights in training, and their optimizer.

    Args:
        state: weights and statistics by name; they are copied.
        trained: names of the weights among them.
        rate: learning rate.
        betas: of Adam.
    """

    def __init__(
        self, state: Weights, trained: list[str], *, rate: float, betas: tuple[float, float]
    ) -> None:
        self.state = {name: values.detach().clone() for name, values in state.items()}
        self.trained = [self.state[name].requires_grad_() for name in trained]
        self.optimizer = torch.optim.Adam(self.trained, lr=rate, betas=betas, foreach=False)

    def step(self, loss: Callable[[Weights], Tensor]) -> float:
        """One step; the loss before it."""
        self.optimizer.zero_grad()
        total = loss(self.state)
        total.backward()
        self.optimizer.step()
        return total.item()
