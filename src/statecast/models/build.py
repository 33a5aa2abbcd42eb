"""Build a model from its name and options, for frames or for changes from a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models import BASELINES, MODELS
from statecast.models.base import Forecaster
from statecast.models.change import ChangeForecaster, ReferenceName

SHARED = ("name", "reference", "spread")  # options of the table `model` that every model has


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
        name: a name in `MODELS`.
        spec: shape, channels and units of the frames.
        options: the model's own options.
        reference: forecast that the model's changes are added to, see `ChangeForecaster`:
            `persistence`; `damped_persistence`, where the anomaly from the climatology decays;
            `recent_damped_persistence`, where the anomaly from the mean of the context decays,
            for climates that drift; `lagrangian_persistence`, the last map carried on by the
            motion of the context; `damped_lagrangian_persistence`, where the carried anomaly
            decays; `climatology`; or `none`, for a model of frames. Recipes also accept `auto`:
            the one that is best on validation windows.
        spread: whether samples of a model with a reference also differ by the errors that remain
            on validation windows.
        generator: source of the initial weights.

    Errors:
        InputError: the reference is `auto`, or the model is a baseline.
    """

    def build(frames: FrameSpec) -> Forecaster:
        return MODELS[name](frames, **options, generator=generator)

    if reference == "none":
        return build(spec)
    if name in BASELINES:
        raise InputError(
            f"{name} is a baseline, which has no reference: leave model.reference: none."
        )
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
