"""A model by its name and options, of frames or of changes from a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models import BASELINES, MODELS
from statecast.models.base import Forecaster
from statecast.models.change import ChangeForecaster, ReferenceName

SHARED = ("name", "reference", "spread")  # options of the table `model` that all models have


def build_model(
    name: str,
    spec: FrameSpec,
    options: Mapping[str, Any],
    *,
    reference: ReferenceName = "none",
    spread: bool = True,
    generator: torch.Generator | None = None,
) -> Forecaster:
    """A model with initial weights.

    Args:
        name: in `MODELS`.
        spec: of the frames.
        options: of the model's own.
        reference: forecast that the model's changes are added to, see `ChangeForecaster`:
            `persistence`; `damped_persistence`, whose anomaly from the climatology decays, and
            `recent_damped_persistence`, whose anomaly from the mean of the context does, for
            climates that move; `climatology`; or `none`, for a model of frames. `auto` is for
            recipes: the one that is best on validation windows.
        spread: whether samples of a model with a reference differ by the errors that validation
            windows show besides.
        generator: source of the initial weights.

    Errors:
        InputError: a reference that is not resolved, or of a baseline.
    """
    if reference == "none":
        return MODELS[name](spec, **options, generator=generator)
    if name in BASELINES:
        raise InputError(f"{name} is a baseline, and adds nothing to a reference: leave it none.")

    def build(changed: FrameSpec) -> Forecaster:
        return MODELS[name](changed, **options, generator=generator)

    return ChangeForecaster(spec, build, reference=reference, spread=spread)


def model_of(
    table: Mapping[str, Any], spec: FrameSpec, *, generator: torch.Generator | None = None
) -> Forecaster:
    """The model that the table `model` of a complete recipe describes; see `build_model`."""
    return build_model(
        table["name"],
        spec,
        own_options(table),
        reference=table["reference"],
        spread=table["spread"],
        generator=generator,
    )


def own_options(table: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the model itself in the table `model` of a recipe."""
    return {key: value for key, value in table.items() if key not in SHARED}
