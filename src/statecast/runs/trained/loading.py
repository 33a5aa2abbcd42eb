"""Trained models that come with the package: a recipe, weights, scores and an example each."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from statecast.checks import typed
from statecast.distributed import is_main
from statecast.errors import InputError
from statecast.evaluation.evaluation import Evaluation
from statecast.forecasting.predictor import Predictor
from statecast.frames import Batch, Frames
from statecast.runs.run import read_run, score_model
from statecast.runs.trained import trained_names
from statecast.training.precision import device_of

WEIGHTS_NAME = "weights.safetensors"
CONTEXT_NAME, TARGET_NAME = "context.npy", "target.npy"


def is_trained(name: str | Path) -> bool:
    """Whether this names a model that comes with the package, and no folder of the user's."""
    return str(name) in trained_names() and not Path(name).exists()


def folder_of(name: str) -> Path:
    """Where a model that comes with the package lies.

    Errors:
        InputError: there is no such model.
    """
    if name not in trained_names():
        raise InputError(
            f"No model {name!r} comes with the package; choose from {', '.join(trained_names())}. "
            "Give the frames to forecast from, or one of these."
        )
    return Path(str(resources.files("statecast.runs.trained"))) / name


def example_context(name: str) -> Path:
    """The file of observed frames that a model comes with; errors as `example`."""
    return folder_of(name) / CONTEXT_NAME


def load_trained(name: str, *, device: str | torch.device = "cpu") -> Predictor:
    """A model that comes with the package."""
    folder = folder_of(name)
    model = read_run(folder).new_model()
    weights = load_file(folder / WEIGHTS_NAME)
    model.load_state_dict({key: full(value) for key, value in weights.items()})
    return Predictor(model.to(device_of(device)).eval())


def evaluate_trained(
    name: str,
    overrides: Sequence[str] = (),
    *,
    device: str | torch.device = "auto",
    output: Path | None = None,
) -> Evaluation:
    """Score a model that comes with the package on the test data of its recipe.

    Args:
        name: of the model.
        overrides: `--evaluate.samples 10` …
        device: `auto`, `cpu`, `cuda`, …
        output: folder in which to write `scores.json`; by default scores are not kept.

    Errors:
        InputError: there is no such model.
    """
    run = read_run(folder_of(name))
    model = load_trained(name, device=device).model
    scores = score_model(run, model, overrides, steps=run.tables["train"]["steps"], origin=name)
    scores.protocol.update(checkpoint="best", calibrated=False)
    if output is not None and is_main() and not scores.is_empty:
        scores.save(output)
    return scores


@typed
def example(name: str) -> Batch:
    """Test windows of a model that comes with the package; it was not trained on them.

    Args:
        name: of the model.

    Returns:
        Context and target, in the units of the data.

    Errors:
        InputError: there is no such model.
    """
    folder = folder_of(name)
    channels = read_run(folder).spec.channels
    context, target = (
        torch.from_numpy(np.load(folder / part)).float() for part in (CONTEXT_NAME, TARGET_NAME)
    )
    return Batch(
        context=Frames.context_of(context, channels), target=Frames.target_of(target, channels)
    )


def full(values: Tensor) -> Tensor:
    """Floating-point numbers as float32, others as they are."""
    return values.float() if values.is_floating_point() else values
