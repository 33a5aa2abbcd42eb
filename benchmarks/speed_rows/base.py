"""The parts of a row of the table: two sides that do the same, and their inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from statecast.data.base import seeded_generator
from statecast.frames import FrameSpec
from statecast.models import MODELS
from statecast.models.base import Forecaster
from statecast.models.build import own_options
from statecast.runs.recipes.resolve import Tables, read_recipe

SEED = 1
POINTS = {"separable-wave-100": (100,)}  # space of recipes of points


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How large, and where.

    Attributes:
        device: where both sides run.
        precision: of our matrix products, `float32` or `bf16`; plain code is float32.
        batch: windows of a training step; by default as published on a GPU, fewer elsewhere.
        samples: futures of each window; by default 100 on a GPU, fewer elsewhere.
        frames: horizon of forecasts; by default the published one on a GPU, fewer elsewhere.
        windows: windows that are forecast at once.
        off: fast paths that are switched off.
        sizes: options of models in the place of the recipe's.
    """

    device: torch.device
    precision: str = "float32"
    batch: int | None = None
    samples: int | None = None
    frames: int | None = None
    windows: int | None = None
    off: tuple[str, ...] = ()
    sizes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def on_gpu(self) -> bool:
        """Whether sizes are those of a GPU, unless given."""
        return self.device.type == "cuda"

    def arguments(self) -> list[str]:
        """The same settings on the command line of `speed.py`, but for `sizes`."""
        given = {name: getattr(self, name) for name in ("batch", "samples", "frames", "windows")}
        words = ["--device", str(self.device), "--precision", self.precision]
        for name, value in given.items():
            words += [] if value is None else [f"--{name}", str(value)]
        return [
            *words,
            *(["--fast-paths", *(f"{name}=off" for name in self.off)] if self.off else []),
        ]


class Case(NamedTuple):
    """Two sides that compute the same."""

    ours: Callable[[], Any]
    plain: Callable[[], Any]
    sizes: str  # for people
    difference: Callable[[Any, Any], float] | None = None  # between results of the first calls
    moved: float | None = None  # bytes that a call must move, where that is its limit
    precision: str = "float32"  # of our products


Build = Callable[[Settings], Case]


def spec_of(
    recipe: str, tables: Tables, *, space: tuple[int, ...] | None = None, horizon: int | None = None
) -> FrameSpec:
    """Frames of the data of a recipe, in [0, 1]; of another space and horizon where given."""
    data = tables["data"]
    side = data.get("frame_size", 64)
    return FrameSpec(
        channels=("intensity",),
        space=space or POINTS.get(recipe, (side, side)),
        context=data["context"],
        horizon=horizon or data["horizon"],
        value_range=(0.0, 1.0),
    )


def model_of(
    recipe: str,
    settings: Settings,
    *,
    space: tuple[int, ...] | None = None,
    horizon: int | None = None,
) -> Forecaster:
    """The model of a recipe with new weights, on the device."""
    tables = read_recipe(recipe)
    options = own_options(tables["model"])
    spec = spec_of(recipe, tables, space=space, horizon=horizon)
    made = MODELS[tables["model"]["name"]](
        spec, **options | settings.sizes, generator=seeded_generator(0)
    )
    return made.to(settings.device)


def relative(ours: float, plain: float) -> float:
    """Difference of two numbers in shares of the second."""
    return abs(ours - plain) / abs(plain)
