"""Initial weights of a run from another one, kept in its folder."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file

from statecast.errors import InputError
from statecast.models.base import Forecaster
from statecast.runs.digests import check_recorded

FILE_NAME = "initial.safetensors"
NORMALISER = "normaliser."  # follows from the data of the new run


def write_initial_weights(source: Forecaster, model: Forecaster, origin: str, folder: Path) -> None:
    """Write the weights of a trained model into the folder of a new run that begins with them.

    Errors:
        InputError: the models do not have the same weights.
    """
    check_same_weights(source, model, origin)
    weights = {
        name: value.detach().cpu().contiguous()
        for name, value in source.state_dict().items()
        if not name.startswith(NORMALISER)
    }
    save_file(weights, folder / FILE_NAME)


def check_same_weights(source: Forecaster, model: Forecaster, origin: str) -> None:
    """Raise `InputError` naming the first weight that differs in size or that only one has."""
    theirs, ours = (
        {name: tuple(value.shape) for name, value in one.state_dict().items()}
        for one in (source, model)
    )
    for name in sorted({*theirs, *ours}):
        if theirs.get(name) != ours.get(name) and not name.startswith(NORMALISER):
            raise InputError(
                f"The weights of {origin} do not fit: {name} is {theirs.get(name, 'missing')} "
                f"there, and {ours.get(name, 'missing')} in the new model. Give the new run the "
                f"model options of {origin}."
            )


def read_initial_weights(model: Forecaster, folder: Path) -> None:
    """Load the initial weights of a run into its model, if there are any.

    Errors:
        CorruptionError: the file differs from its recorded digest.
    """
    check_recorded(folder, FILE_NAME)
    if (folder / FILE_NAME).exists():
        model.load_state_dict(load_file(folder / FILE_NAME), strict=False)
