"""Predictor: a trained model with the preparation of its observations."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from statecast.checks import typed
from statecast.errors import InputError
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.io.fields.preprocessing import Preparation, plain_preparation
from statecast.io.html import html_table
from statecast.io.video.options import ClipOptions
from statecast.models.argument_checks import Times
from statecast.models.base import Forecaster
from statecast.models.frame_grid import known_frames
from statecast.models.latent_space import require_latents
from statecast.models.latents import TIME_TOLERANCE, Latents
from statecast.solvers.solvers import SolverName

FAR, ABSURD = 10.0, 50.0  # standard deviations from training data: a warning, and a refusal


@dataclass(frozen=True)
class Predictor:
    """A trained model with the preparation of its data: from observations to forecasts.

    The model itself only takes `Frames`. A predictor prepares labelled fields and videos as in
    training, and reverses that preparation in the forecast.

    Attributes:
        model: the trained model.
        fields: preparation of labelled fields; None if the model was not trained on any.
        videos: cropping and sizing of videos; None if the model was not trained on any.
        axes: letters of the axes of arrays, if the training set them; see `in_order`.
    """

    model: Forecaster
    fields: Preparation | None = None
    videos: ClipOptions | None = None
    axes: str | None = None

    def __repr__(self) -> str:
        spec = self.spec
        count = sum(parameter.numel() for parameter in self.model.parameters())
        return (
            f"Predictor({self.model.title}, {count:,} parameters, context {spec.context}, "
            f"horizon {spec.horizon}, {', '.join(spec.channels):.80}, "
            f"space {'×'.join(map(str, spec.space))})"
        )

    def _repr_html_(self) -> str:
        """The model, its frames and their preparation, for notebooks."""
        spec, model = self.spec, self.model
        count = sum(parameter.numel() for parameter in model.parameters())
        known = {"fields": self.fields, "videos": self.videos, "arrays": self.axes}
        rows = {
            "model": f"{model.title}, {count:,} parameters",
            "forecasts": "samples" if model.stochastic else "one future",
            "frames": f"{spec.context} → {spec.horizon} in training",
            "channels": ", ".join(map(" / ".join, zip(spec.channels, spec.units, strict=True))),
            "space": "×".join(map(str, spec.space)),
            "trained on": next((kind for kind, how in known.items() if how), "frames"),
            "calibrated": "no" if model.calibration is None else "yes",
        }
        return html_table(repr(self), rows)

    @property
    def spec(self) -> FrameSpec:
        """Shape, channels and units of the frames that the model works on."""
        return self.model.spec

    @property
    def preparation(self) -> Preparation:
        """The preparation of labelled fields; the identity for a model of bare arrays."""
        return self.fields or plain_preparation(self.spec.channels, self.spec.space)

    def context(
        self,
        observed: Any,
        count: int | None = None,
        *,
        origin: str = "The context",
        reading: Mapping[str, Any] | None = None,
    ) -> Frames:
        """Observed frames as the model sees them.

        Args:
            observed: one of

                - `Frames`, or an array or tensor (batch, time, channel, *space), or (time, channel,
                  *space) for one sequence, in the units of the data. They are used as they are, on
                  the grid of the source or with the padding of training. A model of anomalies takes
                  `Frames` only.
                - an `xarray.DataArray` or `Dataset`, or a dict of data sets that form one series.
                  The last frames are prepared as in training, and missing values are unknown.
            count: number of last frames of labelled data; by default as in training.
            origin: name of the data in errors.
            reading: options of `FieldOptions` for labelled data that replace those of training,
                such as `{"uneven_times": "fill"}`.

        Errors:
            InputError: variables, dimensions, grid, units or time steps are not those of training.

        Warns of missing frames and uneven times where the model does not take them.
        """
        if not is_labelled(observed) and not isinstance(observed, dict):
            frames = self.with_added_points(self.frames_of(observed))
        else:
            frames = self._labelled_frames(observed, count, origin, reading)
        uneven = bool(((frames.times.diff() - 1).abs() > TIME_TOLERANCE).any())
        if not self.model.takes_gaps and (uneven or not bool(known_frames(frames).all())):
            warnings.warn(
                f"{origin} lacks frames. {self.model.title} cannot leave frames out: it sees a "
                "missing one as a frame of a constant value, and times as even. Fill the gaps, or "
                "train a model that takes them: kvae, td_vae, or srvp with model.gap_input: true.",
                stacklevel=2,
            )
        return frames

    def _labelled_frames(
        self, observed: Any, count: int | None, origin: str, reading: Mapping[str, Any] | None
    ) -> Frames:
        """The last frames of labelled data, prepared as in training; as `context`."""
        parts = list(observed.values()) if isinstance(observed, dict) else [observed]
        if not parts or not all(map(is_labelled, parts)):
            raise InputError(
                "A dict of observed frames holds xarray data sets, got "
                f"{', '.join({type(part).__name__ for part in parts}) or 'none'}. Pass an array as "
                "it is."
            )
        count = self.spec.context if count is None else count
        values, mask, labels = self.preparation.observed(
            observed, count, origin=origin, reading=reading
        )
        times = torch.arange(1.0 - values.shape[1], 1.0)
        return Frames(
            values=values, times=times, channels=self.spec.channels, mask=mask, coordinates=labels
        )

    def frames_of(self, observed: Any) -> Frames:
        """`Frames` unchanged, or an array or tensor as `Forecaster.frames_of` reads it.

        For a model of labelled fields, NaN means unknown in arrays too.

        Errors:
            InputError: a model of anomalies got an array, which does not say whether a climatology
                was subtracted.
        """
        if self.preparation.climatology is not None and not isinstance(observed, Frames):
            raise InputError(
                "The model takes anomalies, which need dates: pass an xarray.DataArray with its "
                "times (a NetCDF file to the command), or statecast.Frames of anomalies."
            )
        frames = self.model.frames_of(observed)
        if self.fields is None or frames.mask is not None:
            return frames
        unknown = frames.values.isnan()
        return replace(frames, mask=~unknown) if bool(unknown.any()) else frames

    def with_added_points(self, frames: Frames) -> Frames:
        """Frames on the grid of training, with its padding, which is unknown.

        Errors:
            InputError: training subtracted a climatology, so the frames need dates.
        """
        prepared = self.preparation
        if frames.space != tuple(prepared.space) or frames.space == self.spec.space:
            return frames
        if prepared.climatology is not None:
            raise InputError(
                "The model takes anomalies, which need dates: pass an xarray.DataArray with its "
                "times."
            )
        sizes = zip(prepared.space, prepared.padded, strict=True)
        added = [n for now, after in reversed(list(sizes)) for n in (0, after - now)]
        known = torch.nn.functional.pad(frames.known, added, value=False)
        values = torch.nn.functional.pad(frames.values, added, value=torch.nan)
        return replace(frames, values=values, mask=known)

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
            context: observed frames: `Frames`, an array or tensor (batch, time, channel, *space)
                in the units of the data, or labelled fields; as the method `context` takes them.
            horizon: number of frames to forecast; by default that of training, `spec.horizon`.
            times: instead of `horizon`, the increasing lead times wanted, in frame intervals
                after the last observed frame; not necessarily whole numbers.
            samples: number of futures to draw.
            substeps: steps of the transition per frame while forecasting; by default the
                model's own.
            solver: method that integrates the transition while forecasting, such as `rk4` or the
                adaptive `dopri5`; by default the model's own.
            content_from: another context, whose content is used with the dynamics of `context`.
            actions: actions of the agent, (batch, step, action) or of one sequence (step, action),
                from the first context frame on; see `Frames`.
            generator: source of the random draws, such as `torch.Generator().manual_seed(0)`; same
                seed, same forecast.

        Returns:
            The forecast. For a model of labelled fields it has the labels of its context, and is
            NaN at points without any observed value.

        A warning names values more than 10 standard deviations from the training data, and a
        labelled context with fewer frames than in training.

        Errors:
            InputError: values lie more than 50 standard deviations from the training data.
            Those of `Forecaster.forecast` and `context`.
        """
        bare = not is_labelled(context) and not isinstance(context, dict)
        given = self.frames_of(context) if bare else context
        frames = self.context(given)
        forecast = self.model.forecast(
            frames,
            horizon,
            times=times,
            samples=samples,
            substeps=substeps,
            solver=solver,
            content_from=None if content_from is None else self.context(content_from),
            actions=actions,
            generator=generator,
        )
        if not isinstance(context, Frames):
            doubts = far_from_training(self.model, frames)
            doubts += [] if bare else fewer_than_trained(self.model, frames)
            for doubt in doubts:
                warnings.warn(doubt, stacklevel=3)
        return self.restored(forecast, given if bare else frames)

    def restored(self, forecast: Forecast, context: Frames) -> Forecast:
        """A forecast on the grid of its context, with its labels if it has any."""
        labels = context.coordinates
        if labels is None:
            samples = forecast.samples
            if context.space != samples.shape[4:]:
                samples = samples[self.preparation.inner]
            if self.fields is not None and context.mask is not None:
                seen = context.known.any(dim=1, keepdim=True).to(samples.device)
                samples = samples.masked_fill(~seen, torch.nan)
            return replace(forecast, samples=samples)
        count = len(forecast.samples)
        different = forecast.samples if self.model.stochastic else forecast.samples[:1]
        fields = self.preparation.restore(different, labels, forecast.times)
        return replace(
            forecast, samples=fields.expand(count, *fields.shape[1:]), coordinates=labels
        )

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
        """The model's path through its latent space; see `StateSpaceForecaster.infer_latents`.

        Errors:
            InputError: the model has no latent space, or the context does not fit.
        """
        return require_latents(self.model).infer_latents(
            self.context(context),
            samples=samples,
            substeps=substeps,
            solver=solver,
            generator=generator,
        )


