"""Time and memory of a forecast or of a training step at one size."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from measuring.clock import Clock
from measuring.footprint import added_by
from measuring.trainer import trainer_of
from speed_rows.base import SEED, Settings, model_of

from statecast.data.base import seeded_generator, window_generators
from statecast.frames import Batch
from statecast.models.base import Forecaster
from statecast.training.precision import autocast

Work = Literal["forecast", "train"]
CONSTANT = {"batch": 1, "horizon": 10, "samples": 1, "side": 64}  # of what does not grow
CALLS = 3


class Point(NamedTuple):
    """One measurement."""

    work: Work
    growing: str
    size: int
    seconds: float
    held: int  # bytes at most, beside weights, data and the frames returned


def measured(recipe: str, settings: Settings, *, work: Work, growing: str, size: int) -> Point:
    """Time and memory of one work whose size has grown.

    Memory is measured at the first calls, so that nothing is left over from others.
    """
    sizes = CONSTANT | {growing: size}
    side, horizon = sizes["side"], sizes["horizon"]
    model = model_of(recipe, settings, space=(side, side), horizon=horizon)
    shape = (sizes["batch"], model.spec.length, *model.spec.frame_shape)
    values = torch.rand(shape, generator=seeded_generator(1))
    batch = Batch.of(values, model.spec.context, channels=model.spec.channels)
    returned = 0
    if work == "train":
        call = training_step(model, batch, settings)
    else:
        model.eval()
        call = forecast(model, batch, settings, samples=sizes["samples"])
        returned = sizes["samples"] * batch.target.values.numel() * values.element_size()
    held = added_by(call, settings.device, calls=2) - returned
    clock = Clock(settings.device)
    seconds = statistics.median(clock.seconds(call) for _ in range(CALLS))
    return Point(work, growing, size, seconds, held)


def training_step(model: Forecaster, batch: Batch, settings: Settings) -> Callable[[], Any]:
    """A step of our trainer."""
    trainer = trainer_of(
        model, learning_rate=1e-4, seed=SEED, precision=settings.precision,
        device=str(settings.device),
    )  # fmt: skip
    return lambda: trainer.training_step(batch)


def forecast(
    model: Forecaster, batch: Batch, settings: Settings, *, samples: int
) -> Callable[[], Any]:
    """A forecast."""

    def call() -> Any:
        streams = window_generators(torch.arange(len(batch)), SEED)
        with autocast(settings.precision, settings.device):
            return model.forecast(
                batch.context, len(batch.target), samples=samples, generator=streams
            )

    return call
