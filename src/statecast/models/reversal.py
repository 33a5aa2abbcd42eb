"""Time run backwards: from the end of a path to its beginning, and before it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.checks import LONGEST, typed
from statecast.errors import InputError
from statecast.models.base import Forecaster, evaluation_mode
from statecast.models.carried_states import interval_keys, lifted, lowered
from statecast.models.latent_space import require_latents
from statecast.models.latents import Latents, check_own, extend, fingerprint_of
from statecast.models.state_space import StateSpaceForecaster
from statecast.nn.noise_model import main_state
from statecast.nn.random import standard_normal
from statecast.solvers.interval_noise import follow_back
from statecast.solvers.solvers import Solver


@typed
def reverse_latents(
    model: Forecaster,
    latents: Latents,
    frames: int = 0,
    *,
    generator: torch.Generator | None = None,
) -> Latents:
    """A path run backwards from its last state, with its own noise, and further back.

    Every step is undone, so that states are those of the path but for rounding. The noise before
    its first state is not known. Where it is held on frames, that of an interval is drawn from its
    prior at the interval's end; white and coloured noise are drawn as they are forwards. That is a
    past that leads to the present, not a draw from the distribution of pasts.

    Args:
        model: whose latents they are.
        latents: a path that a solver of reversible steps followed.
        frames: whole frames to go back before its first state.
        generator: source of the noise before it.

    Returns:
        The path from `frames` frames before the first state to the last, states in order of time.

    Errors:
        InputError: latents of another model, or steps that cannot be undone.
    """
    model = require_latents(model)
    check_own(model, latents)
    if not 0 <= frames <= LONGEST:
        raise InputError(f"A path goes back 0 to {LONGEST} frames, got frames={frames}.")
    before = (latents.solvers[0] if latents.solvers else model.choose_solver(),) * frames
    solvers = before + latents.solvers
    for solver in solvers:
        check_invertible(model, solver)
    with evaluation_mode(model) as model, torch.no_grad():
        return run_back(model, latents, solvers, frames, generator)


def check_invertible(model: StateSpaceForecaster, solver: Solver) -> None:
    """Raise `InputError` where a model's steps cannot be undone."""
    if not model.invertible(solver):
        raise InputError(
            f"Steps of the solver {solver.name} cannot be undone. Forecast with solver: "
            "reversible_heun, or train SRVP with transition: coupling."
        )


def run_back(
    model: StateSpaceForecaster,
    latents: Latents,
    solvers: tuple[Solver, ...],
    frames: int,
    generator: torch.Generator | None,
) -> Latents:
    """The path of `reverse_latents`."""
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
    if earlier and noise is not None:
        noise = torch.cat([torch.stack(earlier[::-1], dim=2), noise], dim=2)
    elif earlier:
        noise = torch.stack(earlier[::-1], dim=2)
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


def states_around(
    model: StateSpaceForecaster,
    observed: Float[Tensor, "batch time channel *space"],
    times: Float[Tensor, " time"],
    *,
    samples: int,
    solver: Solver,
    generator: torch.Generator | None,
) -> tuple[Latents, Float[Tensor, "sample batch time latent *grid"]]:
    """Latents at times that begin before a model's state: the context, run backwards and on."""
    path = model.infer_path(observed, samples=samples, solver=solver, generator=generator)
    path = replace(path, model=fingerprint_of(model))
    after = max(math.ceil(float(times[-1]) - path.end), 0)
    if after:
        solvers = (solver,) * after
        found = model.roll_out(
            path.states[:, :, -1], solvers, elapsed=path.elapsed, generator=generator
        )
        path = extend(path, found, solvers)
    before = max(math.ceil(path.start - float(times[0])), 0)
    path = reverse_latents(model, path, before, generator=generator)
    return path, model.states_at(path, times)
