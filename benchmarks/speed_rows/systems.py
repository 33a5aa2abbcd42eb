"""Rows of the systems of `plain.systems`: training steps and forecasts of their small recipes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import torch
from measuring.trainer import trainer_of
from plain.descent import Descent, own_copy
from plain.given import Given
from plain.systems import SYSTEMS
from torch import Tensor

from speed_rows.base import SEED, Case, Settings, model_of, relative
from speed_rows.draws import Replayed
from speed_rows.forecasting import many, sizes_of
from statecast.data.base import seeded_generator, window_generators
from statecast.frames import Batch
from statecast.models import MODELS
from statecast.models.base import Forecaster
from statecast.models.build import own_options
from statecast.runs.recipes.resolve import Tables, read_recipe
from statecast.training.loop import NOISE, Trainer
from statecast.training.options import TrainingOptions


def options_of(tables: Tables) -> SimpleNamespace:
    """Every option of the model of a recipe, defaults included."""
    signature = inspect.signature(MODELS[tables["model"]["name"]].__init__)
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    return SimpleNamespace(**defaults | own_options(tables["model"]))


class Sides(NamedTuple):
    """A trainer in the middle of a training, a batch, and the plain twin of each update."""

    trainer: Trainer
    batch: Batch
    state: dict[str, Tensor]  # weights and statistics of the plain side
    updates: list[Callable[[], float]]

    def ours(self) -> float:
        """Our step; the totals of its updates before it."""
        values = self.trainer.training_step(self.batch)
        return sum(value for name, value in values.items() if name.split("_")[-1] == "total")

    def plain(self) -> float:
        """The plain one."""
        return sum(update() for update in self.updates)


def training(recipe: str, settings: Settings) -> Case:
    """A step in the middle of the training of a recipe: every update of it."""
    sides = sides_of(recipe, settings)
    return Case(
        ours=sides.ours,
        plain=sides.plain,
        sizes=f"batch {len(sides.batch)}, {sides.batch.values.shape[1]} frames",
        difference=relative,
        precision=settings.precision,
    )


def sides_of(recipe: str, settings: Settings) -> Sides:
    """Both sides, with the same weights, random frames and random numbers."""
    tables = read_recipe(recipe)
    size = settings.batch or tables["train"]["batch_size"]
    model = model_of(recipe, settings)
    spec = model.spec
    values = torch.rand(size, spec.length, *spec.frame_shape, generator=seeded_generator(1))
    state = own_copy(model.state_dict())
    trainer = trainer_in_the_middle(model, tables, settings)
    frames = values.to(settings.device)
    updates = [
        plain_update(number, trainer, state, tables, frames)
        for number, updater in enumerate(trainer.updaters)
        if any(weight.requires_grad for weight in updater.weights)
    ]
    batch = Batch.of(values, spec.context, channels=spec.channels)
    return Sides(trainer, batch, state, updates)


def trainer_in_the_middle(model: Forecaster, tables: Tables, settings: Settings) -> Trainer:
    """A trainer half way, where schedules and phases are those that most steps see."""
    known = TrainingOptions.of(tables["train"])
    names = (
        "steps", "phases", "learning_rate", "adam_betas", "gradient_clip", "gradient_clip_each",
    )  # fmt: skip
    trainer = trainer_of(
        model, seed=SEED, precision=settings.precision, device=str(settings.device),
        **{name: getattr(known, name) for name in names},
    )  # fmt: skip
    trainer.step = known.steps // 2
    trainer.enter_phase()
    return trainer


def plain_update(
    number: int, trainer: Trainer, state: dict[str, Tensor], tables: Tables, frames: Tensor
) -> Callable[[], float]:
    """The plain twin of one of the updates of a trainer, whose weights `state` holds."""
    updater, options = trainer.updaters[number], trainer.options
    named = dict(trainer.model.named_parameters())
    trained = [
        name
        for name, weight in named.items()
        if name.startswith(updater.update.parameters) and weight.requires_grad
    ]
    descent = Descent(
        state,
        trained,
        rate=options.learning_rate * updater.update.learning_rate_scale,
        betas=updater.update.adam_betas or options.adam_betas,
        clip=options.gradient_clip or math.inf,
        clip_each=options.gradient_clip_each or math.inf,
    )
    stream = (updater.stream,) if updater.stream else ()
    generator = seeded_generator(SEED, NOISE, trainer.step, *stream)
    draws = Replayed(generator, 1, len(frames), frames.device)
    loss = SYSTEMS[tables["model"]["name"]].losses[updater.update.name]
    known, context, step = options_of(tables), trainer.model.spec.context, trainer.step

    def update() -> float:
        given = Given(known, context, step, draws.again())
        return descent.step(lambda weights: loss(weights, frames, given))

    return update


def forecast(recipe: str, settings: Settings) -> Case:
    """Futures of a few windows."""
    tables, setting = read_recipe(recipe), many(recipe, settings)
    model, windows = setting.model, len(setting.batch)
    weights = own_copy(model.state_dict())
    context = setting.batch.context.values.to(settings.device)
    draws = Replayed(
        window_generators(torch.arange(windows), SEED), setting.samples, windows, settings.device
    )
    known, make = options_of(tables), SYSTEMS[tables["model"]["name"]].forecast

    def plain() -> Tensor:
        given = Given(known, context.shape[1], 0, draws.again(), setting.samples)
        with torch.no_grad():
            made = make(weights, context, setting.horizon, given)
        return made.unflatten(0, (windows, -1)).transpose(0, 1)

    return Case(
        ours=lambda: setting.forecast(settings.precision),
        plain=plain,
        sizes=sizes_of(setting),
        difference=lambda ours, plain: float((ours.samples - plain).abs().max()),
        precision=settings.precision,
    )
