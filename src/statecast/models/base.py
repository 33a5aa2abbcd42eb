"""Forecaster: the base class of every model, with one implementation of `forecast`."""

from __future__ import annotations

import copy
import functools
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple, ParamSpec, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statecast.checks import LONGEST, typed
from statecast.errors import InputError, StatecastError
from statecast.frames import (
    Batch,
    Forecast,
    Frames,
    FrameSpec,
    as_series,
    as_tensor,
    default_channels,
)
from statecast.models.argument_checks import (
    Times,
    as_times,
    check_size,
    checked_series,
    shortened,
    whole_leads,
)
from statecast.models.calibration import Calibration
from statecast.nn.fast.convolution import lay_weights_channels_last
from statecast.nn.fast.weight_cache import constant_weights
from statecast.nn.normaliser import Normalisation, Normaliser
from statecast.solvers.solvers import SolverName

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)
Losses = dict[str, Tensor]
# Values this many widths of the data's range outside it have other units. The range of standardised
# frames may be a rough one.
MARGIN, ROUGH_MARGIN = 0.5, 10


class Update(NamedTuple):
    """One update of a training step, such as that of a generator or of its discriminator."""

    name: str
    parameters: tuple[str, ...] = ("",)  # prefixes of the names of the weights it changes
    learning_rate_scale: float = 1.0  # factor on the training's learning rate
    adam_betas: tuple[float, float] | None = None  # None: those of the training
    shares: str | None = None  # earlier update whose optimiser and random numbers it reuses


class Codes(NamedTuple):
    """Codes of a context: dynamics, and content, which is constant in time."""

    dynamics: Float[Tensor, "batch feature"]  # of one frame
    content: Float[Tensor, "batch feature"]
    time: int  # time of that frame, in frame intervals; 0 is the last observed one


