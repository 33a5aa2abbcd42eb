"""LatentRollout: carries a latent through frame intervals, with its noise."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.models.base import Forecaster
from statecast.models.carried_states import (
    follow_without_path,
    interval_keys,
    interval_of,
    lifted,
    lowered,
)
from statecast.models.latents import TIME_TOLERANCE, Rollout
from statecast.nn.activation_checkpointing import Staged
from statecast.nn.codecs.base import Content
from statecast.nn.gaussian import DiagonalGaussian
from statecast.nn.noise_model import main_state
from statecast.nn.random import normal_draws
from statecast.solvers.interval_noise import Interval, IntervalNoise
from statecast.solvers.reversible import Followed
from statecast.solvers.solvers import ADAPTIVE, ODE_SOLVERS, Solver, SolverName, solver_of


class State(NamedTuple):
    """State of a state-space model, carried forward from a context."""

    content: Content  # constant in time, one per sequence
    latent: Float[Tensor, "sample batch latent *grid"]  # a vector, or a map
    time: float  # time of the latent, in frame intervals after the last observed frame
    origin: float = 0.0  # time at which the noise clocks started, in the same units


class LatentRollout(Staged, Forecaster):
    """A model that carries a latent through frame intervals by a solver, with noise or without."""

    takes_any_time = True  # `advance` refuses those that a transition cannot do
    substeps: int = 1  # steps of the solver per frame, unless asked otherwise
    solver: SolverName = "euler"  # unless asked otherwise
    solvers: tuple[SolverName, ...] = ODE_SOLVERS  # empty for a transition in whole frames
    tolerances: tuple[float, float] = (1e-5, 1e-6)  # relative and absolute, of adaptive solvers
    latent_width: int = 0  # of a latent with the noise carried beside it, without shadow
    autonomous: bool = False  # whether the velocity is the same in all intervals: no noise
    noise_from_keys: bool = False  # whether keys generate noise inside each interval
    _compiled: Callable[..., Rollout] | None = None  # `_roll_out`, compiled for training

    @abstractmethod
    def step(
        self,
        latent: Followed,
        noise: Float[Tensor, "*batch noise"] | Interval | None,
        *,
        solver: Solver,
        fractions: Sequence[float],
    ) -> list[Followed]:
        """Latents at increasing fractions of a frame interval, given the noise of the interval.

        For an `autonomous` transition, fractions beyond 1 are times in later intervals.
        """

    def interval_noise(self, noise: Tensor | Interval | None) -> IntervalNoise:
        """The noise of one frame interval, with the velocity that it drives.

        Errors:
            InputError: the transition cannot be run backwards.
        """
        raise InputError(f"The transition of this {type(self).__name__} cannot be run backwards.")

    def invertible(self, solver: Solver) -> bool:
        """Whether steps of this solver can be undone up to the last bits."""
        return self.continuous and solver.paired

    def step_weights(self) -> Iterator[nn.Parameter]:
        """Weights that a step depends on directly, rather than through its noise."""
        return iter(())

    def noise_prior(self, latent: Float[Tensor, "*batch latent"]) -> DiagonalGaussian | None:
        """Distribution of the next interval's noise; None for a transition without noise."""
        return None

    @property
    def continuous(self) -> bool:
        """Whether the transition is a differential equation, defined between frames too."""
        return bool(self.solvers)

    def dynamics(self) -> nn.Module | None:
        """The network that runs once per evaluation of the velocity; None without one."""
        return None

    def choose_solver(
        self, solver: SolverName | None = None, substeps: int | None = None
    ) -> Solver:
        """The solver to integrate the transition with; the model's own by default.

        Errors:
            InputError: the model does not support it, or a number does not fit.
        """
        name = self.solver if solver is None else solver
        if not self.continuous and (solver is not None or (substeps or 1) > 1):
            raise InputError(
                "This transition works in whole frames only: leave `substeps` and `solver` out."
            )
        if self.continuous and name not in self.solvers:
            raise InputError(
                f"{type(self).__name__} supports the solvers {', '.join(self.solvers)}, got "
                f"{name!r}."
            )
        if substeps is None:
            substeps = 1 if name in ADAPTIVE else self.substeps
        return solver_of(name, substeps, *self.tolerances)

    def _check_solver(self, solver: SolverName | None, substeps: int | None) -> None:
        self.choose_solver(solver, substeps)

    def compile_rollout(self, mode: str) -> None:
        """Compile the loop of the transition through a sequence, `roll_out`, for training.

        On a GPU, launching many small operations takes longer than their arithmetic. Compilation
        fuses them into few, or records them as one graph.

        Args:
            mode: mode of `torch.compile`: `default`, or `reduce-overhead` for a CUDA graph.

        Errors:
            InputError: the solver is adaptive, or keys generate noise inside each interval.
        """
        if self.noise_from_keys:
            raise InputError(
                "A transition with noise inside intervals cannot be compiled. Set "
                "train.compile: false."
            )
        if self.choose_solver().adaptive:
            raise InputError(
                f"The solver {self.solver} cannot be compiled. Choose one with fixed steps, or set "
                "train.compile: false."
            )
        self._compiled = torch.compile(self._roll_out, mode=mode)

    def roll_out(
        self,
        latent: Float[Tensor, "sample batch latent *grid"],
        solvers: Sequence[Solver],
        *,
        fractions: Sequence[Sequence[float]] | None = None,
        noise: Shaped[Tensor, "sample batch interval noise"] | None = None,
        evidence: Float[Tensor, "batch interval size"] | None = None,
        elapsed: int = 0,
        generator: torch.Generator | None = None,
    ) -> Rollout:
        """Carry a latent through frame intervals; training, forecasts and latents all use it.

        Args:
            latent: the state at the start of the first interval.
            solvers: one per interval.
            fractions: for each interval, the increasing times in (0, 1] at which to return the
                state; by default its end only.
            noise: noise of each interval, or the keys that generate it; by default, and where it
                is NaN, it is drawn from its prior, once per interval.
            evidence: what observed frames say about each interval, if keys generate its noise;
                NaN where they say nothing.
            elapsed: frame intervals since the noise clocks started.
            generator: source of the draws.

        Errors:
            InputError: a time between frames where the transition works in whole frames only.
        """
        run = self._roll_out if self._compiled is None or not self.training else self._compiled
        gaps = noise is not None and not self.noise_from_keys and bool(noise.isnan().any())
        return run(
            latent,
            solvers,
            fractions=fractions,
            noise=noise,
            gaps=gaps,
            evidence=evidence,
            elapsed=elapsed,
            generator=generator,
        )

    def _roll_out(
        self,
        latent: Tensor,
        solvers: Sequence[Solver],
        *,
        fractions: Sequence[Sequence[float]] | None,
        noise: Tensor | None,
        gaps: bool,
        evidence: Tensor | None,
        elapsed: int,
        generator: torch.Generator | None,
    ) -> Rollout:
        state = lifted(latent, solvers[0], self.latent_width) if solvers else latent.contiguous()
        doubled = any(solver.paired for solver in solvers)
        if self.autonomous and same_fixed_steps(solvers):
            path = self.step(state, None, solver=solvers[0], fractions=ends_of(solvers, fractions))
            states = [lowered(one, doubled) for one in (state, *path)]
            return Rollout(torch.stack(states, dim=2), noise, None)
        states, drawn, priors = [lowered(state, doubled)], [], []
        standard: Tensor | None = None
        if noise is None and self.noise_from_keys:
            samples, batch = latent.shape[:2]
            noise = interval_keys(generator, samples, batch, len(solvers))
        for index, solver in enumerate(solvers):
            state = lifted(state, solver, self.latent_width)
            now = self.noise_at(noise, evidence, index, elapsed)
            prior = self.noise_prior(main_state(state)) if noise is None or gaps else None
            if prior is not None:
                if standard is None:  # all at once, with the numbers of one draw per interval
                    shape = tuple(prior.mean.shape)
                    standard = normal_draws(len(solvers), shape, prior.mean, generator)
                fresh = prior.at(standard[index])
                now = torch.where(now.isnan(), fresh, now) if isinstance(now, Tensor) else fresh
                drawn.append(now)
                priors.append(prior)
            wanted = (1.0,) if fractions is None else tuple(fractions[index])
            inside = tuple(fraction for fraction in wanted if fraction < 1)
            if inside and not self.continuous:
                raise InputError(
                    "This transition works in whole frames only: ask for whole `times`."
                )
            # The next interval begins at the end of this one, even if nobody asks for that state.
            *between, state = self._step(state, now, solver, (*inside, 1.0))
            states += [lowered(found, doubled) for found in [*between, state][: len(wanted)]]
        return Rollout(
            states=torch.stack(states, dim=2),
            noise=torch.stack(drawn, dim=2) if drawn else noise,
            prior=DiagonalGaussian.stack(priors, dim=2) if priors and noise is None else None,
        )

    def noise_at(
        self, noise: Tensor | None, evidence: Tensor | None, index: int, elapsed: int
    ) -> Tensor | Interval | None:
        """Noise of one interval, as `step` takes it."""
        if noise is None or not self.noise_from_keys:
            return None if noise is None else noise[:, :, index]
        return interval_of(noise, evidence, index, elapsed)

    def _step(
        self, state: Followed, now: Tensor | Interval | None, solver: Solver, ends: Sequence[float]
    ) -> list[Followed]:
        if self.recompute and torch.is_grad_enabled() and self.invertible(solver):
            noise = self.interval_noise(now)
            found = follow_without_path(noise, solver, state, ends, list(self.step_weights()))
            if found is not None:
                return found
        return self.step(state, now, solver=solver, fractions=ends)

    def advance(
        self,
        state: State,
        times: Float[Tensor, " time"],
        *,
        substeps: int | None = None,
        solver: SolverName | None = None,
        noise: Shaped[Tensor, "sample batch interval noise"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "sample batch time latent *grid"]:
        """Latents at increasing times, none of them before the state's.

        Noise is drawn once per frame interval, whatever the solver, substeps and times; `noise`
        replaces the draws, and must hold every interval up to the last time. Times between the
        steps of a solver are as accurate as those at its steps; with Euler's method, the latent
        is linear in between.

        Errors:
            InputError: a time before the state's, or between frames where the transition works in
                whole frames only.
        """
        chosen = self.choose_solver(solver, substeps)
        wanted = (times.double() - state.time).tolist()
        if wanted and wanted[0] < -TIME_TOLERANCE:
            raise self.too_early(state.time, wanted[0] + state.time)
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
            elapsed=self._elapsed(state),
            generator=generator,
        ).states
        at_once = len(wanted) - sum(map(len, fractions))  # times that are the state's own
        first = states[:, :, :1].expand(-1, -1, at_once, *states.shape[3:])
        return torch.cat([first, states[:, :, 1:]], dim=2) if at_once else states[:, :, 1:]

    def too_early(self, limit: float, time: float) -> InputError:
        """The error of a time that the model cannot go back to."""
        return InputError(
            f"This model goes back to time {limit:g} at most (0 is the last observed frame), got a "
            f"time of {time:g}.{self.backwards_advice()}"
        )

    def backwards_advice(self) -> str:
        """The end of an error about times that the model does not go back to."""
        solver: SolverName = "reversible_heun"
        if solver in self.solvers and self.invertible(Solver(name=solver)):
            return f" Forecast with solver: {solver} to run it backwards."
        return ""

    def _elapsed(self, state: State) -> int:
        elapsed = state.time - state.origin
        if self.noise_from_keys and abs(elapsed - round(elapsed)) > TIME_TOLERANCE:
            raise InputError(
                "Noise clocks continue only at whole frames after their start, at time "
                f"{state.origin:g}, got a state at time {state.time:g}."
            )
        return round(elapsed)


def same_fixed_steps(solvers: Sequence[Solver]) -> bool:
    """Whether there are intervals, and all have the same fixed steps of a single state."""
    if not solvers or solvers[0].adaptive or solvers[0].paired:
        return False
    return all(solver == solvers[0] for solver in solvers)


def ends_of(solvers: Sequence[Solver], fractions: Sequence[Sequence[float]] | None) -> list[float]:
    """Times after the first state, from fractions of each interval; by default their ends."""
    if fractions is None:
        return [float(end) for end in range(1, len(solvers) + 1)]
    return [index + inside for index, parts in enumerate(fractions) for inside in parts]


def fractions_of(times: Sequence[float]) -> list[list[float]]:
    """Increasing times after a state, in frame intervals, as fractions of each interval.

    Times equal to the state's own are left out.
    """
    # Intervals are counted in whole numbers: a sum of 1/3's would miss the frames.
    ends = [math.ceil(time - TIME_TOLERANCE) for time in times]
    found: list[list[float]] = [[] for _ in range(max(ends, default=0))]
    for time, end in zip(times, ends, strict=True):
        if end > 0:
            inside = time - (end - 1)
            found[end - 1].append(1.0 if inside > 1 - TIME_TOLERANCE else inside)
    return found
