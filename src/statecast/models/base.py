"""Forecaster and StateSpaceForecaster: what every model can do, and forecasting written once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.frames import Batch, Forecast, Frames, FrameSpec, default_channels
from statecast.nn.codecs import Content
from statecast.nn.normaliser import Normalisation, Normaliser
from statecast.numerics.solvers import ADAPTIVE, ODE_SOLVERS, Solver, SolverName

Losses = dict[str, Tensor]
TIME_TOLERANCE = 1e-5  # times closer than this, in frame intervals, are the same
DECODE_BYTES = 256 * 2**20  # largest map that decoding may hold at once, roughly


class Forecaster(nn.Module, ABC):
    """A model of how frames go on.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights, for models that have any.

    Attributes:
        spec: shape, channels and units of the frames it works on.
        normaliser: maps the units of the data to those of the model and back.

    Class attributes:
        stochastic: False where all samples of a forecast are equal.
        supports_substeps: whether the transition takes Euler steps.
        supports_content_exchange: whether content and dynamics can come from two contexts.
        statistics_batches: training batches that `fit_statistics` needs.
    """

    stochastic: ClassVar[bool] = False
    supports_substeps: ClassVar[bool] = False
    supports_content_exchange: ClassVar[bool] = False
    statistics_batches: ClassVar[int] = 64

    def __init__(
        self,
        spec: FrameSpec,
        *,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.normaliser = Normaliser(spec, normalise)

    @property
    def minimum_context(self) -> int:
        """Fewest context frames that a forecast needs."""
        return 1

    @abstractmethod
    def loss(self, batch: Batch, generator: torch.Generator | None = None) -> Losses:
        """Named terms of the training loss; `"total"` is what is minimised."""

    @abstractmethod
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
        """Frames at `times`, in the units of the data; arguments are checked already."""

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Set what comes from training data without gradients: by default, the normaliser.

        Args:
            batches: training batches, the same ones each time they are iterated over.
        """
        if self.normaliser.needs_data:
            self.normaliser.fit(batch.values for batch in batches)

    @property
    def needs_statistics(self) -> bool:
        """Whether `fit_statistics` has anything to set."""
        return self.normaliser.needs_data

    def forecast(
        self,
        context: Frames | Any,
        horizon: int | None = None,
        *,
        times: Sequence[float] | Tensor | None = None,
        samples: int = 1,
        substeps: int | None = None,
        solver: SolverName | None = None,
        content_from: Frames | Any | None = None,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """Samples of the frames that follow a context.

        Args:
            context: observed frames, `Frames` or a bare array or tensor
                (batch, time, channel, *space), in the units of the data.
            horizon: number of frames to forecast; by default that of training.
            times: instead of `horizon`, the increasing lead times wanted, in frame intervals
                after the last observed frame; not necessarily whole numbers.
            samples: number of futures to draw.
            substeps: steps of the transition per frame while forecasting; by default the
                model's own.
            solver: method that the transition is followed with while forecasting, such as `rk4`
                or the adaptive `dopri5`; by default the model's own.
            content_from: another context, whose content is used with the dynamics of `context`.
            generator: source of the random draws; same seed, same forecast.

        Returns:
            The forecast, on the device of the model.

        Errors:
            InputError: a shape, channel count, length or option does not fit.
            ConvergenceError: an adaptive solver did not reach its tolerance.
        """
        device = next((tensor.device for tensor in self.buffers()), torch.device("cpu"))
        frames = self.check_context(context, "context").to(device)
        other = (
            None
            if content_from is None
            else self._check_exchange(content_from, len(frames.values)).to(device)
        )
        wanted = self._check_times(horizon, times)
        if samples < 1:
            raise InputError(f"A forecast needs at least 1 sample, got samples={samples}.")
        self._check_solver(solver, substeps)
        with evaluation_mode(self), torch.no_grad():
            values = self.predict(
                frames,
                wanted,
                samples=samples if self.stochastic else 1,
                substeps=substeps,
                solver=solver,
                content_from=other,
                generator=generator,
            )
        if len(values) < samples:
            values = values.expand(samples, *values.shape[1:])
        return Forecast(samples=values, times=wanted, channels=self.spec.channels)

    def check_context(self, context: Frames | Any, what: str = "context") -> Frames:
        """`context` as `Frames` that fit the model.

        Errors:
            InputError: wrong type, channels, space or length, or values that are not finite.
        """
        frames = context if isinstance(context, Frames) else Frames.context_of(context)
        shape = (frames.values.shape[2], *frames.space)
        if shape != self.spec.frame_shape:
            raise InputError(
                f"The model works on frames (channel, *space) = {self.spec.frame_shape}, the "
                f"{what} has {shape}."
            )
        if frames.channels not in (self.spec.channels, default_channels(frames.values)):
            raise InputError(
                f"The model works on the channels {self.spec.channels}, the {what} has "
                f"{frames.channels}. Reorder or rename them."
            )
        if len(frames) < self.minimum_context:
            raise InputError(
                f"The model needs a {what} of at least {self.minimum_context} frame(s), got "
                f"{len(frames)}."
            )
        return frames.require_finite(what)

    def _check_exchange(self, content_from: Frames | Any, batch: int) -> Frames:
        if not self.supports_content_exchange:
            raise InputError(f"{type(self).__name__} has no content to exchange.")
        other = self.check_context(content_from, "content_from")
        if len(other.values) not in (1, batch):
            raise InputError(
                f"content_from must hold 1 sequence or as many as the context, {batch}, got "
                f"{len(other.values)}."
            )
        return other

    def _check_solver(self, solver: SolverName | None, substeps: int | None) -> None:
        given = {"substeps": substeps, "solver": solver}
        for name in [name for name, value in given.items() if value is not None]:
            raise InputError(f"{type(self).__name__} takes no Euler steps; leave `{name}` out.")

    def _check_times(
        self, horizon: int | None, times: Sequence[float] | Tensor | None
    ) -> Float[Tensor, " time"]:
        if times is None:
            horizon = self.spec.horizon if horizon is None else horizon
            if horizon < 1:
                raise InputError(f"A forecast needs a horizon of at least 1 frame, got {horizon}.")
            return torch.arange(1.0, horizon + 1.0)
        if horizon is not None:
            raise InputError("Give either `horizon` or `times` to forecast, not both.")
        wanted = torch.as_tensor(times, dtype=torch.float32).cpu()
        if wanted.ndim != 1 or len(wanted) == 0 or not bool(torch.isfinite(wanted).all()):
            raise InputError(
                f"Times must be a list of finite numbers, got shape {tuple(wanted.shape)}."
            )
        if not bool((wanted.diff() > 0).all()):
            raise InputError(f"Times must increase, got {wanted.tolist()}.")
        return wanted


class State(NamedTuple):
    """What a state-space model carries forward from a context."""

    content: Content  # what stays, one per sequence
    latent: Float[Tensor, "sample batch latent"]  # what moves
    time: float  # time of the latent, in frame intervals after the last observed frame


class StateSpaceForecaster(Forecaster):
    """A model that encodes the context once, carries a latent forward, and decodes.

    A forecast is `observe`, `advance`, `decode`; no generated frame is ever looked at.
    """

    supports_substeps = True
    supports_content_exchange = True
    width: int  # channels or hidden units of the decoder's widest map, to bound memory
    substeps: int = 1  # steps of the solver per frame, unless asked otherwise
    solver: SolverName = "euler"  # unless asked otherwise
    solvers: tuple[SolverName, ...] = ODE_SOLVERS  # none where the transition knows frames only
    tolerances: tuple[float, float] = (1e-5, 1e-6)  # relative and absolute, of adaptive solvers

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
    def interval(
        self,
        latent: Float[Tensor, "*latents"],
        *,
        substeps: int | None = None,
        solver: SolverName | None = None,
        at: Sequence[float] = (1.0,),
        generator: torch.Generator | None = None,
    ) -> list[Float[Tensor, "*latents"]]:
        """Latents at increasing fractions of one frame interval, by default at its end alone.

        Noise is that of the whole interval, drawn once. `substeps` and `solver` are the model's
        own by default.
        """

    @abstractmethod
    def decode(
        self, content: Content, latents: Float[Tensor, "batch many latent"]
    ) -> Float[Tensor, "batch many channel *space"]:
        """Frames of many latents of each sequence, in the units of the model."""

    @property
    def continuous(self) -> bool:
        """Whether the transition is a differential equation, known between frames as well."""
        return bool(self.solvers)

    def dynamics(self) -> nn.Module | None:
        """The network that runs once per evaluation of the velocity; None where there is none."""
        return None

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
        relative, absolute = self.tolerances
        return Solver(
            name=name,
            substeps=substeps,
            relative_tolerance=relative,
            absolute_tolerance=absolute,
        )

    def _check_solver(self, solver: SolverName | None, substeps: int | None) -> None:
        self.choose_solver(solver, substeps)

    def advance(
        self,
        state: State,
        times: Float[Tensor, " time"],
        *,
        substeps: int | None = None,
        solver: SolverName | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "sample batch time *latents"]:
        """Latents at increasing times, none of them before the state's.

        Noise is drawn once per frame interval, whatever the solver, substeps and times asked for.
        Times between the steps of a solver are as accurate as those at its steps; of Euler's
        method that is a straight line.

        Errors:
            InputError: a time before the state's, or between frames where the transition knows
                whole frames only.
        """
        self.choose_solver(solver, substeps)
        wanted = (times.double() - state.time).tolist()
        if wanted and wanted[0] < -TIME_TOLERANCE:
            raise InputError(
                f"This model goes back to time {state.time:g} at most (0 is the last observed "
                f"frame), got a time of {wanted[0] + state.time:g}."
            )

        def interval(latent: Tensor, at: Sequence[float]) -> list[Tensor]:
            return self.interval(
                latent, substeps=substeps, solver=solver, at=at, generator=generator
            )

        latent, done, found = state.latent, 0, []
        # Intervals are counted in whole numbers: a sum of 1/3's would miss the frames.
        for end, group in groupby(wanted, lambda time: math.ceil(time - TIME_TOLERANCE)):
            if end <= 0:
                found += [latent for _ in group]
                continue
            while done < end - 1:
                latent, done = interval(latent, (1.0,))[-1], done + 1
            inside = [time - done for time in group]
            whole = inside[-1] > 1 - TIME_TOLERANCE
            at = (*inside[:-1], 1.0) if whole else (*inside, 1.0)
            if len(at) > 1 and not self.continuous:
                raise InputError("This transition knows whole frames only: ask for whole `times`.")
            states = interval(latent, at)
            found += states[: len(inside)]
            latent, done = states[-1], end
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
        observed = self.normaliser.normalise(context.values)
        state = self.observe(observed, samples=samples, generator=generator)
        if content_from is not None:
            content = self.content_of(self.normaliser.normalise(content_from.values))
            state = state._replace(content=content.expand(len(context.values)))
        latents = self.advance(state, times, substeps=substeps, solver=solver, generator=generator)
        return self.normaliser.restore(self.decode_all(state.content, latents), axis=3)

    def decode_all(
        self, content: Content, latents: Float[Tensor, "sample batch time latent"]
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """Decode every sample and time of each sequence, as many at once as memory allows.

        Samples and times are folded together, so that what depends on content alone is computed
        once per sequence.
        """
        samples, batch, length = latents.shape[:3]
        folded = latents.transpose(0, 1).flatten(1, 2)  # (batch, sample * time, latent)
        frames: Tensor | None = None
        for sequences, many in self._decode_parts(batch, samples * length):
            part = self.decode(content.select(sequences), folded[sequences, many])
            if frames is None:
                frames = part.new_empty(batch, samples * length, *part.shape[2:])
            frames[sequences, many] = part
        assert frames is not None
        return frames.unflatten(1, (samples, length)).transpose(0, 1)

    def _decode_parts(self, batch: int, many: int) -> Iterator[tuple[slice, slice]]:
        """Slices of sequences and of their latents whose widest maps fit in `DECODE_BYTES`."""
        per_frame = 4 * self.width * math.prod(self.spec.space)
        frames = max(1, DECODE_BYTES // per_frame)
        at_once = max(1, frames // many)
        step = min(many, frames)
        for sequence in range(0, batch, at_once):
            for start in range(0, many, step):
                yield slice(sequence, sequence + at_once), slice(start, start + step)


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode, and back as it was."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)
