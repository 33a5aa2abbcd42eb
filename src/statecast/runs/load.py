"""Trained models by name or folder: of a run, shipped with the package, or published."""

from __future__ import annotations

from pathlib import Path

from statecast.checks import typed
from statecast.forecasting.predictor import Predictor
from statecast.runs.official.loading import is_official, load_official
from statecast.runs.run import open_run
from statecast.runs.trained import is_trained, load_trained
from statecast.training.precision import device_of


@typed
def load(
    folder: str | Path, which: str = "best", *, device: str = "cpu", fallback: bool = False
) -> Predictor:
    """A trained model, ready to forecast.

    Args:
        folder: a run folder, or the name of a model that comes with the package, such as
            `digits`; `statecast list` names them.
        which: checkpoint of a run: `best` by validation, `last`, or a number of steps.
        device: where to put it.
        fallback: whether to take the newest whole checkpoint, with a warning, where that one is
            damaged.

    Errors:
        FileError: there is no such run or checkpoint.
        CorruptionError: a file differs from its recorded digest.
    """
    if is_trained(folder):
        return load_trained(str(folder), device=device)
    return open_run(folder).predictor(which, device=device, fallback=fallback)


@typed
def load_model(folder: str | Path, which: str = "best", *, device: str = "cpu") -> Predictor:
    """The model of a published checkpoint folder, or as `load`."""
    if is_official(folder):
        return Predictor(load_official(folder).to(device_of(device)))
    return load(folder, which, device=device)
