"""The wave equation with a fading source, solved for many sequences at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from statecast.data.synthetic.stencils import laplacian
from statecast.solvers.steppers import trajectory

SIZE = 64  # points of a side, 1 apart
FRAMES = 300  # frames simulated
TIME_STEP = 0.001  # between two frames, and of the solver
DECAY = 20.0  # inverse of the source's time scale
CENTRE, RADIUS = 32, 5  # of the disk that the source acts on
SOURCE_RANGE = (1.0, 30.0)  # of the source's amplitude
SPEED_RANGE = (300.0, 400.0)  # of the wave's speed
AT_ONCE = 10  # sequences solved together: their state fits in a processor's cache


class WaveParameters(NamedTuple):
    """Parameters that differ between sequences."""

    source: np.ndarray[Any, Any]  # amplitude f₀, (sequence,)
    speed: np.ndarray[Any, Any]  # c, (sequence,)


def draw_parameters(sequences: int, seed: int) -> WaveParameters:
    """Amplitude and speed of each sequence, drawn in turn from NumPy's older generator."""
    generator = np.random.RandomState(seed)
    drawn = [
        (generator.uniform(*SOURCE_RANGE), generator.uniform(*SPEED_RANGE))
        for _ in range(sequences)
    ]
    source, speed = np.array(drawn).T
    return WaveParameters(source, speed)


def simulate(parameters: WaveParameters, *, frames: int = FRAMES) -> Iterator[Tensor]:
    r"""Solve the wave equation, for a few sequences at a time.

    $$\frac{\partial^2 w}{\partial t^2} = c^2 \Delta w + f_0 e^{-20 t} 1_{disk}, \qquad
    w(0) = \frac{\partial w}{\partial t}(0) = 0$$

    Fourth-order differences in space, Runge-Kutta of order 4 in time, float32. The two outermost
    rows and columns stay at 0, so that waves are reflected.

    Args:
        parameters: amplitude and speed of each sequence.
        frames: number of frames, the first at time 0.

    Yields:
        Frames (sequence, time, y, x) of the next sequences.

    Reference: Donà et al. (2021), https://arxiv.org/abs/2008.01352, appendix.
    """
    times = [TIME_STEP * index for index in range(frames)]
    disk = source_disk()
    for start in range(0, len(parameters.speed), AT_ONCE):
        chosen = slice(start, start + AT_ONCE)
        source = torch.from_numpy(parameters.source[chosen]).float()[:, None, None] * disk
        speed = torch.from_numpy(parameters.speed[chosen]).float()[:, None, None]
        squared = speed.square()

        def velocity(
            time: float, state: Tensor, squared: Tensor = squared, source: Tensor = source
        ) -> Tensor:
            # The state is (displacement, its velocity); so is its rate of change.
            force = laplacian(state[0]).mul_(squared)
            force.add_(source, alpha=float(np.exp(-DECAY * time)))
            return torch.stack([state[1], force])

        initial = torch.zeros(2, len(speed), SIZE, SIZE)
        solved = [state[0] for state in trajectory(velocity, initial, times)]
        yield torch.stack(solved, dim=1)


def source_disk() -> Tensor:
    """1 inside the disk that the source acts on, 0 outside, (y, x)."""
    offset = torch.arange(SIZE) - CENTRE
    inside = offset[:, None].square() + offset[None, :].square() < RADIUS**2
    return inside.float()
