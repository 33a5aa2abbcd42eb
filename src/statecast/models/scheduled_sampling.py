"""Scheduled sampling: which inputs of a model in training are true frames."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from statecast.nn.random import uniform


class TrueFrames(NamedTuple):
    """Probabilities that an input is the true frame, not the prediction of it."""

    context: float  # of frames in the context
    horizon: float  # of frames after it


def scheduled_sampling(step: int, *, end: int) -> TrueFrames:
    r"""True frames in the context; after it, less and less of them.

    The probability is $1 - (k + 1) / \text{end}$ at step k, counted from 0, and then 0.

    Reference: Bengio et al. (2015), https://arxiv.org/abs/1506.03099.
    """
    return TrueFrames(1.0, max(0.0, 1 - (step + 1) / end))


def reverse_scheduled_sampling(step: int, *, start: int, end: int, decay: float) -> TrueFrames:
    r"""Half of all frames at first; then more and more in the context, less and less after it.

    With n = k + 1 at step k, counted from 0: 1/2 and 1/2 before `start`; then
    $1 - \frac12 e^{-(n - \text{start}) / \text{decay}}$ and a straight line from 1/2 to 0 at
    `end`; then 1 and 0.

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
    """Whether each input after the first frame, and before the last one, is the true frame.

    Args:
        probabilities: that it is.
        windows: size of the batch; each window has draws of its own.
        context: frames of the context.
        horizon: frames after it.
        generator: source of the draws, of one uniform number per window and input.
    """
    inside = context - 1
    shape = (windows, inside + horizon - 1)
    numbers = uniform(shape, torch.empty(0), generator)
    return torch.cat(
        [numbers[:, :inside] < probabilities.context, numbers[:, inside:] < probabilities.horizon],
        dim=1,
    )


def inverse_sigmoid_sampling(step: int, *, decay: float) -> TrueFrames:
    r"""True frames in the context; after it, less and less of them, and less steeply in the end.

    The probability is $k / (k + e^{n / k})$ at step n, counted from 0, with the decay k: almost 1
    until about n = k, and 1/2 at n = k ln k.

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
    """As `draw_true_frames`, with fixed numbers of true frames at each time instead of chances.

    Which windows of a batch take them is drawn at each time. Where processes share a batch, each
    takes its part of the number, rounded.
    """
    inside = context - 1
    numbers = uniform((windows, inside + horizon - 1), torch.empty(0), generator)
    ranks = numbers.argsort(dim=0).argsort(dim=0)
    counts = torch.tensor(
        [round(windows * probabilities.context)] * inside
        + [round(windows * probabilities.horizon)] * (horizon - 1)
    )
    return ranks < counts