class Forecaster(nn.Module, ABC):
    """A model that forecasts frames.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights, for models that have any.

    Attributes:
        spec: shape, channels and units of the frames it works on.
        normaliser: maps the units of the data to those of the model and back.
        calibration: corrects every forecast; None by default.

    Class attributes:
        stochastic: False where all samples of a forecast are equal.
        takes_any_time: whether `predict` takes times between frames and before the first frame
            after the context, and refuses those that it cannot do itself. Otherwise `times` are
            whole numbers from 1.
        takes_actions: whether frames are forecast under the actions of an agent, where the data
            have any.
        supports_content_swap: whether content and dynamics can come from two contexts. Such a
            model takes `content_from` in its forecasts, and gives both by `codes_of`.
        takes_gaps: whether context frames may be missing, or lie at uneven times. Others see a
            missing frame as one of a constant value, and times as even.
        channels_last: whether convolution weights are stored in the channels-last memory format.
        statistics_batches: number of training batches that `fit_statistics` needs.
    """

    stochastic: bool = False
    takes_any_time: bool = False
    takes_actions: bool = False
    takes_gaps: bool = False
    supports_content_swap: ClassVar[bool] = False
    channels_last: bool = True
    statistics_batches: ClassVar[int] = 64

    def __init_subclass__(cls) -> None:
        """Check the options of every model against its signature."""
        super().__init_subclass__()
        if "__init__" in vars(cls):
            cls.__init__ = with_checked_weights(typed(cls.__init__))  # type: ignore[method-assign]

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
        self.calibration: Calibration | None = None

    @property
    def title(self) -> str:
        """Name of the model in messages."""
        return type(self).__name__

    @property
    def minimum_context(self) -> int:
        """Fewest context frames that a forecast needs."""
        return 1

    @property
    def needs_actions(self) -> bool:
        """Whether a context must come with actions."""
        return self.takes_actions and self.spec.actions > 0

    @abstractmethod
    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        """Named terms of the training loss; `"total"` is minimised.

        Args:
            batch: context and target.
            step: number of optimiser steps before this one, for schedules.
            generator: source of the random draws.
        """

    @property
    def updates(self) -> tuple[Update, ...]:
        """Updates of one training step, in order; by default every weight at once, by `loss`."""
        return (Update("model"),)

    def update_loss(
        self, name: str, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        """Named terms of the loss of one of the `updates`; by default `loss`."""
        return self.loss(batch, step=step, generator=generator)

    def takes_update(self, name: str) -> bool:
        """Whether the weights of one of the `updates`, whose loss was just computed, change."""
        return True

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
        """Frames at `times`, in the units of the data; `forecast` has checked the arguments."""

    def diagnostics(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Values to watch in training in addition to the loss, for each window of a batch.

        Called in evaluation mode and without gradients. A value of one dimension (batch,) is
        averaged over windows. For a value of more dimensions (batch, …, unit), the number of
        active units is reported: those that vary over windows. Empty by default.
        """
        return {}

    def training_warning(self, diagnosed: Mapping[str, float]) -> str | None:
        """A problem that the diagnostics show, with its remedy; None if all is well."""
        return None

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Fit statistics of training data, without gradients; by default, those of the normaliser.

        Args:
            batches: training batches, the same ones each time they are iterated over.
        """
        self.normaliser.fit((batch.values, batch.mask) for batch in batches)

    @property
    def needs_statistics(self) -> bool:
        """Whether `fit_statistics` has anything to fit."""
        return self.normaliser.needs_data

    def codes_of(self, context: Frames, *, generator: torch.Generator | None = None) -> Codes:
        """Dynamics and content of a context, as the decoder sees them, one vector each.

        Args:
            context: observed frames, on the device of the model.
            generator: source of the random draws; one draw is given where the model draws.

        Errors:
            InputError: the model does not separate them.
        """
        raise InputError(f"{self.title} does not tell content from dynamics.")

    @property
    def needs_validation_fit(self) -> bool:
        """Whether `fit_on_validation` has anything to fit."""
        return False

    def fit_on_validation(
        self, windows: Iterable[tuple[Batch, torch.Generator]], *, samples: int, step: int
    ) -> None:
        """Fit statistics of validation windows, without gradients; by default, none.

        Called before each validation, in evaluation mode and without gradients.

        Args:
            windows: batches of validation windows, each with the source of its random draws.
            samples: samples per window to draw.
            step: optimiser steps done before.
        """

    def inputs(self, frames: Frames | Batch) -> Float[Tensor, "batch time channel *space"]:
        """Frames in the units of the model; unknown values are 0, the normaliser's location."""
        return known_part(self.normaliser.normalise(frames.values), frames.mask)

    def in_standard_deviations(
        self, frames: Frames
    ) -> Float[Tensor, "batch time channel *space"] | None:
        """Frames as standard deviations from the mean of training frames; None where unknown."""
        if self.normaliser.method != "standard":
            return None
        return self.normaliser.normalise(frames.values)

    @typed
    def forecast(
        self,
        context: Frames | Any,
        horizon: int | None = None,
        *,
        times: Times | None = None,
        samples: int = 1,
        substeps: int | None = None,
        solver: SolverName | None = None,
        content_from: Frames | Any | None = None,
        actions: Any = None,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """Samples of the frames that follow a context.

        Args:
            context: observed frames, `Frames` or a bare array or tensor
                (batch, time, channel, *space), or of one sequence (time, channel, *space), in the
                units of the data.
            horizon: number of frames to forecast; by default that of training.
            times: instead of `horizon`, the increasing lead times wanted, in frame intervals
                after the last observed frame; whole numbers from 1, unless the model takes others.
            samples: number of futures to draw.
            substeps: steps of the transition per frame while forecasting; by default the
                model's own.
            solver: method that integrates the transition while forecasting, such as `rk4` or the
                adaptive `dopri5`; by default the model's own.
            content_from: another context, whose content is used with the dynamics of `context`.
            actions: actions of the agent, (batch, step, action) or of one sequence (step, action),
                from the first context frame on, in place of the actions of `context`; see
                `Frames`. A model without actions ignores those of a context.
            generator: source of the random draws; same seed, same forecast.

        Returns:
            The forecast, on the device of the model.

        Errors:
            InputError: a shape, channel count, length or option does not fit.
            ConvergenceError: an adaptive solver did not reach its tolerance.
        """
        device = next((tensor.device for tensor in self.buffers()), torch.device("cpu"))
        frames = self.check_context(context, "context")
        other = (
            None
            if content_from is None
            else self._check_content_from(content_from, len(frames.values)).to(device)
        )
        wanted = self._check_times(horizon, times)
        frames = self._check_actions(frames, actions, wanted).to(device)
        if samples < 1:
            raise InputError(f"A forecast needs at least 1 sample, got samples={samples}.")
        check_size((samples, len(frames.values), len(wanted), *self.spec.frame_shape))
        self._check_solver(solver, substeps)
        with evaluation_mode(self) as model, torch.inference_mode():
            values = model.predict(
                frames,
                wanted,
                samples=samples if self.stochastic else 1,
                substeps=substeps,
                solver=solver,
                content_from=other,
                generator=generator,
            )
        if values.is_inference():  # no gradient could flow through an inference tensor
            values = values.clone()
        if len(values) < samples:
            values = values.expand(samples, *values.shape[1:])
        return self.calibrated(Forecast(samples=values, times=wanted, channels=self.spec.channels))

    def calibrated(self, forecast: Forecast) -> Forecast:
        """The forecast, corrected by the calibration if the model has one."""
        if self.calibration is None:
            return forecast
        return self.calibration.apply(forecast, self.spec.value_range)

    def forecast_windows(
        self,
        numbers: Int[Tensor, " window"],
        batch: Batch,
        *,
        samples: int = 1,
        substeps: int | None = None,
        solver: SolverName | None = None,
        generator: torch.Generator | None = None,
    ) -> Forecast:
        """Forecasts of windows at the lead times of their targets.

        Args:
            numbers: indices of the windows in their split, to look up stored forecasts by.
            batch: the windows; only their context enters the forecast.
            samples: as for `forecast`, like the others.
        """
        return self.forecast(
            batch.context,
            times=batch.target.times,
            samples=samples,
            substeps=substeps,
            solver=solver,
            generator=generator,
        )

    def frames_of(self, context: Frames | Any) -> Frames:
        """`context` as `Frames`; an array may lack the axes of a single sequence and channel."""
        if isinstance(context, Frames):
            return context
        if isinstance(context, Batch):
            raise InputError("A model takes observed frames, got a Batch. Pass its `.context`.")
        values = as_tensor(context)
        missing = 2 + len(self.spec.frame_shape) - values.ndim
        if missing == 2 and len(self.spec.channels) == 1:
            values = values.unsqueeze(1)  # (time, *space)
        return Frames.context_of(values[None] if missing in (1, 2) else values)

    def check_context(self, context: Frames | Any, what: str = "context") -> Frames:
        """`context` as `Frames` that fit the model.

        Errors:
            InputError: wrong type, channels, space or length, or values that are not finite.
        """
        frames = self.frames_of(context)
        shape = (frames.values.shape[2], *frames.space)
        if shape != self.spec.frame_shape:
            remedy = "Crop or resize them, or train a model on frames of their size."
            if sorted(shape) == sorted(self.spec.frame_shape):
                remedy = "Give them as (batch, time, channel, *space)."
            elif frames.space == self.spec.space and len(self.spec.channels) == 1:
                remedy = "If the axis of channels is missing, add it: values[:, :, None]."
            raise InputError(
                f"The model works on frames (channel, *space) = {self.spec.frame_shape}. Those of "
                f"the {what} are {shape}. {remedy}"
            )
        if frames.channels not in (self.spec.channels, default_channels(frames.values)):
            raise InputError(
                f"The model works on the channels {self.spec.channels}. Those of the {what} are "
                f"{frames.channels}. Reorder or rename them."
            )
        self.check_context_length(len(frames), what)
        own = next((weight.dtype for weight in self.parameters()), torch.float32)
        wanted = torch.promote_types(own, torch.float32)
        if frames.values.dtype != wanted:
            frames = replace(frames, values=frames.values.to(wanted))
        self.check_range(frames.require_finite(what), what)
        return frames

    def check_range(self, frames: Frames, what: str) -> None:
        """Raise `InputError` where values lie so far outside the data's range that units differ."""
        if self.spec.value_range is None:
            return
        low, high = self.spec.value_range
        known = frames.values if frames.mask is None else frames.values[frames.mask]
        if not known.numel():
            return
        smallest, largest = map(float, torch.aminmax(known.detach()))
        bounded = self.normaliser.fitting_output == "sigmoid"
        margin = (MARGIN if bounded else ROUGH_MARGIN) * (high - low)
        if smallest < low - margin or largest > high + margin:
            raise InputError(
                f"The model works on values in [{low:g}, {high:g}], but the {what} has values from "
                f"{smallest:g} to {largest:g}. Convert it to the same units: 8-bit images, for "
                "example, by values / 255, and images in [-1, 1] by (values + 1) / 2."
            )

    def check_context_length(self, length: int, what: str = "context") -> None:
        """Raise `InputError` where a context of this length is too short."""
        if length < self.minimum_context:
            raise InputError(
                f"The model needs a {what} of at least {self.minimum_context} frame(s), got "
                f"{length}."
            )

    def _check_content_from(self, content_from: Frames | Any, batch: int) -> Frames:
        if not self.supports_content_swap:
            raise InputError(f"{self.title} has no content to swap.")
        other = self.check_context(content_from, "content_from")
        if len(other.values) not in (1, batch):
            raise InputError(
                f"content_from must hold 1 sequence or as many as the context, {batch}, got "
                f"{len(other.values)}."
            )
        return other

    def _check_actions(self, frames: Frames, actions: Any, times: Float[Tensor, " time"]) -> Frames:
        """Frames with the actions that a forecast to these times needs."""
        if not self.needs_actions:
            if actions is not None:
                raise InputError(f"This {self.title} takes no actions; leave them out.")
            return frames
        if actions is not None:
            frames = replace(frames, actions=as_series(actions, "actions"))
        steps = len(frames) - 1 + math.ceil(float(times[-1]))
        return replace(
            frames,
            actions=checked_series(
                frames.actions, "actions", (steps, self.spec.actions), like=frames.values
            ),
            agent_states=checked_series(
                frames.agent_states,
                "agent_states",
                (len(frames), self.spec.agent_states),
                like=frames.values,
            ),
        )

    def _check_solver(self, solver: SolverName | None, substeps: int | None) -> None:
        given = {"substeps": substeps, "solver": solver}
        for name in [name for name, value in given.items() if value is not None]:
            raise InputError(f"{self.title} takes no Euler steps; leave `{name}` out.")

    def _check_times(self, horizon: int | None, times: Times | None) -> Float[Tensor, " time"]:
        if times is None:
            horizon = self.spec.horizon if horizon is None else horizon
            if not 1 <= horizon <= LONGEST:
                raise InputError(
                    f"A forecast needs a horizon of at least 1 frame, and at most {LONGEST}, got "
                    f"{horizon}."
                )
            return torch.arange(1.0, horizon + 1.0)
        if horizon is not None:
            raise InputError("Give either `horizon` or `times` to forecast, not both.")
        wanted = as_times(times, torch.float32)
        if not self.takes_any_time:
            wanted = whole_leads(wanted, self.title)
        if not bool((wanted.diff() > 0).all()):
            raise InputError(f"Times must increase, got {shortened(wanted)}.")
        return wanted


def with_checked_weights(build: Callable[P, None]) -> Callable[P, None]:
    """Decorate a constructor: refuse empty or non-finite weights, lay out others for convolutions.

    Errors:
        InputError: a size is impossible, or a weight is empty or not finite.
    """

    @functools.wraps(build)
    def checked(*args: P.args, **kwargs: P.kwargs) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element tensors")
            try:
                build(*args, **kwargs)
            except StatecastError:
                raise
            except (ArithmeticError, ValueError) as error:  # from a layer of size 0
                raise InputError(f"These sizes do not make a model: {error}.") from error
        model: Any = args[0]
        if type(model).__init__ is not checked:  # the constructor of a base class
            return
        for name, weight in model.named_parameters():
            finite = weight.is_meta or bool(torch.isfinite(weight).all())
            if weight.numel() == 0 or not finite:
                raise InputError(
                    f"The weight {name} of this {type(model).__name__} is empty or not finite: "
                    "sizes must be at least 1, and gains finite and moderate."
                )
        if model.channels_last:
            lay_weights_channels_last(model)

    return checked


def collapse_warning(
    diagnosed: Mapping[str, float], latents: Iterable[tuple[str, str, str]]
) -> str | None:
    """The warning that a posterior equals its prior, so that no unit is active; or None.

    Args:
        diagnosed: diagnostics, with the number of active units as `NAME_active`.
        latents: the name of each latent in diagnostics and in messages, and the option that
            weights its divergence.
    """
    for name, title, weight in latents:
        if diagnosed.get(f"{name}_active") == 0:
            return (
                f"the posterior of {title} has collapsed; lower model.{weight} or "
                "model.observation_std."
            )
    return None


def known_part(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"] | None
) -> Float[Tensor, "*shape"]:
    """Values, with 0 and no gradient where the mask marks them unknown."""
    return values if mask is None else values.masked_fill(~mask, 0.0)


def known_mean(
    values: Float[Tensor, "*shape"], mask: Bool[Tensor, "*shape"] | None
) -> Float[Tensor, ""]:
    """Mean over known values; 0 if there are none."""
    if mask is None:
        return values.mean()
    return known_part(values, mask).sum() / mask.sum().clamp_min(1)


@contextmanager
def evaluation_mode(module: M) -> Iterator[M]:
    """Yield the module in evaluation mode, with its weights treated as constant.

    A module in training mode keeps that mode, so that several threads can forecast with it at
    once: a twin that shares its weights and buffers is yielded instead.
    """
    with constant_weights():
        yield evaluation_twin(module, {}) if module.training else module


def evaluation_twin(module: M, made: dict[nn.Module, Any]) -> M:
    """A copy in evaluation mode that shares weights and buffers; `made` holds finished copies."""
    if module not in made:
        twin = made[module] = copy.copy(module)
        twin.training = False
        twin._modules = {
            name: part if part is None else evaluation_twin(part, made)
            for name, part in module._modules.items()
        }
    found: M = made[module]
    return found
