"""Writes forecasts to files: one writer per ending, in parts if the format allows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch

from statecast.data.base import seeded_generator
from statecast.errors import FileError, InputError
from statecast.forecasting.carried_state import CarriedState
from statecast.forecasting.predictor import Predictor
from statecast.frames import Forecast, Frames
from statecast.io.fields.forecast_layout import history_line
from statecast.io.fields.time_steps import continued
from statecast.io.fields.writers import SINKS, write_labelled
from statecast.models.latents import fingerprint_of
from statecast.nn.random import LaterSamples
from statecast.solvers.solvers import SolverName

Picture = Literal["mosaic", "anomaly", "mean", "sample", "motion", "objects"]
STILL = ("motion", "objects")  # pictures that cannot be animated
MOVING = (".gif", ".webp", ".mp4")
USUAL_RATE, MAP_RATE = 6.0, 3.0  # frames per second, if the source has no rate
GIF_SAMPLES, VIDEO_SAMPLES = 3, 8  # samples beside the mean, at most; a .gif grows fast


@dataclass(frozen=True)
class ForecastRequest:
    """A forecast to make: all samples at once, or in parts.

    Attributes:
        predictor: the model, with the preparation of its data.
        context: the observed frames.
        horizon: number of frames to forecast; None for that of training.
        samples: futures to draw.
        substeps: solver steps per frame; None for the model's own number.
        solver: solver of the transition's differential equation; None for the model's own.
        seed: seed of the samples.
        quantiles: probabilities of quantiles to write to `.nc` and `.zarr`.
        picture: content of pictures.
        rate: frames per second of the source; None if it has no rate.
        times: times to forecast instead of a horizon.
        carried: state to continue from; None starts from the context.
        target: the frames that followed; None if unknown.
        origin: names of the files that hold the observed frames.
        part_bytes: approximate memory of the samples drawn at once.
    """

    predictor: Predictor
    context: Frames
    horizon: int | None
    samples: int
    substeps: int | None
    solver: SolverName | None
    seed: int
    quantiles: tuple[float, ...] = ()
    picture: Picture = "mosaic"
    rate: float | None = None
    times: tuple[float, ...] | None = None
    carried: CarriedState | None = None
    target: Frames | None = None
    origin: str = ""
    part_bytes: int = 256 << 20

    @property
    def at_once(self) -> int:
        """Samples per part; all of them if a calibration needs their mean or a state holds them."""
        if self.predictor.model.calibration is not None or self.carried is not None:
            return max(1, self.samples)
        horizon = self.predictor.spec.horizon if self.horizon is None else self.horizon
        horizon = horizon if self.times is None else len(self.times)
        shape = (len(self.context.values), horizon, *self.predictor.spec.frame_shape)
        return max(1, self.part_bytes // max(1, 4 * math.prod(shape)))

    def part(self, start: int) -> Forecast:
        """Samples from number `start` on, on the CPU."""
        if self.carried is not None:
            return self.carried.forecast(self.context, self.horizon, self.times).to("cpu")
        return self.predictor.forecast(
            self.context,
            self.horizon,
            times=self.times,
            samples=min(self.at_once, self.samples - start),
            substeps=self.substeps,
            solver=self.solver,
            generator=LaterSamples(seeded_generator(self.seed), start),
        ).to("cpu")

    @cached_property
    def first(self) -> Forecast:
        """The first part, drawn once."""
        return self.part(0)

    def parts(self) -> Iterator[Forecast]:
        """All parts in order."""
        yield self.first
        for start in range(len(self.first.samples), self.samples, self.at_once):
            yield self.part(start)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all samples, (sample, batch, time, channel, *space)."""
        return (max(self.samples, 1), *self.first.samples.shape[1:])

    @property
    def truth(self) -> Frames | None:
        """The frames that followed at the forecast's times; None unless all are known."""
        times = self.first.times
        if self.target is None or not torch.equal(self.target.times[: len(times)], times):
            return None
        return self.target.first(len(times))

    def whole(self) -> Forecast:
        """All samples at once."""
        samples = torch.cat([part.samples for part in self.parts()])
        return replace(self.first, samples=samples)


# Writes a forecast to a path.
Writer = Callable[[ForecastRequest, Path], Any]


def write_npz_forecast(request: ForecastRequest, path: Path) -> Path:
    """Write samples, times and names of channels."""
    return request.whole().save(path)


def write_labelled_forecast(request: ForecastRequest, path: Path) -> Path:
    """Write samples, their mean, spread and quantiles with coordinates, in parts."""
    several = request.samples > 1
    layout = request.first.layout(
        statistics=several, quantiles=request.quantiles if several else ()
    )
    layout = replace(
        layout,
        shape=request.shape,
        model=f"{request.predictor.model.title} {fingerprint_of(request.predictor.model)}",
        history=history(request),
    )
    return write_labelled(path, layout, (part.samples.numpy() for part in request.parts()))


