"""Run a latent path backwards by undoing its steps."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.models.carried_states import interval_keys, lifted, lowered
from statecast.models.latents import Latents
from statecast.models.roll_out import LatentRollout
from statecast.nn.noise_model import main_state
from statecast.nn.random import standard_normal
from statecast.solvers.interval_noise import follow_back
from statecast.solvers.solvers import Solver


def check_invertible(model: LatentRollout, solver: Solver) -> None:
    """Raise `InputError` if a model cannot undo the steps of this solver."""
    if not model.invertible(solver):
        advice = model.backwards_advice() or (
            " Use a differential equation with noise held over frames, and solver: reversible_heun."
        )
        raise InputError(f"This model cannot undo steps of the solver {solver.name}.{advice}")


def run_back(
    model: LatentRollout, latents: Latents, frames: int, generator: torch.Generator | None
) -> Latents:
    """Run a path backwards from its last state to `frames` frames before its first one.

    Errors:
        InputError: a step cannot be undone.
    """
    solvers = (latents.solvers[0] if latents.solvers else model.choose_solver(),) * frames
    solvers += latents.solvers
    for solver in solvers:
        check_invertible(model, solver)
    noise = latents.noise
    last = latents.states[:, :, -1]
    samples, batch = last.shape[:2]
    earlier: list[Tensor] = []  # noise before the first state, latest first
    if model.noise_from_keys:
        new = interval_keys(generator, samples, batch, frames).to(last.device)
        noise = new if noise is None else torch.cat([new, noise], dim=2)
    evidence = latents.evidence
    if evidence is not None and frames:
        unknown = evidence.new_full((batch, frames, evidence.shape[2]), torch.nan)
        evidence = torch.cat([unknown, evidence], dim=1)
    doubled = any(solver.paired for solver in solvers)
    state = lifted(last, solvers[-1], model.latent_width) if solvers else last
    states = [lowered(state, doubled)]
    for index in reversed(range(len(solvers))):
        state = lifted(state, solvers[index], model.latent_width)
        if index >= frames or model.noise_from_keys:
            known = index if model.noise_from_keys else index - frames
            now = model.noise_at(noise, evidence, known, -latents.origin - frames)
        else:
            prior = model.noise_prior(main_state(state))
            now = None
            if prior is not None:
                shape = tuple(prior.mean.shape)
                now = prior.at(standard_normal(shape, prior.mean, generator))
                earlier.append(now)
        state = follow_back(model.interval_noise(now), solvers[index], state)
        states.append(lowered(state, doubled))
    if earlier:
        past = torch.stack(earlier[::-1], dim=2)
        noise = past if noise is None else torch.cat([past, noise], dim=2)
    return replace(
        latents,
        states=torch.stack(states[::-1], dim=2),
        times=latents.start - frames + torch.arange(float(len(states))),
        solvers=solvers,
        noise=noise,
        evidence=evidence,
        origin=latents.origin + frames,
        initial=None,
        posterior=None,
        prior=None,
    )
