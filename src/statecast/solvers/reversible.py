r"""Reversible Heun, a method whose steps can be undone up to rounding in the last bits.

A state is a pair, y and its shadow ŷ, equal at first. With $I(y) = f(y) h + g(y) ΔW$, a step is

$$\hat y' = 2 y - \hat y + I(\hat y), \qquad y' = y + \tfrac12 (I(\hat y) + I(\hat y'))$$

and the step back is the same with −I, so that it is exact up to rounding. The order is 2 for an
ordinary equation; the strong order is 1 for a Stratonovich equation with diagonal noise, and ½ in
general. The method does not damp: its region of stability is smaller than that of Heun's.

Reference: Kidger, Foster, Li and Lyons (2021), https://arxiv.org/abs/2105.13493.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Increment = Callable[[Tensor], Tensor]


class Pair(NamedTuple):
    """A state of the reversible method of Heun."""

    state: Float[Tensor, "*shape"]
    shadow: Float[Tensor, "*shape"]


Followed = Tensor | Pair  # the state that a solver carries


def reversible_heun(increment: Increment, pair: Pair) -> Pair:
    """One step; a negative increment, −I, steps back."""
    first = increment(pair.shadow)
    shadow = 2 * pair.state - pair.shadow + first
    return Pair(pair.state + 0.5 * (first + increment(shadow)), shadow)


ReversibleStep = Callable[[Tensor, int, bool], Tensor]


def reversible_path(
    step: ReversibleStep, state: Float[Tensor, "*shape"], count: int, inputs: Sequence[Tensor]
) -> Float[Tensor, "step *shape"]:
    """States after each of `count` steps, with gradients that need no stored activations.

    The forward pass keeps only the last state. The backward pass steps back from it, and
    differentiates one step at a time: as exact as back-propagation, for more evaluations.

    Args:
        step: from a state, the index of a step, and whether to step back, to the state at the
            other end of the step.
        state: the state before the first step.
        count: number of steps.
        inputs: all other tensors that steps depend on and that need gradients: weights, noise.
    """
    found: Tensor = _ReversiblePath.apply(step, count, state, *inputs)  # type: ignore[no-untyped-call]
    return found


class _ReversiblePath(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, step: ReversibleStep, count: int, state: Tensor, *inputs: Tensor
    ) -> Tensor:
        states = []
        with torch.no_grad():
            for number in range(count):
                state = step(state, number, False)
                states.append(state)
        ctx.step, ctx.count = step, count
        ctx.save_for_backward(state.detach().clone(), *inputs)
        return torch.stack(states)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (wanted,) = gradients
        state, *inputs = ctx.saved_tensors
        needed = [tensor for tensor in inputs if tensor.requires_grad]
        totals = [torch.zeros_like(tensor) for tensor in needed]
        adjoint = torch.zeros_like(state)
        for number in reversed(range(ctx.count)):
            adjoint = adjoint + wanted[number]
            with torch.no_grad():
                before = ctx.step(state, number, True)
            with torch.enable_grad():
                before.requires_grad_()
                after = ctx.step(before, number, False)
            adjoint, *parts = torch.autograd.grad(
                after, [before, *needed], adjoint, allow_unused=True, materialize_grads=True
            )
            totals = [total + part for total, part in zip(totals, parts, strict=True)]
            state = before.detach()
        found = iter(totals)
        return (
            None,
            None,
            adjoint,
            *(next(found) if tensor.requires_grad else None for tensor in inputs),
        )
