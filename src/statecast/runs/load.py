"""Trained models by name or folder: from a run, from the package, or published."""

from __future__ import annotations

from pathlib import Path

import torch

from statecast.checks import typed
from statecast.errors import InputError
from statecast.forecasting.predictor import Predictor
from statecast.runs.official.loading import is_official, load_official
from statecast.runs.run import open_run
from statecast.runs.trained.loading import is_trained, load_trained
from statecast.training.precision import device_of


@typed
def load(
    folder: str | Path,
    which: str = "best",
    *,
    device: str | torch.device = "cpu",
    fallback: bool = False,
    calibrated: bool = False,
) -> Predictor:
    """A trained model, ready to forecast.

    Args:
        folder: a run folder, or the name of a model that comes with the package, such as
            `digits`; `statecast list` names them.
        which: checkpoint of a run: `best` by validation, `last`, or a number of steps.
        device: device of the model: `cpu`, `cuda`, …, or `auto`, the GPU if there is one.
        fallback: whether to take the newest intact checkpoint, with a warning, if the chosen one
            is damaged.
        calibrated: whether to correct forecasts of a run by what `statecast calibrate` fitted.

    Errors:
        FileError: there is no such run, checkpoint or calibration.
        InputError: the calibration was fitted for another checkpoint, or there is no such device.
        CorruptionError: a file differs from its recorded digest.
    """
    if is_trained(folder):
        check_only(folder, which, calibrated)
        return load_trained(str(folder), device=device)
    return open_run(folder).predictor(
        which, device=device, fallback=fallback, calibrated=calibrated
    )


@typed
def load_model(
    folder: str | Path,
    which: str = "best",
    *,
    device: str | torch.device = "cpu",
    calibrated: bool = False,
) -> Predictor:
    """The model of a published checkpoint folder, or what `load` returns."""
    if is_official(folder):
        check_only(folder, which, calibrated)
        return Predictor(load_official(folder).to(device_of(device)))
    return load(folder, which, device=device, calibrated=calibrated)


def check_only(folder: str | Path, which: str, calibrated: bool) -> None:
    """Raise `InputError` if a calibration or a checkpoint is asked for without a run folder."""
    if which != "best":
        raise InputError(
            f"{folder} is not a run folder, so it has one checkpoint, best, got {which!r:.40}."
        )
    if calibrated:
        raise InputError(
            f"{folder} is not a run folder, so it has no calibration. Leave calibrated out."
        )
