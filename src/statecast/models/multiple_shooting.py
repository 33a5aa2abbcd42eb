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
    initial: Float[Tensor, "batch shoot *latent"],
    starts: Sequence[int],
    end: int,
    *,
    roll_out: Callable[[Tensor, int], Tensor],
) -> Shots:
    """Roll the latent that was inferred at each start out up to the next one.

    Args:
        initial: latents of the windows that begin at the starts.
        starts: first frames of these windows, increasing.
        end: where the last roll-out ends, counted like the starts.
        roll_out: a latent and a number of frames to (batch, frame, *latent), itself the first.
    """
    paths, gaps = [], []
    for index, (start, following) in enumerate(pairwise([*starts, end])):
        meets = index + 1 < len(starts)  # then the frame after the piece is where the next begins
        path = roll_out(initial[:, index], following - start + int(meets))
        paths.append(path[:, : following - start])
        if meets:
            gaps.append(path[:, -1] - initial[:, index + 1])
    gap = torch.stack(gaps, dim=1) if gaps else initial[:, :0]
    return Shots(torch.cat(paths, dim=1), initial, gap)
