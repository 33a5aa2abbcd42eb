"""Schedules of training: which inputs are true frames, and how a weight rises."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from statecast.nn.random import uniform


class TrueFrames(NamedTuple):
    """Probabilities that an input is the true frame instead of its prediction."""

    context: float  # of frames in the context
    horizon: float  # of frames after it


def linear_rise(step: int, *, start: int, end: int) -> float:
    """A factor that rises linearly from 0 at step `start` to 1 at step `end`; a jump if equal."""
    if step >= end:
        return 1.0
    return (step - start) / (end - start) if step > start else 0.0


def scheduled_sampling(step: int, *, end: int) -> TrueFrames:
    r"""Only true frames in the context; fewer and fewer after it.

    After the context, the probability is $1 - (k + 1) / \text{end}$ at step k, counted from 0, and
    0 from `end` on.

    Reference: Bengio et al. (2015), https://arxiv.org/abs/1506.03099.
    """
    return TrueFrames(1.0, max(0.0, 1 - (step + 1) / end))


def reverse_scheduled_sampling(step: int, *, start: int, end: int, decay: float) -> TrueFrames:
    r"""Half of all frames at first; then more and more in the context, fewer and fewer after it.

    At step k, counted from 0, and with n = k + 1, the probabilities in and after the context are
    1/2 and 1/2 before `start`; then $1 - \frac12 e^{-(n - \text{start}) / \text{decay}}$ and a
    straight line from 1/2 to 0 at `end`; then 1 and 0.

    Reference: Wang et al. (2021), https://arxiv.org/abs/2103.09504.
    """
    passed = step + 1 - start
    if passed < 0:
        return TrueFrames(0.5, 0.5)
    if step + 1 >= end:
        return TrueFrames(1.0, 0.0)
    return TrueFrames(1 - 0.5 * math.exp(-passed / decay), 0.5 - 0.5 * passed / (end - start))


def draw_true_frames(
    probabilities: TrueFrames,
    *,
    windows: int,
    context: int,
    horizon: int,
    generator: torch.Generator | None,
) -> Bool[Tensor, "batch input"]:
    """Whether each input, from the second frame to the last but one, is the true frame.

    Args:
        probabilities: probabilities that it is.
        windows: size of the batch; each window has draws of its own.
        context: number of frames in the context.
        horizon: number of frames after it.
        generator: source of the draws, one uniform number per window and input.
    """
    inside = context - 1
    shape = (windows, inside + horizon - 1)
    numbers = uniform(shape, torch.empty(0), generator)
    return torch.cat(
        [numbers[:, :inside] < probabilities.context, numbers[:, inside:] < probabilities.horizon],
        dim=1,
    )


def inverse_sigmoid_sampling(step: int, *, decay: float) -> TrueFrames:
    r"""Only true frames in the context; fewer and fewer after it, along an inverse sigmoid.

    After the context, the probability is $k / (k + e^{n / k})$ at step n, counted from 0, with the
    decay k: almost 1 until about n = k, and 1/2 at n = k ln k.

    Reference: Bengio et al. (2015), https://arxiv.org/abs/1506.03099.
    """
    odds = decay * math.exp(-step / decay)
    return TrueFrames(1.0, odds / (1 + odds))


def draw_true_counts(
    probabilities: TrueFrames,
    *,
    windows: int,
    context: int,
    horizon: int,
    generator: torch.Generator | None,
) -> Bool[Tensor, "batch input"]:
    """Like `draw_true_frames`, with a fixed number of true frames at each time.

    The windows that get them are drawn at each time. If processes share a batch, each process has
    its share of the number, rounded.
    """
    inside = context - 1
    numbers = uniform((windows, inside + horizon - 1), torch.empty(0), generator)
    ranks = numbers.argsort(dim=0).argsort(dim=0)
    counts = torch.tensor(
        [round(windows * probabilities.context)] * inside
        + [round(windows * probabilities.horizon)] * (horizon - 1)
    )
    return ranks < counts
