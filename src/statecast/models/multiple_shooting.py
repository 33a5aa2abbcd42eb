"""Multiple shooting: forecast one training sequence in several pieces that must meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Shots(NamedTuple):
    """One or more forecasts that together give the latents of a training sequence."""

    latents: Float[Tensor, "batch time *latent"]  # of every forecast frame
    initial: Float[Tensor, "batch shoot *latent"]  # inferred at the start of each forecast
    gaps: Float[Tensor, "batch gap *latent"]  # rolled out minus inferred, at the start of the next


def shoot(
    initial: Float[Tensor, "batch shoot *latent"],
    starts: Sequence[int],
    end: int,
    *,
    roll_out: Callable[[Tensor, int], Tensor],
) -> Shots:
    """Roll out the latent inferred at each start up to the next start.

    Args:
        initial: latents of the windows that begin at the starts.
        starts: first frames of these windows, increasing.
        end: end of the last roll-out, counted like the starts.
        roll_out: from a latent and a number of frames to the latents (batch, frame, *latent), of
            which the given one is the first.
    """
    paths, gaps = [], []
    for index, (start, following) in enumerate(pairwise([*starts, end])):
        meets = index + 1 < len(starts)  # roll out one frame more, to compare
        path = roll_out(initial[:, index], following - start + int(meets))
        paths.append(path[:, : following - start])
        if meets:
            gaps.append(path[:, -1] - initial[:, index + 1])
    gap = torch.stack(gaps, dim=1) if gaps else initial[:, :0]
    return Shots(torch.cat(paths, dim=1), initial, gap)
