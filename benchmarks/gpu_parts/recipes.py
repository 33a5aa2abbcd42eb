"""Which recipes a part of `gpu.py` measures, and models of them without their data."""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from measuring.clock import Clock
from measuring.trainer import trainer_of
from speed_rows.base import POINTS, SEED, Settings

from statecast.data.base import seeded_generator
from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.base import Forecaster
from statecast.models.build import model_of
from statecast.runs.recipes import recipe_names
from statecast.runs.recipes.resolve import read_recipe
from statecast.training.loop import Trainer
from statecast.training.options import TrainingOptions

RGB = ("red", "green", "blue")
CHANNELS = {"human36m": RGB, "bair": RGB, "chairs": RGB, "taxibj": ("inflow", "outflow")}
SIDES = {"taxibj": 32, "bouncing_ball": 32, "rolling_digits": 28}  # others: 64
OWN = ("digits", "fields", "fields-srvp", "ocean", "videos")  # for one's own data, or a start
OWN_DATA = ("forks", "oscillators")
TAKEN = (
    "steps", "batch_size", "phases", "learning_rate", "adam_betas", "gradient_clip",
    "gradient_clip_each", "adam_epsilon_inside_root",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """The measurements of a run: recipes, device and deadline.

    Attributes:
        settings: device, precision, and sizes where they are not those of the recipes.
        clock: of the device.
        peak: operations per second of the fastest matrix product.
        quick: whether one turn is enough.
        chosen: names of recipes that were asked for.
        end: reading of `time.perf_counter` at which time is up.
    """

    settings: Settings
    clock: Clock
    peak: float
    quick: bool
    chosen: list[str]
    end: float

    def each(self, names: list[str], left_out: list[str]) -> Iterator[str]:
        """The recipes that were asked for, or these; those beyond the end are left out."""
        for name in self.chosen or names:
            if time.perf_counter() > self.end:
                left_out.append(name)
            else:
                yield name


def matching(patterns: list[str]) -> list[str]:
    """Names of recipes.

    Errors:
        InputError: a pattern fits none.
    """
    known = list(recipe_names())
    for pattern in patterns:
        if not fnmatch.filter(known, pattern):
            raise InputError(f"There is no recipe {pattern!r}.")
    return [name for name in known if any(fnmatch.fnmatch(name, each) for each in patterns)]


def published() -> list[str]:
    """Recipes with the settings of a publication."""
    found = []
    for name in recipe_names():
        tables = read_recipe(name)
        trained = tables["train"].get("steps") != 0 and tables["model"]["name"] != "dmd"
        own = name in OWN or tables["data"]["name"] in OWN_DATA
        if trained and not own and not name.endswith(("-small", "-fast")):
            found.append(name)
    return found


def small() -> list[str]:
    """A small recipe of each system, on digits."""
    return [name for name in recipe_names() if name.endswith("-digits-small")]


def spec_of(recipe: str) -> FrameSpec:
    """Frames like those of the data of a recipe, in [0, 1]."""
    data = read_recipe(recipe)["data"]
    side = data.get("frame_size", SIDES.get(data["name"], 64))
    return FrameSpec(
        channels=CHANNELS.get(data["name"], ("intensity",)),
        space=POINTS.get(recipe, (side, side)),
        context=data["context"],
        horizon=data["horizon"],
        value_range=(0.0, 1.0),
    )


def new_model(recipe: str) -> Forecaster:
    """The model of a recipe with new weights, the same ones each time."""
    shared = {"reference": "none", "spread": True}
    table = shared | read_recipe(recipe)["model"]
    return model_of(table, spec_of(recipe), generator=seeded_generator(0))


def random_batch(spec: FrameSpec, size: int) -> Batch:
    """Windows of random frames."""
    shape = (size, spec.length, *spec.frame_shape)
    values = torch.rand(shape, generator=seeded_generator(1))
    return Batch.of(values, spec.context, channels=spec.channels)


def trainer_for(
    recipe: str, settings: Settings, *, batch: int | None = None, compiled: bool = False
) -> tuple[Trainer, Batch]:
    """A trainer half way through a recipe, and a batch of its size."""
    known = TrainingOptions.of(read_recipe(recipe)["train"])
    size = batch or settings.batch or known.batch_size
    known = replace(known, batch_size=size)
    model = new_model(recipe)
    trainer = trainer_of(
        model, seed=SEED, precision=settings.precision, device=str(settings.device),
        compile=compiled, **{name: getattr(known, name) for name in TAKEN},
    )  # fmt: skip
    trainer.step = known.steps // 2
    return trainer, random_batch(model.spec, size)


def fitting(
    recipe: str, settings: Settings, work: Callable[[Trainer, Batch], None]
) -> tuple[Trainer, Batch]:
    """A trainer and the largest batch, halved as often as needed, whose `work` fits in memory."""
    size: int | None = None
    while True:
        trainer, batch = trainer_for(recipe, settings, batch=size)
        try:
            work(trainer, batch)
        except torch.OutOfMemoryError:
            size = len(batch) // 2
            if not size:
                raise
        else:
            return trainer, batch
