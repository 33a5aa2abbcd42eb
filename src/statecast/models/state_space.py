"""StateSpaceForecaster: encode once, carry a latent forward, decode; and its latent space."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.checks import LONGEST, typed
from statecast.errors import InputError
from statecast.frames import Forecast, Frames
from statecast.models.base import Codes, Forecaster, evaluation_mode
from statecast.models.latents import (
    TIME_TOLERANCE,
    Latents,
    Rollout,
    check_clock,
    check_own,
    extend,
    fingerprint_of,
)
from statecast.nn.codecs.base import Content
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.random import normal_draws
from statecast.solvers.solvers import ADAPTIVE, ODE_SOLVERS, Solver, SolverName, solver_of

DECODE_BYTES = 2**26  # of maps that decoding holds at once: on processors few stay in caches
GPU_DECODE_BYTES = 2**30  # the same on other devices, which need many
DECODE_MAPS = 4  # maps of the largest kind that a decoder holds of each frame, measured


class State(NamedTuple):
    """State of a state-space model, carried forward from a context."""

    content: Content  # what stays, one per sequence
    latent: Float[Tensor, "sample batch latent *grid"]  # what moves: a vector, or a map
    time: float  # time of the latent, in frame intervals after the last observed frame


class StateSpaceForecaster(Forecaster):
    """A model that encodes the context once, carries a latent forward, and decodes.

    A forecast is `observe`, `advance`, `decode`; no generated frame is ever looked at.
    """

    supports_content_swap = True
    substeps: int = 1  # steps of the solver per frame, unless asked otherwise
    solver: SolverName = "euler"  # unless asked otherwise
    solvers: tuple[SolverName, ...] = ODE_SOLVERS  # none where the transition knows frames only
    tolerances: tuple[float, float] = (1e-5, 1e-6)  # relative and absolute, of adaptive solvers
    reconstructs: bool = False  # whether there are latents of the context's own frames
    _compiled: Callable[..., Rollout] | None = None  # `_roll_out` as training uses it

    @abstractmethod
    def content_of(self, context: Float[Tensor, "batch time channel *space"]) -> Content:
        """Content of observed frames, in the units of the model."""

    @abstractmethod
    def observe(
        self,
        context: Float[Tensor, "batch time channel *space"],
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> State:
        """Content and latent of observed frames, in the units of the model."""

    @abstractmethod
    def step(
        self,
        latent: Float[Tensor, "*latents"],
        noise: Float[Tensor, "*batch noise"] | None,
        *,
        solver: Solver,
        fractions: Sequence[float],
    ) -> list[Float[Tensor, "*latents"]]:
        """Latents at increasing fractions of one frame interval, given the noise of it all."""

    def noise_prior(self, latent: Float[Tensor, "*batch latent"]) -> DiagonalGaussian | None:
        """Distribution of the next interval's noise; None where the transition takes none."""
        return None

    def dynamics_code(self, latent: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch code"]:
        """What decoding reads of a latent; all of it, unless the latent also carries a memory."""
        return latent

    def codes_of(self, context: Frames, *, generator: torch.Generator | None = None) -> Codes:
        state = self.observe(self.inputs(context), generator=generator)
        # Some states begin before the last observed frame, and some after it.
        time = max(state.time, 0.0)
        latent = self.advance(state, torch.tensor([time]), generator=generator)[0, :, 0]
        dynamics = self.dynamics_code(latent).flatten(1)
        return Codes(dynamics, state.content.code.flatten(1), round(time))

    @property
    def largest_feature_map(self) -> int:
        """Values of the largest map that decoding makes of a frame, to bound memory."""
        return math.prod(self.spec.frame_shape)

    def precompute_content(self, content: Content) -> Content:
        """Content with what `decode` needs of it alone computed, once for all of its latents."""
        return content

    @abstractmethod
    def decode(
        self, content: Content, latents: Float[Tensor, "batch many latent *grid"]
    ) -> Float[Tensor, "batch many channel *space"]:
        """Frames of many latents of each sequence, in the units of the model."""

    @property
    def continuous(self) -> bool:
        """Whether the transition is a differential equation, known between frames as well."""
        return bool(self.solvers)

    def dynamics(self) -> nn.Module | None:
        """The network that runs once per evaluation of the velocity; None where there is none."""
        return None

    def compile_rollout(self, mode: str) -> None:
        """Compile the loop of the transition through a sequence, `roll_out`, for training.

        Many small operations become few, or one recorded graph: on GPUs their launches, not their
        arithmetic, take the time.

        Args:
            mode: of `torch.compile`: `default`, or `reduce-overhead` for a graph of a GPU.

        Errors:
            InputError: the solver chooses its steps by what it finds, which cannot be compiled.
        """
        if self.choose_solver().adaptive:
            raise InputError(
                f"The solver {self.solver} cannot be compiled. Choose one of fixed steps, or set "
                "train.compile: false."
            )
        self._compiled = torch.compile(self._roll_out, mode=mode)

    def choose_solver(
        self, solver: SolverName | None = None, substeps: int | None = None
    ) -> Solver:
        """The solver to follow the transition with; the model's own by default.

        Errors:
            InputError: the model does not take it, or a number does not fit.
        """
        name = self.solver if solver is None else solver
        if not self.continuous and (solver is not None or (substeps or 1) > 1):
            raise InputError(
                "This transition takes whole frames only: leave `substeps` and `solver` out."
            )
        if self.continuous and name not in self.solvers:
            raise InputError(
                f"{type(self).__name__} takes the solvers {', '.join(self.solvers)}, got {name!r}."
            )
        if substeps is None:
            substeps = 1 if name in ADAPTIVE else self.substeps
        return solver_of(name, substeps, *self.tolerances)

    def _check_solver(self, solver: SolverName | None, substeps: int | None) -> None:
        self.choose_solver(solver, substeps)

    def roll_out(
        self,
        latent: Float[Tensor, "sample batch latent *grid"],
        solvers: Sequence[Solver],
        *,
        fractions: Sequence[Sequence[float]] | None = None,
        noise: Float[Tensor, "sample batch interval noise"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Rollout:
        """Carry a latent through frame intervals: in training, forecasts and latents alike.

        Args:
            latent: the state that the first interval begins with.
            solvers: one per interval.
            fractions: of each interval, the increasing times in (0, 1] to give the state at; by
                default its end alone.
            noise: of each interval; by default drawn from its prior, once per interval.
            generator: source of the draws.

        Errors:
            InputError: a time between frames where the transition knows whole frames only.
        """
        run = self._roll_out if self._compiled is None or not self.training else self._compiled
        return run(latent, solvers, fractions, noise, generator)

    def _roll_out(
        self,
        latent: Tensor,
        solvers: Sequence[Solver],
        fractions: Sequence[Sequence[float]] | None,
        noise: Tensor | None,
        generator: torch.Generator | None,
    ) -> Rollout:
        latent = latent.contiguous()  # a strided input may give other last bits
        states, drawn, priors = [latent], [], []
        standard: Tensor | None = None
        for index, solver in enumerate(solvers):
            now = None if noise is None else noise[:, :, index]
            prior = self.noise_prior(latent) if noise is None else None
            if prior is not None:
                if standard is None:  # of all intervals at once, as if drawn one after another
                    shape = tuple(prior.mean.shape)
                    standard = normal_draws(len(solvers), shape, prior.mean, generator)
                now = prior.at(standard[index])
                drawn.append(now)
                priors.append(prior)
            wanted = (1.0,) if fractions is None else tuple(fractions[index])
            inside = tuple(fraction for fraction in wanted if fraction < 1)
            if inside and not self.continuous:
                raise InputError("This transition knows whole frames only: ask for whole `times`.")
            # Whatever is asked for, the next interval begins at the end of this one.
            *between, latent = self.step(latent, now, solver=solver, fractions=(*inside, 1.0))
            states += [*between, latent][: len(wanted)]
        return Rollout(
            states=torch.stack(states, dim=2),
            noise=torch.stack(drawn, dim=2) if drawn else noise,
            prior=DiagonalGaussian.stack(priors, dim=2) if priors else None,
        )

    def advance(
        self,
        state: State,
        times: Float[Tensor, " time"],
        *,
        substeps: int | None = None,
        solver: SolverName | None = None,
        noise: Float[Tensor, "sample batch interval noise"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "sample batch time latent *grid"]:
        """Latents at increasing times, none of them before the state's.

        Noise is drawn once per frame interval, whatever the solver, substeps and times asked for;
        `noise` takes the place of the draws, and must hold every interval up to the last time.
        Times between the steps of a solver are as accurate as those at its steps; of Euler's
        method that is a straight line.

        Errors:
            InputError: a time before the state's, or between frames where the transition knows
                whole frames only.
        """
        chosen = self.choose_solver(solver, substeps)
        wanted = (times.double() - state.time).tolist()
        if wanted and wanted[0] < -TIME_TOLERANCE:
            raise InputError(
                f"This model goes back to time {state.time:g} at most (0 is the last observed "
                f"frame), got a time of {wanted[0] + state.time:g}."
            )
        if wanted and noise is not None and wanted[-1] > noise.shape[2] + TIME_TOLERANCE:
            raise InputError(
                f"Noise of {noise.shape[2]} frame intervals does not reach to time "
                f"{wanted[-1] + state.time:g}."
            )
        fractions = fractions_of(wanted)
        states = self.roll_out(
            state.latent,
            (chosen,) * len(fractions),
            fractions=fractions,
            noise=noise,
            generator=generator,
        ).states
        at_once = len(wanted) - sum(map(len, fractions))  # times that are the state's own
        first = states[:, :, :1].expand(-1, -1, at_once, *states.shape[3:])
        return torch.cat([first, states[:, :, 1:]], dim=2) if at_once else states[:, :, 1:]

    # The latent space: a path through it is inferred, continued, run again, decoded.

    @typed
    def infer_latents(
        self,
        context: Frames | Any,
        *,
        samples: int = 1,
        substeps: int | None = None,
        solver: SolverName | None = None,
        generator: torch.Generator | None = None,
    ) -> Latents:
        """Content of observed frames, and a path through the latent space that follows them.

        Args:
            context: as for `forecast`; as long as wanted, in consecutive frames, times kept.
            samples: paths to draw of each sequence.
            substeps: steps of the solver per frame while conditioning; by default the model's own.
            solver: of the transition's differential equation; by default the model's own.
            generator: source of the random draws.

        Errors:
            InputError: a shape, channel count, length, time or option does not fit.
        """
        frames = self.check_context(context, "context").to(next(self.buffers()).device)
        check_clock(frames.times, len(frames))
        if samples < 1:
            raise InputError(f"Latents need at least 1 sample, got samples={samples}.")
        chosen = self.choose_solver(solver, substeps)
        with evaluation_mode(self) as model, torch.no_grad():
            observed = self.inputs(frames)
            latents = model.infer_path(
                observed, samples=samples, solver=chosen, generator=generator
            )
        times = latents.times + frames.times[-1].cpu()
        return replace(latents, times=times, model=fingerprint_of(self))

    def infer_path(
        self,
        observed: Float[Tensor, "batch time channel *space"],
        *,
        samples: int,
        solver: Solver,
        generator: torch.Generator | None,
    ) -> Latents:
        """Latents of observed frames, in the units of the model; the last frame has time 0."""
        state = self.observe(observed, samples=samples, generator=generator)
        solvers = (solver,) * max(round(-state.time), 0)
        path = self.roll_out(state.latent, solvers, generator=generator)
        times = state.time + torch.arange(len(solvers) + 1.0)
        return Latents(content=state.content, times=times, solvers=solvers, **path._asdict())

    @typed
    def continue_latents(
        self,
        latents: Latents,
        horizon: int | None = None,
        *,
        samples: int | None = None,
        substeps: int | None = None,
        solver: SolverName | None = None,
        generator: torch.Generator | None = None,
    ) -> Latents:
        """The same path, longer: what was, and a forecast up to the lead time `horizon`.

        With the generator that the latents were inferred with, they are those of `forecast`.

        Args:
            latents: a path of this model.
            horizon: last lead time, in whole frames after time 0; by default that of training.
            samples: futures of a path that has a single sample; by default as many as there are.
            substeps: steps of the solver per frame from here on; by default the model's own.
            solver: of the transition's differential equation; by default the model's own.
            generator: source of the random draws.

        Errors:
            InputError: latents of another model, a horizon before their end, or samples that do
                not fit.
        """
        horizon = self.spec.horizon if horizon is None else horizon
        if horizon > LONGEST:
            raise InputError(f"A horizon is at most {LONGEST} frames, got {horizon}.")
        count = round(horizon - check_own(self, latents).end)
        if count < 0:
            raise InputError(
                f"These latents reach to time {latents.end:g} already, got a horizon of {horizon}."
            )
        chosen = self.choose_solver(solver, substeps)
        if samples is not None:
            latents = latents.with_samples(samples)
        with evaluation_mode(self) as model, torch.no_grad():
            solvers = (chosen,) * count
            path = model.roll_out(latents.states[:, :, -1], solvers, generator=generator)
        return extend(latents, path, solvers)

    @typed
    def reintegrate_latents(
        self,
        latents: Latents,
        *,
        substeps: int | None = None,
        solver: SolverName | None = None,
    ) -> Latents:
        """The path that starts in the same state, with the same noise.

        Args:
            latents: a path of this model; its first state and its noise may have been changed.
            substeps: steps of the solver per frame; by default those of the path.
            solver: of the transition's differential equation; by default that of the path.
        """
        check_own(self, latents)
        solvers = latents.solvers
        if substeps is not None or solver is not None:
            solvers = (self.choose_solver(solver, substeps),) * len(solvers)
        with evaluation_mode(self) as model, torch.no_grad():
            path = model.roll_out(latents.states[:, :, 0], solvers, noise=latents.noise)
            prior = model.noise_prior(path.states[:, :, :-1])
        return replace(latents, states=path.states, prior=prior, solvers=solvers)

    @typed
    def decode_latents(
        self, latents: Latents, times: Sequence[float] | Tensor | None = None
    ) -> Forecast:
        """Frames of a path, in the units of the data.

        Args:
            latents: a path of this model.
            times: increasing times within the path, whole or not; by default those of its states.

        Errors:
            InputError: latents of another model, or times that do not fit.
        """
        wanted = latents.times if times is None else self._check_times(None, times)
        return Forecast(
            samples=self.frames_at(latents, wanted), times=wanted, channels=self.spec.channels
        )

    def frames_at(
        self, latents: Latents, times: Float[Tensor, " time"]
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """Frames of a path at any of its times, in any order, in the units of the data."""
        check_own(self, latents)
        with evaluation_mode(self) as model, torch.no_grad():
            states = model.states_at(latents, times)
            return self.normaliser.restore(model.decode_all(latents.content, states), axis=3)

    def states_at(
        self, latents: Latents, times: Float[Tensor, " time"]
    ) -> Float[Tensor, "sample batch time latent *grid"]:
        """States of a path at any of its times, in any order, with the noise that it has.

        Between frames they are those of the path's own solver.

        Errors:
            InputError: a time outside the path, or between frames where the transition knows
                whole frames only.
        """
        last, found = len(latents) - 1, []
        for time in (times.double() - latents.start).tolist():
            if not -TIME_TOLERANCE <= time <= last + TIME_TOLERANCE:
                raise InputError(
                    f"These latents reach from time {latents.start:g} to {latents.end:g}, got a "
                    f"time of {time + latents.start:g}."
                )
            frame = min(max(math.floor(time + TIME_TOLERANCE), 0), last)
            state = latents.states[:, :, frame]
            if time - frame > TIME_TOLERANCE:
                now = None if latents.noise is None else latents.noise[:, :, frame : frame + 1]
                state = self.roll_out(
                    state, latents.solvers[frame : frame + 1], fractions=[[time - frame]], noise=now
                ).states[:, :, 1]
            found.append(state)
        return torch.stack(found, dim=2)

    def predict(
        self,
        context: Frames,
        times: Float[Tensor, " time"],
        *,
        samples: int,
        substeps: int | None,
        solver: SolverName | None,
        content_from: Frames | None,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        observed = self.inputs(context)
        state = self.observe(observed, samples=samples, generator=generator)
        if content_from is not None:
            content = self.content_of(self.inputs(content_from))
            state = state._replace(content=content.expand(len(context.values)))
        latents = self.advance(state, times, substeps=substeps, solver=solver, generator=generator)
        return self.normaliser.restore(self.decode_all(state.content, latents), axis=3)

    @typed
    def reconstruct(
        self,
        context: Frames | Any,
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """The context's own frames as the model sees them, decoded from its latents.

        With a generator in the same state, sample i is the past of sample i of `forecast`.

        Args:
            context: observed frames, as `forecast` takes them.
            samples: number of draws of the latents.
            generator: source of the random draws.

        Errors:
            InputError: the model has no latents of context frames, or the context does not fit.
        """
        if not self.reconstructs:
            raise InputError(f"This {type(self).__name__} does not reconstruct its context.")
        latents = self.infer_latents(context, samples=samples, generator=generator)
        return self.decode_latents(latents).samples

    def decode_all(
        self, content: Content, latents: Float[Tensor, "sample batch time latent *grid"]
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """Decode every sample and time of each sequence, as many at once as `DECODE_BYTES` allow.

        Samples and times are folded together, and what depends on content alone is computed once
        per sequence.
        """
        samples, batch, length = latents.shape[:3]
        folded = latents.transpose(0, 1).flatten(1, 2)  # (batch, sample * time, latent)
        frames: Tensor | None = None
        limit = DECODE_BYTES if latents.device.type == "cpu" else GPU_DECODE_BYTES
        for sequences, parts in self._decode_parts(batch, samples * length, limit):
            ready = self.precompute_content(content.select(sequences))
            for many in parts:
                part = self.decode(ready, folded[sequences, many])
                if frames is None:
                    frames = part.new_empty(batch, samples * length, *part.shape[2:])
                frames[sequences, many] = part
        assert frames is not None
        return frames.unflatten(1, (samples, length)).transpose(0, 1)

    def _decode_parts(
        self, batch: int, many: int, limit: int
    ) -> Iterator[tuple[slice, list[slice]]]:
        """Slices of sequences, and of their latents, whose maps fit in so many bytes."""
        frames = max(1, limit // (DECODE_MAPS * 4 * self.largest_feature_map))
        at_once = max(1, frames // many)
        step = min(many, frames)
        for sequence in range(0, batch, at_once):
            latents = [slice(start, start + step) for start in range(0, many, step)]
            yield slice(sequence, sequence + at_once), latents


def fractions_of(times: Sequence[float]) -> list[list[float]]:
    """Increasing times after a state, in frame intervals, as fractions of each interval.

    Those that are the state's own are left out.
    """
    # Intervals are counted in whole numbers: a sum of 1/3's would miss the frames.
    ends = [math.ceil(time - TIME_TOLERANCE) for time in times]
    found: list[list[float]] = [[] for _ in range(max(ends, default=0))]
    for time, end in zip(times, ends, strict=True):
        if end > 0:
            inside = time - (end - 1)
            found[end - 1].append(1.0 if inside > 1 - TIME_TOLERANCE else inside)
    return found