def history(request: ForecastRequest) -> str:
    """The attribute `history` of a forecast."""
    return history_line(
        f"forecast of {request.origin or 'frames'}",
        samples=request.samples,
        seed=request.seed,
        substeps=request.substeps,
        solver=request.solver,
        calibrated=request.predictor.model.calibration is not None or None,
    )


def write_animation(request: ForecastRequest, path: Path) -> Path:
    """Animate mean and samples side by side, or only the mean or one sample."""
    from statecast.plots.animations import animate_forecast, animate_frames

    if request.picture in STILL:
        raise InputError(
            f"{request.picture} can only be drawn as .png, .pdf or .svg, got {path.name!r}."
        )
    usual = USUAL_RATE if request.context.coordinates is None else MAP_RATE
    rate = request.rate or usual
    if request.picture in ("mean", "sample"):
        sample = 0 if request.picture == "sample" else None
        return animate_frames(request.whole(), path, sample=sample, frames_per_second=rate)
    count = VIDEO_SAMPLES if path.suffix.lower() == ".mp4" else GIF_SAMPLES
    context, forecast, truth = drawn(request)
    return animate_forecast(
        context, forecast, path, target=truth, samples=count,
        centred=request.picture == "anomaly", frames_per_second=rate,
    )  # fmt: skip


def write_picture(request: ForecastRequest, path: Path) -> Path:
    """Draw mean and samples side by side, or the motion or objects that the model infers."""
    from statecast.plots.forecasts import plot_forecast

    if request.picture in STILL:
        return write_parts(request, path)
    context, forecast, truth = drawn(request)
    plot_forecast(context, forecast, path, target=truth, centred=request.picture == "anomaly")
    return path


def write_parts(request: ForecastRequest, path: Path) -> Path:
    """Draw the estimated motion as arrows over the forecast, or the objects of a model.

    Errors:
        InputError: the model estimates no motion, or has no objects.
    """
    from statecast.plots.decomposition import Decomposes, plot_decomposition
    from statecast.plots.motion import EstimatesMotion, plot_motion

    model = request.predictor.model
    if request.picture == "motion" and isinstance(model, EstimatesMotion):
        motion = model.motion(request.context, request.horizon)
        plot_motion(shown(request.context, request), request.whole(), motion, path)
    elif request.picture == "objects" and isinstance(model, Decomposes):
        parts = model.decompose(request.context, request.horizon)
        values = model.inputs(model.check_context(request.context))
        plot_decomposition(replace(request.context, values=values, mask=None), parts, path)
    else:
        raise InputError(f"{model.title} has no {request.picture} to draw. Set picture: mosaic.")
    return path


def drawn(request: ForecastRequest) -> tuple[Frames, Forecast, Frames | None]:
    """Context and forecast as pictures show them, values or anomalies, and the truth of values.

    Errors:
        InputError: anomalies of frames that are not labelled, or without a climatology.
    """
    context = shown(request.context, request)
    if request.picture != "anomaly":
        return context, request.whole(), request.truth
    labels, climatology = context.coordinates, request.predictor.preparation.climatology
    if labels is None or climatology is None:
        raise InputError(
            "Anomalies need labelled fields, and a climatology that was fitted in training; there "
            "is none here. Set picture: mosaic."
        )
    forecast = request.whole()
    names = tuple(f"{name} anomaly" for name in context.channels)
    attributes = [labels.channels.get(name, {}) for name in context.channels]
    renamed = replace(labels, channels=dict(zip(names, attributes, strict=True)))
    later = continued(labels.times[-1], labels.step, forecast.times.tolist())
    before, after = (torch.from_numpy(climatology.at(times)) for times in (labels.times, later))
    seen, came = context.values - before, forecast.samples - after
    return (
        replace(context, values=seen, channels=names, coordinates=renamed),
        replace(forecast, samples=came, channels=names, coordinates=renamed),
        None,
    )


def shown(context: Frames, request: ForecastRequest) -> Frames:
    """Context frames on the grid of their forecast: labelled fields without padding."""
    labels = context.coordinates
    if labels is None:
        return context
    values = request.predictor.preparation.restored_context(context.values, labels)
    return replace(context, values=values, mask=~values.isnan())


OUTPUTS: dict[str, Writer] = {
    ".npz": write_npz_forecast,
    **dict.fromkeys(MOVING, write_animation),
    **dict.fromkeys((".png", ".pdf", ".svg"), write_picture),
    **dict.fromkeys(SINKS, write_labelled_forecast),
}


def writer_of(path: Path) -> Writer:
    """The writer for the ending of a path.

    Errors:
        FileError: the ending is unknown, or the folder does not exist.
    """
    if path.suffix not in OUTPUTS:
        raise FileError(f"A forecast is written as {', '.join(OUTPUTS)}, got {path.name!r}.")
    if not path.parent.is_dir():
        raise FileError(f"The folder {path.parent} does not exist; create it first.")
    return OUTPUTS[path.suffix]