def far_from_training(model: Forecaster, frames: Frames) -> list[str]:
    """A warning for each channel whose context lies far from the training data.

    Errors:
        InputError: a channel lies so far from them that its unit must differ.
    """
    scaled = model.in_standard_deviations(frames.to(model.normaliser.location.device))
    if scaled is None:
        return []
    found = []
    for index, name in enumerate(frames.channels):
        middle = float(scaled[:, :, index].nanmedian())
        lies = (
            f"{name} lies {abs(middle):.0f} standard deviations "
            f"{'above' if middle > 0 else 'below'} the mean of training"
        )
        unit = model.spec.units[index]
        known = "" if unit in ("", "1") else f", in {unit!r}"
        if abs(middle) > ABSURD:
            raise InputError(f"{lies}{known}. Convert it to the unit of training first.")
        if abs(middle) > FAR:
            found.append(f"{lies}{known}. Check its unit.")
    return found


def fewer_than_trained(model: Forecaster, frames: Frames) -> list[str]:
    """A warning if a context has fewer frames than those of training."""
    count, usual = len(frames), model.spec.context
    if count >= usual:
        return []
    return [f"The context has {count} of the {usual} frames that the model was trained on."]


def is_labelled(values: Any) -> bool:
    """Whether values are an `xarray.DataArray` or `Dataset`; never imports xarray."""
    xarray = sys.modules.get("xarray")
    return xarray is not None and isinstance(values, xarray.DataArray | xarray.Dataset)
