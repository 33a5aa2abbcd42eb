"""ChangeForecaster: any model, applied to changes from a reference forecast."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, Frames, FrameSpec
from statecast.models.base import Forecaster, Losses, Update
from statecast.models.baselines import (
    Baseline,
    Climatology,
    MappedBatches,
    Persistence,
    along_leads,
    filled,
)
from statecast.models.damped_persistence import DampedPersistence
from statecast.models.error_patterns import ErrorPatterns, pattern_count
from statecast.models.error_sums import ErrorSums
from statecast.models.lagrangian_persistence import LagrangianPersistence
from statecast.nn.random import branch, normal_draws
from statecast.solvers.solvers import SolverName

ReferenceName = Literal[
    "none",
    "auto",
    "persistence",
    "damped_persistence",
    "recent_damped_persistence",
    "lagrangian_persistence",
    "damped_lagrangian_persistence",
    "climatology",
]
REFERENCES: dict[str, Callable[[FrameSpec], Baseline]] = {
    "persistence": Persistence,
    "damped_persistence": DampedPersistence,
    "recent_damped_persistence": lambda spec: DampedPersistence(spec, normal="context"),
    "lagrangian_persistence": LagrangianPersistence,
    "damped_lagrangian_persistence": lambda spec: DampedPersistence(spec, carried=True),
    "climatology": Climatology,
}
STATE_SCALE = 3.0  # divides the observed state, which is an input more than a target


class ChangeForecaster(Forecaster):
    r"""A reference forecast, plus the changes a model forecasts, plus the errors that remain.

    $$\hat x_h = r_h + w_h\, \hat d_h + s_h \sum_p \varepsilon_p P_{p,h}$$

    r is the reference. d is the change that the model forecasts, trained on x − r in standard
    deviations. w in [0, 1] is the weight of changes, for each channel and lead. s is the standard
    deviation of the remaining error, for each lead, channel and point. P are patterns of that
    error, so that a sample's errors are correlated as those of forecasts were. `fit_on_validation`
    estimates w, s and P on validation windows. Before that, w and s are 0, and the forecast is the
    reference itself.

    The model sees twice as many channels: the changes, and the last observed frame beside each of
    them. Changes of observed frames are relative to the reference at lead time 0.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        build: builds the model for frames of a given spec.
        reference: a name in `REFERENCES`.
        spread: whether samples differ by the remaining error.
    """

    weight: Tensor  # (lead, channel)
    noise_std: Tensor  # (lead, channel, *space)
    reference_std: Tensor  # (lead, channel, *space): noise_std where the weight is 0
    patterns: Tensor  # (pattern, lead, channel, *space); squares add up to 1 over patterns

    def __init__(
        self,
        spec: FrameSpec,
        build: Callable[[FrameSpec], Forecaster],
        *,
        reference: ReferenceName,
        spread: bool = True,
    ) -> None:
        super().__init__(spec, normalise="none")
        if reference not in REFERENCES:
            raise InputError(
                f"The reference must be one of {', '.join(REFERENCES)}, got {reference}."
            )
        self.reference = REFERENCES[reference](spec)
        observed = (f"{name}_observed" for name in spec.channels)
        self.model = build(replace(spec, channels=(*spec.channels, *observed), value_range=None))
        self.spread, self.takes_actions = spread, self.model.takes_actions
        self.takes_any_time = self.model.takes_any_time
        self.takes_gaps = self.model.takes_gaps and self.reference.takes_gaps
        shape = (spec.horizon, *spec.frame_shape)
        self.register_buffer("weight", torch.zeros(shape[:2]))
        self.register_buffer("noise_std", torch.zeros(shape))
        self.register_buffer("reference_std", torch.zeros(shape))
        count = pattern_count(shape) if spread else 0
        self.register_buffer("patterns", torch.full((count, *shape), max(count, 1) ** -0.5))

    @property
    def stochastic(self) -> bool:  # type: ignore[override]
        """Whether samples differ."""
        return self.spread or self.model.stochastic

    @property
    def title(self) -> str:
        return f"{self.model.title} on changes from {type(self.reference).__name__}"

    @property
    def minimum_context(self) -> int:
        return max(self.reference.minimum_context, self.model.minimum_context)

    def reference_alone(self) -> ChangeForecaster:
        """A copy without the model's changes, as before training; it keeps the error patterns."""
        alone = copy.deepcopy(self)
        alone.weight.zero_()
        alone.noise_std.copy_(alone.reference_std)
        return alone

    # Inputs of the model

    def changes(self, batch: Batch) -> Batch:
        """A batch as the model sees it."""
        target = batch.target
        change = replace(target, values=target.values - self.usual(batch.context, target.times))
        return Batch(
            context=self.observed_changes(batch.context),
            target=self.with_state(change, batch.context),
            latents=batch.latents,
        )

    def observed_changes(self, context: Frames) -> Frames:
        """Observed frames as the model sees them."""
        now = self.usual(context, torch.zeros(1))
        return self.with_state(replace(context, values=context.values - now), context)

    def with_state(self, change: Frames, context: Frames) -> Frames:
        """Changes, each with the last observed frame beside it."""
        seen = context.known.any(dim=1, keepdim=True)
        state = filled(context)[:, -1:].masked_fill(~seen, torch.nan)
        both = [change.values, state.expand_as(change.values)]
        mask = None
        if change.mask is not None or context.mask is not None:
            mask = torch.cat([change.known, seen.expand_as(change.values)], dim=2)
        channels = self.model.spec.channels
        return replace(change, values=torch.cat(both, dim=2), mask=mask, channels=channels)

    def usual(
        self, context: Frames, times: Float[Tensor, " time"]
    ) -> Float[Tensor, "batch time channel *space"]:
        """The reference at lead times; changes of observed frames are relative to time 0."""
        values = filled(context)
        with torch.autocast(values.device.type, enabled=False):  # training learns what it lacks
            return self.reference.extrapolate(values, times.to(values.device))

    def in_standard_deviations(
        self, frames: Frames
    ) -> Float[Tensor, "batch time channel *space"] | None:
        found = self.model.in_standard_deviations(self.observed_changes(frames))
        return None if found is None else found[:, :, len(self.spec.channels) :] * STATE_SCALE

    # Training

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Fit the reference on training windows, then the model on changes from it."""
        self.reference.fit_statistics(batches)
        self.model.fit_statistics(MappedBatches(batches, self.changes))
        if self.model.normaliser.method == "standard":
            self.model.normaliser.scale[len(self.spec.channels) :] *= STATE_SCALE

    @property
    def needs_statistics(self) -> bool:
        return True

    @property
    def updates(self) -> tuple[Update, ...]:
        return tuple(
            update._replace(parameters=tuple(f"model.{name}" for name in update.parameters))
            for update in self.model.updates
        )

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        return self.model.loss(self.changes(batch), step=step, generator=generator)

    def update_loss(
        self, name: str, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        changes = self.changes(batch)
        return self.model.update_loss(name, changes, step=step, generator=generator)

    def takes_update(self, name: str) -> bool:
        return self.model.takes_update(name)

    def diagnostics(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        return self.model.diagnostics(self.changes(batch), generator)

    def training_warning(self, diagnosed: Mapping[str, float]) -> str | None:
        return self.model.training_warning(diagnosed)

    @property
    def needs_validation_fit(self) -> bool:
        return True

    def fit_on_validation(
        self, windows: Iterable[tuple[Batch, torch.Generator]], *, samples: int, step: int
    ) -> None:
        leads = len(self.weight)
        found: list[ErrorSums] = []
        patterns = ErrorPatterns(tuple(self.noise_std.shape)) if self.spread else None
        for batch, generator in windows:
            target = batch.target.first(leads)
            error = target.values - self.usual(batch.context, target.times)
            drawn = error.new_zeros(1, *error.shape)
            if step:  # at step 0, the model has learned nothing
                count = samples if self.model.stochastic else 1
                drawn = self.model_changes(batch.context, target.times, generator, samples=count)
            found.append(ErrorSums.of(error, drawn, target, leads))
            if patterns is not None:
                patterns.add(error, drawn.mean(dim=0), target.known)
        sums = reduce(ErrorSums.__add__, found)
        self.weight.copy_(sums.weight())
        if patterns is not None:
            self.reference_std.copy_(sums.error(torch.zeros_like(self.weight)).sqrt())
            lacking = sums.error(self.weight) - sums.variance(self.weight)
            self.noise_std.copy_(lacking.clamp_min(0).sqrt())
            self.patterns.copy_(patterns.remaining(self.weight))

    # Forecasting

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
        apart = branch(generator)
        forecast = self.usual(context, times).unsqueeze(0)
        weight = along_leads(self.weight, times)
        if bool((weight > 0).any()):
            count = samples if self.model.stochastic else 1
            change = self.model_changes(
                context, times, generator, samples=count, substeps=substeps, solver=solver
            )
            forecast = forecast + weight.view(*weight.shape, *[1] * len(context.space)) * change
        forecast = forecast.expand(samples, *forecast.shape[1:])
        if self.spread:
            forecast = forecast + self.noise(forecast, times, apart)
        if self.spec.value_range is None:
            return forecast
        return forecast.clamp(*self.spec.value_range)

    def model_changes(
        self,
        context: Frames,
        times: Float[Tensor, " time"],
        generator: torch.Generator | None,
        *,
        samples: int,
        substeps: int | None = None,
        solver: SolverName | None = None,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """Changes that the model forecasts, in the units of the data."""
        drawn = self.model.predict(
            self.observed_changes(context),
            times,
            samples=samples,
            substeps=substeps,
            solver=solver,
            content_from=None,
            generator=generator,
        )
        return drawn[:, :, :, : len(self.spec.channels)]

    def noise(
        self,
        like: Float[Tensor, "sample batch time channel *space"],
        times: Float[Tensor, " time"],
        generator: torch.Generator,
    ) -> Float[Tensor, "sample batch time channel *space"]:
        """Draws of the remaining error, for all leads at once.

        A time between two leads has the pattern of the later one; a time beyond the last lead has
        the last pattern.
        """
        frames = times.ceil().long().clamp(1, len(self.noise_std)) - 1
        shape = (*like.shape[:2], len(self.patterns))
        (drawn,) = normal_draws(1, shape, like, generator)
        std = along_leads(self.noise_std, times, at_zero=0.0)
        return torch.tensordot(drawn, self.patterns[:, frames], dims=1) * std

    def _check_solver(self, solver: SolverName | None, substeps: int | None) -> None:
        self.model._check_solver(solver, substeps)
