"""OnlineForecaster: models with a state that each frame updates in constant time and memory."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.checks import LONGEST, typed
from statecast.errors import InputError
from statecast.frames import Forecast, Frames
from statecast.models.argument_checks import Times, check_size
from statecast.models.base import Forecaster, evaluation_mode

S = TypeVar("S")


class OnlineForecaster(Forecaster, Generic[S]):
    """A model that updates its state with frames as they come, and forecasts from the state.

    A state is a tuple of tensors whose sizes do not depend on the number of frames seen.

    Class attributes:
        draws_in_filter: whether a state holds sampled paths and the generator of the next draws;
            otherwise it holds a distribution, from which forecasts draw.
        state_type: class of the states.
    """

    state_type: ClassVar[type]
    draws_in_filter: ClassVar[bool] = False

    @property
    def why_no_state(self) -> str | None:
        """Why a model with these options cannot continue from a state; None if it can."""
        return None

    @abstractmethod
    def filter_frames(self, frames: Frames, state: S | None, dt: float) -> S:
        """The state after frames on the device of the model; `filter` has checked the arguments."""

    @abstractmethod
    def predict_from(
        self,
        state: S,
        times: Float[Tensor, " time"],
        *,
        samples: int,
        generator: torch.Generator | None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """Frames at `times` after the last frame of a state, in the units of the data."""

    @typed
    def filter(
        self,
        frames: Frames | Any,
        state: Any = None,
        dt: float = 1.0,
        *,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> S:
        """Update the state with new frames; the result equals the state after all frames at once.

        Args:
            frames: one or more new frames of each sequence, as `forecast` takes a context.
            state: the state after the frames before; None to start.
            dt: time from the last frame before to the first new one, in frame intervals.
            samples: number of paths of a new state, where states hold sampled paths.
            generator: source of their draws; the state holds a copy of it.

        Errors:
            InputError: frames do not fit the model or the state, dt is not positive, or a model
                with these options has no state.
        """
        if self.why_no_state is not None:
            raise InputError(self.why_no_state)
        if state is not None:
            self.check_state(state)
        if not 0 < dt <= LONGEST:
            raise InputError(
                "Frames must come in order of time: dt must be positive and at most "
                f"{LONGEST} frames, got {dt:g}."
            )
        new = self.check_context(frames, "frames").to(next(self.buffers()).device)
        with evaluation_mode(self) as model, torch.no_grad():
            return model.filter_frames(new, state, dt)

    @typed
    def forecast_from(
        self,
        state: Any,
        horizon: int | None = None,
        *,
        times: Times | None = None,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """Samples of the frames that follow the last frame of a state.

        With the same seed, they equal those of `forecast` from the same frames.

        Args:
            state: from `filter`.
            horizon: number of frames to forecast; by default that of training.
            times: instead of `horizon`, the increasing lead times wanted.
            samples: number of futures to draw.
            generator: source of the random draws.

        Errors:
            InputError: the state is not one of such a model, or a time or an option does not fit.
        """
        self.check_state(state)
        if samples < 1:
            raise InputError(f"A forecast needs at least 1 sample, got samples={samples}.")
        wanted = self._check_times(horizon, times)
        if float(wanted[0]) < 0:
            raise InputError(
                "A state cannot go back before its last frame, at time 0, got a time of "
                f"{float(wanted[0]):g}. For earlier times, forecast from the frames themselves."
            )
        check_size((samples, 1, len(wanted), *self.spec.frame_shape))
        with evaluation_mode(self) as model, torch.no_grad():
            values = model.predict_from(state, wanted, samples=samples, generator=generator)
        return self.calibrated(Forecast(samples=values, times=wanted, channels=self.spec.channels))

    def check_state(self, state: Any) -> None:
        """Raise `InputError` unless this is a state of such a model."""
        if not isinstance(state, self.state_type):
            raise InputError(
                f"The state must come from `{type(self).__name__}.filter`, got "
                f"{type(state).__name__}."
            )


def shapes_of(state: Any) -> str:
    """A named tuple in words, with shapes in place of the values of tensors."""
    if isinstance(state, Tensor):
        return f"tensor {'×'.join(map(str, state.shape)) or '()'}"
    if not isinstance(state, tuple):
        return repr(state)
    fields = getattr(state, "_fields", None)
    if fields is None:
        return f"({', '.join(map(shapes_of, state))})"
    parts = (f"{n}={shapes_of(part)}" for n, part in zip(fields, state, strict=True))
    return f"{type(state).__name__}({', '.join(parts)})"


def check_rows(expected: int, found: int) -> None:
    """Raise `InputError` unless new frames have as many sequences as the state."""
    if expected != found:
        raise InputError(
            f"The state has {expected} sequence(s), but the new frames have {found}. Pass frames "
            "of each sequence."
        )
