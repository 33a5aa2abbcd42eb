"""Calibrations in run folders."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Any

from statecast.errors import CorruptionError, FileError, InputError
from statecast.io.sealed_json import read_sealed
from statecast.models.base import Forecaster
from statecast.models.calibration import Calibration

CALIBRATION_NAME = "calibration.json"


def read_calibration(folder: Path, step: int, model: Forecaster) -> Calibration:
    """The calibration of a run folder.

    Args:
        folder: the run folder.
        step: step of the checkpoint to correct.
        model: the model to correct.

    Errors:
        FileError: the run has no calibration.
        InputError: it was fitted for another checkpoint.
        CorruptionError: it is damaged.
    """
    path = folder / CALIBRATION_NAME
    again = f"Make it: statecast calibrate {quote(str(folder))}"
    if not path.is_file():
        raise FileError(f"{folder} has no calibration yet. {again}")
    try:
        content: dict[str, Any] = read_sealed(path, required=True)
        found, fitted = Calibration.from_json(content), int(content["step"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptionError(f"{path} cannot be read: {error}. {again}") from error
    if fitted != step:
        raise InputError(
            f"{path} was fitted for the checkpoint of step {fitted}, but the checkpoint of step "
            f"{step} is asked for. {again} --checkpoint {step}"
        )
    if found.channels != model.spec.channels:
        raise CorruptionError(f"{path} is for channels {found.channels}. {again}")
    return found
