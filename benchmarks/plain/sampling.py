"""Which frames a plain recurrent system reads in training: true ones, or its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from plain.given import Given
from torch import Tensor

S = TypeVar("S")
Step = Callable[[Tensor, S | None], tuple[Tensor, S]]


def linear_mask(given: Given, windows: int, horizon: int) -> Tensor:
    """True inputs (window, input) in the context; after it, fewer from step to step."""
    return mask(
        given, windows, horizon, max(0.0, 1 - (given.step + 1) / given.options.sampling_end)
    )


def inverse_sigmoid_mask(given: Given, windows: int, horizon: int) -> Tensor:
    """The same, fewer after an inverse sigmoid."""
    decay = given.options.sampling_decay
    return mask(given, windows, horizon, decay / (decay + math.exp(given.step / decay)))


def mask(given: Given, windows: int, horizon: int, probability: float) -> Tensor:
    """True inputs (window, input), in the context and by chance after it."""
    chosen = given.draws.uniform(given.context + horizon - 2) < probability
    chosen[:, : given.context - 1] = True
    return chosen


def teach(step: Step[S], frames: Tensor, chosen: Tensor) -> tuple[Tensor, list[S]]:
    """All frames but the first, each made from the true frame before it or from its forecast."""
    made: list[Tensor] = []
    states: list[S] = []
    for time in range(frames.shape[1] - 1):
        frame = frames[:, time]
        if made:
            frame = torch.where(chosen[:, time - 1, None, None, None], frame, made[-1])
        after, state = step(frame, states[-1] if states else None)
        made.append(after)
        states.append(state)
    return torch.stack(made, 1), states


def feed_back(step: Step[S], context: Tensor, horizon: int) -> Tensor:
    """Frames after a context (row, time, …), each made from the one before it."""
    state, frame, made = None, context[:, 0], []
    for time in range(context.shape[1]):
        frame, state = step(context[:, time], state)
    while True:
        made.append(frame)
        if len(made) == horizon:
            return torch.stack(made, 1)
        frame, state = step(frame, state)
