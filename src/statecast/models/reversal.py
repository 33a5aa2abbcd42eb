"""Time run backwards: from the end of a path to its beginning, and before it."""

from __future__ import annotations

import torch

from statecast.checks import LONGEST, typed
from statecast.errors import InputError
from statecast.models.base import Forecaster, evaluation_mode
from statecast.models.latent_space import require_latents
from statecast.models.latents import Latents, check_own
from statecast.models.reversed_path import run_back


@typed
def reverse_latents(
    model: Forecaster,
    latents: Latents,
    frames: int = 0,
    *,
    generator: torch.Generator | None = None,
) -> Latents:
    """Run a path backwards from its last state, and on to before its first.

    Every step is undone, so the states equal those of the path up to rounding. The noise before
    the first state is unknown. If noise is held over frame intervals, it is drawn from its prior at
    the end of each interval; white and coloured noise are drawn as in a forecast. The result is a
    past that leads to the present, not a draw from the distribution of pasts.

    Args:
        model: the model of the path.
        latents: a path of a solver whose steps can be undone.
        frames: whole frames to go back before the first state.
        generator: source of the noise before the first state.

    Returns:
        The path from `frames` frames before the first state to the last, states in order of time.

    Errors:
        InputError: latents of another model, or steps that cannot be undone.
    """
    model = require_latents(model)
    check_own(model, latents)
    if not 0 <= frames <= LONGEST:
        raise InputError(f"A path can go back 0 to {LONGEST} frames, got frames={frames}.")
    with evaluation_mode(model) as model, torch.no_grad():
        return run_back(model, latents, frames, generator)
