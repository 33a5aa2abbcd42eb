"""Multiple shooting: one training sequence forecast in several pieces that have to meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Shots(NamedTuple):
    """One or several forecasts that together make the latents of a training sequence."""

    latents: Float[Tensor, "batch time *latent"]  # of every frame that is forecast
    initial: Float[Tensor, "batch shoot *latent"]  # inferred, where each forecast begins
    gaps: Float[Tensor, "batch gap *latent"]  # rolled out minus inferred, where the next begins


def shoot(
    frames: Float[Tensor, "batch time channel *space"],
    starts: Sequence[int],
    end: int,
    *,
    context: int,
    infer: Callable[[Tensor], Tensor],
    roll_out: Callable[[Tensor, int], Tensor],
) -> Shots:
    """Infer a latent at each start, and roll it out up to the next one.

    Args:
        frames: the sequences.
        starts: first frames of the windows that latents are inferred from, increasing.
        end: where the last roll-out ends, counted like the starts.
        context: frames of a window.
        infer: windows (batch, context, channel, *space) to latents (batch, *latent).
        roll_out: a latent and a number of frames to (batch, frame, *latent), itself the first.
    """
    observed = torch.stack([frames[:, start : start + context] for start in starts], dim=1)
    initial = infer(observed.flatten(0, 1)).unflatten(0, observed.shape[:2])
    paths, gaps = [], []
    for index, (start, following) in enumerate(pairwise([*starts, end])):
        meets = index + 1 < len(starts)  # then the frame after the piece is where the next begins
        path = roll_out(initial[:, index], following - start + int(meets))
        paths.append(path[:, : following - start])
        if meets:
            gaps.append(path[:, -1] - initial[:, index + 1])
    gap = torch.stack(gaps, dim=1) if gaps else initial[:, :0]
    return Shots(torch.cat(paths, dim=1), initial, gap)
