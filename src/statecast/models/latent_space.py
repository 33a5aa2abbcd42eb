"""Uses of the latent space: swap content, interpolate dynamics, warp time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.checks import LONGEST, typed
from statecast.errors import InputError
from statecast.frames import Forecast, Frames
from statecast.models.argument_checks import Times, as_times
from statecast.models.base import Forecaster, evaluation_mode
from statecast.models.change import ChangeForecaster
from statecast.models.latents import Latents, check_own
from statecast.models.reversed_path import run_back
from statecast.models.state_space import StateSpaceForecaster
from statecast.nn.random import branch

MOST_FRAMES = 100_000  # largest number of frames of `freeze` and `change_speed`


@dataclass(frozen=True, kw_only=True)
class ContentSwapTable:
    """Every content with every dynamics, in the units of the data.

    Attributes:
        samples: `[:, i, j]` has the content of sequence i of the contents and the motion of
            sequence j of the dynamics; samples differ in their dynamics.
        times: times of the frames, in frame intervals; 0 is the last observed frame.
        channels: one name per channel.
    """

    samples: Float[Tensor, "sample content dynamics time channel *space"]
    times: Float[Tensor, " time"]
    channels: tuple[str, ...]

    def of_content(self, index: int) -> Forecast:
        """One content with all dynamics; the batch axis runs over dynamics."""
        return Forecast(samples=self.samples[:, index], times=self.times, channels=self.channels)


@typed
def require_latents(model: Forecaster) -> StateSpaceForecaster:
    """Return `model` if it has a latent space.

    Errors:
        InputError: it has no latent space.
    """
    if isinstance(model, ChangeForecaster):
        raise InputError(
            "A model of changes from a reference has no latents of frames. Train with "
            "model.reference: none."
        )
    if not isinstance(model, StateSpaceForecaster):
        raise InputError(
            f"{model.title} has no latent space. Use a state-space model: srvp, separable, ddpae, "
            "drnet, dsvae."
        )
    return model


@typed
def infer_and_continue(
    model: Forecaster,
    context: Frames | Any,
    horizon: int | None = None,
    *,
    samples: int = 1,
    substeps: int | None = None,
    generator: torch.Generator | None = None,
) -> Latents:
    """Latents of a context and its forecast; the same seed gives those of `model.forecast`.

    Args:
        model: a state-space model.
        context: as for `model.forecast`.
        horizon: frames to forecast; by default that of training.
        samples: paths to draw for each sequence.
        substeps: Euler steps per frame while forecasting; by default the model's own.
        generator: source of the random draws.

    Errors:
        InputError: a model without latents, or a context or option that does not fit.
    """
    model = require_latents(model)
    latents = model.infer_latents(context, samples=samples, generator=generator)
    return model.continue_latents(latents, horizon, substeps=substeps, generator=generator)


# Content


@typed
def with_content(latents: Latents, other: Latents) -> Latents:
    """The dynamics of `latents` with the content of `other`, skip maps included.

    Args:
        latents: the dynamics.
        other: latents of the same model, with 1 sequence or as many as `latents`.

    Errors:
        InputError: the latents belong to different models, or their numbers do not fit.
    """
    if latents.model != other.model:
        raise InputError("Swap contents between latents of one model, got latents of two.")
    batch, given = latents.states.shape[1], len(other.content.code)
    if given not in (1, batch):
        raise InputError(
            f"Content must come from 1 sequence or from {batch}, as the states do, got {given}."
        )
    return replace(latents, content=other.content.expand(batch))


@typed
def content_swap(
    model: Forecaster,
    contents: Frames | Any,
    dynamics: Frames | Any,
    horizon: int | None = None,
    *,
    samples: int = 1,
    substeps: int | None = None,
    generator: torch.Generator | None = None,
) -> ContentSwapTable:
    """Every content with every dynamics.

    A state-space model shows context and forecast; other models have no latents of the context,
    and show the forecast only.

    Args:
        model: any model with content.
        contents: observed frames whose content is used.
        dynamics: observed frames whose motion is used; the number of sequences may differ.
        horizon: frames to forecast; by default that of training.
        samples: paths to draw for each dynamics.
        substeps: Euler steps per frame while forecasting; by default the model's own.
        generator: source of the random draws.

    Errors:
        InputError: a model without content, or frames or options that do not fit.
    """
    shown, moved = (
        model.check_context(contents, "contents"),
        model.check_context(dynamics, "dynamics"),
    )
    if not isinstance(model, StateSpaceForecaster):
        return swap_by_forecasts(
            model, shown, moved, horizon, samples=samples, substeps=substeps, generator=generator
        )
    # Content is deterministic: the draws of these latents are not used.
    given = model.infer_latents(shown, generator=torch.Generator())
    moving = infer_and_continue(
        model, moved, horizon, samples=samples, substeps=substeps, generator=generator
    )
    rows = [
        model.decode_latents(with_content(moving, sequence_of(given, index))).samples
        for index in range(len(given.content.code))
    ]
    return ContentSwapTable(
        samples=torch.stack(rows, dim=1), times=moving.times, channels=model.spec.channels
    )


def swap_by_forecasts(
    model: Forecaster,
    contents: Frames,
    dynamics: Frames,
    horizon: int | None,
    *,
    samples: int,
    substeps: int | None,
    generator: torch.Generator | None,
) -> ContentSwapTable:
    """`content_swap` by one forecast per content, all with the same random numbers."""
    generator = generator or branch(None)
    start, rows = generator.get_state(), []
    for index in range(len(contents.values)):
        generator.set_state(start)
        rows.append(
            model.forecast(
                dynamics,
                horizon,
                samples=samples,
                substeps=substeps,
                content_from=contents.select(slice(index, index + 1)),
                generator=generator,
            )
        )
    return ContentSwapTable(
        samples=torch.stack([row.samples for row in rows], dim=1),
        times=rows[0].times,
        channels=model.spec.channels,
    )


@typed
def sequence_of(latents: Latents, index: int) -> Latents:
    """One sequence of the batch, without the Gaussians that it was drawn from."""
    chosen = slice(index, index + 1)
    return replace(
        latents,
        content=latents.content.select(chosen),
        states=latents.states[:, chosen],
        noise=None if latents.noise is None else latents.noise[:, chosen],
        initial=None,
        posterior=None,
        prior=None,
    )


# Dynamics


@typed
def interpolate_latents(
    model: Forecaster, first: Latents, second: Latents, weight: float
) -> Latents:
    r"""A path between two paths, with the content of the first.

    $$y_1 = (1 - a)\, y_1^A + a\, y_1^B, \qquad z_t = (1 - a)\, z_t^A + a\, z_t^B$$

    The transition is integrated again from y₁ with the noise z. Without noise, y₁ alone is
    interpolated.

    Args:
        model: the model of both paths.
        first: the path at weight 0.
        second: the path at weight 1, with the same times, samples, sequences and solvers.
        weight: a, in [0, 1].

    Errors:
        InputError: a weight outside [0, 1], or latents that do not fit each other or the model.
    """
    model = require_latents(model)
    check_weights([weight])
    for what, one, other in (
        ("model", first.model, second.model),
        ("shape", tuple(first.states.shape), tuple(second.states.shape)),
        ("times", first.times.tolist(), second.times.tolist()),
        ("solvers", first.solvers, second.solvers),
    ):
        if one != other:
            raise InputError(f"Paths to interpolate need the same {what}, got {one} and {other}.")
    if first.evidence is not None:
        raise InputError(
            "Noise that keys generate cannot be interpolated: paths in between need noise that is "
            "constant over frame intervals."
        )
    states = torch.lerp(first.states, second.states, weight)
    noise = first.noise
    if noise is not None and second.noise is not None:
        noise = torch.lerp(noise, second.noise, weight)
    between = replace(first, states=states, noise=noise, initial=None, posterior=None)
    return model.reintegrate_latents(between)


@typed
def interpolate(
    model: Forecaster,
    first: Frames | Any,
    second: Frames | Any,
    weights: Sequence[float],
    horizon: int | None = None,
    *,
    samples: int = 1,
    substeps: int | None = None,
    generator: torch.Generator | None = None,
) -> list[Forecast]:
    """The content of one context, with dynamics interpolated between it and another.

    Both contexts, and the futures of all weights, use the same random numbers. For the same seed,
    weight 0 gives the forecast of `first`, and weight 1 that of `second` with the content of
    `first`; differences in between come from the weight only.

    Args:
        model: a state-space model.
        first: observed frames, which also give the content.
        second: observed frames, with the same number of sequences and frames.
        weights: weights in [0, 1], in any order.
        horizon: frames to forecast; by default that of training.
        samples: paths to draw.
        substeps: Euler steps per frame while forecasting; by default the model's own.
        generator: source of the random draws.

    Returns:
        Context and forecast for each weight.

    Errors:
        InputError: a model without latents, weights outside [0, 1], or frames or options that do
            not fit.
    """
    model = require_latents(model)
    check_weights(weights)
    generator = generator or branch(None)
    start = generator.get_state()
    videos = model.check_context(first, "first video"), model.check_context(second, "second video")
    one = model.infer_latents(videos[0], samples=samples, generator=generator)
    generator.set_state(start)
    other = model.infer_latents(videos[1], samples=samples, generator=generator)
    future = generator.get_state()
    shown = []
    for weight in weights:
        generator.set_state(future)
        latents = model.continue_latents(
            interpolate_latents(model, one, other, weight),
            horizon,
            substeps=substeps,
            generator=generator,
        )
        shown.append(model.decode_latents(latents))
    return shown


def check_weights(weights: Sequence[float]) -> None:
    """Raise `InputError` unless there is at least one weight, and all lie in [0, 1]."""
    if len(weights) == 0 or not all(0 <= weight <= 1 for weight in weights):
        raise InputError(f"Weights of an interpolation must lie in [0, 1], got {list(weights)}.")


# Time


@typed
def warp(model: Forecaster, latents: Latents, times: Times) -> Forecast:
    """The frames of a path at any of its times, in any order, shown one per frame interval.

    The path's own solver gives the states between frames; frames are not interpolated.

    Args:
        model: the model of the path.
        latents: a path of the model.
        times: times within the path; fractions and repetitions are allowed.

    Returns:
        The frames, at the times 0, 1, … after the start of the path.

    Errors:
        InputError: a model without latents, or times that do not fit.
    """
    model = require_latents(model)
    wanted = as_times(times, torch.float64)
    return Forecast(
        samples=model.frames_at(latents, wanted),
        times=latents.start + torch.arange(float(len(wanted))),
        channels=model.spec.channels,
    )


@typed
def reverse(model: Forecaster, latents: Latents) -> Forecast:
    """The frames of a path in reverse order."""
    return warp(model, latents, latents.times.flip(0))


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


@typed
def freeze(model: Forecaster, latents: Latents, time: float, length: int) -> Forecast:
    """A path up to a time, whose frame is then repeated.

    Args:
        model: the model of the path.
        latents: a path of the model.
        time: a time within the path.
        length: number of repetitions.

    Errors:
        InputError: a time outside the path, or a length that is negative or too large.
    """
    if not 0 <= length <= MOST_FRAMES:
        raise InputError(f"A path can be frozen for 0 to {MOST_FRAMES} frames, got {length}.")
    before = [moment for moment in latents.times.tolist() if moment < time]
    return warp(model, latents, [*before, *[time] * (length + 1)])


@typed
def change_speed(
    model: Forecaster, latents: Latents, rate: float, *, substeps: int | None = None
) -> Forecast:
    """A path played faster, or slower with frames in between.

    Args:
        model: the model of the path.
        latents: a path of the model.
        rate: frame intervals of the path per frame shown: 2 is twice as fast, 0.5 half as fast.
        substeps: Euler steps per frame with which to integrate the path again; by default the path
            is used as it is, and whole frames do not change.

    Errors:
        InputError: a rate that is not positive and finite, or too small.
    """
    if not (math.isfinite(rate) and rate > 0):
        raise InputError(f"The rate must be positive and finite, got {rate}.")
    count = math.floor((latents.end - latents.start) / rate + 1e-9) + 1
    if count > MOST_FRAMES:
        raise InputError(f"A rate of {rate} makes {count} frames, more than {MOST_FRAMES}.")
    if substeps is not None:
        latents = require_latents(model).reintegrate_latents(latents, substeps=substeps)
    times = latents.start + rate * torch.arange(count, dtype=torch.float64)
    return warp(model, latents, times)
