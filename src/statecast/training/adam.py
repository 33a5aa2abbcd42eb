"""Adam with epsilon inside the root, as used to train MIM."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn


class InnerEpsilonAdam(torch.optim.Optimizer):
    r"""Adam with the step $\eta\, \hat m / \sqrt{\hat v + \varepsilon}$.

    PyTorch adds ε outside the root. The two differ for small gradients: with the default ε, below
    about 0.001.

    References: Kingma and Ba (2015), https://arxiv.org/abs/1412.6980; the root as in
    https://github.com/Yunbo426/MIM.

    Args:
        weights: the parameters to optimise.
        lr: the learning rate, η.
        betas: decay of the first and second moments of the gradient.
        eps: ε.
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(weights, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every weight that has a gradient."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self.change(weight, weight.grad, group)
        return loss

    def change(self, weight: nn.Parameter, gradient: torch.Tensor, group: dict[str, Any]) -> None:
        """Update one weight."""
        state = self.state[weight]
        if not state:
            state["step"] = 0
            state["exp_avg"] = torch.zeros_like(weight)
            state["exp_avg_sq"] = torch.zeros_like(weight)
        state["step"] += 1
        first, second = group["betas"]
        mean = state["exp_avg"].lerp_(gradient, 1 - first)
        square = state["exp_avg_sq"].mul_(second).addcmul_(gradient, gradient, value=1 - second)
        root = (square / (1 - second ** state["step"]) + group["eps"]).sqrt_()
        weight.addcdiv_(mean, root, value=-group["lr"] / (1 - first ** state["step"]))
