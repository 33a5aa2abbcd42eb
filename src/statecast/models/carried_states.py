"""The state of a roll-out: a latent, the noise beside it, and the shadow of a reversible solver."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from statecast.nn.random import sample_keys
from statecast.solvers.interval_noise import Interval, IntervalNoise, number_of_time, step_times
from statecast.solvers.reversible import Followed, Pair, reversible_path
from statecast.solvers.solvers import Solver

COLUMNS = 2  # the latent axis of (sample, batch, latent, *grid)


def lifted(state: Followed, solver: Solver, width: int) -> Followed:
    """The state that a solver carries, from a latent with or without its shadow.

    Args:
        state: a latent (sample, batch, latent, *grid), or the state of another solver.
        solver: the solver that continues.
        width: size of a latent without its shadow.
    """
    if isinstance(state, Pair):
        return state if solver.paired else state.state
    if 0 < width < state.shape[COLUMNS]:
        pair = Pair(*(part.contiguous() for part in state.chunk(2, dim=COLUMNS)))
        return pair if solver.paired else pair.state
    state = state.contiguous()  # a strided input may give other last bits
    return Pair(state, state) if solver.paired else state


def lowered(state: Followed, doubled: bool) -> Float[Tensor, "sample batch latent *grid"]:
    """A latent; it includes a shadow if it has one or `doubled` asks for one."""
    if isinstance(state, Pair):
        return torch.cat(state, dim=COLUMNS)
    return torch.cat([state, state], dim=COLUMNS) if doubled else state


def interval_keys(
    generator: torch.Generator | None, samples: int, batch: int, count: int
) -> Int64[Tensor, "sample batch interval 1"]:
    """Keys that generate the noise of `count` intervals, drawn in order."""
    keys = sample_keys(generator, samples, batch, count).view(np.int64)
    return torch.from_numpy(keys).movedim(0, 2).unsqueeze(-1)


def interval_of(
    keys: Int64[Tensor, "sample batch interval 1"],
    evidence: Float[Tensor, "batch interval size"] | None,
    index: int,
    elapsed: int,
) -> Interval:
    """One of several intervals, without its evidence where that is NaN throughout."""
    found = None if evidence is None else evidence[:, index]
    if found is not None and bool(found.detach().isnan().all()):
        found = None
    numbers = keys[:, :, index, 0].cpu().contiguous().numpy().view(np.uint64)
    return Interval(numbers, elapsed + index, found)


def follow_without_path(
    noise: IntervalNoise,
    solver: Solver,
    state: Followed,
    ends: Sequence[float],
    weights: Sequence[Tensor],
) -> list[Followed] | None:
    """States at the ends of steps; their backward pass undoes the steps to save activations.

    Args:
        noise: the noise of one interval.
        solver: a solver whose steps can be undone.
        state: state at the start of the interval.
        ends: times of the states to return, as fractions of the interval.
        weights: weights that need gradients.

    Returns:
        The states, or None if a time lies between steps.
    """
    times = [0.0, *step_times(solver.substeps, noise.renewals)]
    chosen = [number_of_time(times, end) for end in ends]
    if None in chosen:
        return None
    paired = isinstance(state, Pair)

    def step(packed: Tensor, number: int, back: bool) -> Tensor:
        carried: Followed = Pair(packed[0], packed[1]) if paired else packed
        run = noise.piece_back if back else noise.piece
        after = run(solver, carried, times[number], times[number + 1])
        return torch.stack(after) if isinstance(after, Pair) else after

    packed = torch.stack(state) if isinstance(state, Pair) else state
    path = reversible_path(step, packed, len(times) - 1, [*weights, *noise.inputs])
    found = [path[number - 1] for number in chosen if number is not None]
    return [Pair(part[0], part[1]) if paired else part for part in found]
