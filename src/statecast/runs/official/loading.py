"""Checkpoints of the published implementations, read safely into our models."""

from __future__ import annotations

from pathlib import Path

from statecast.checks import typed
from statecast.errors import FileError
from statecast.models.base import Forecaster
from statecast.runs.official.published_folders import KNOWN, is_published, read_published
from statecast.runs.official.separable import read_separable
from statecast.runs.official.settings import Official
from statecast.runs.official.srvp import read_srvp


@typed
def load_official(folder: str | Path) -> Forecaster:
    """A model with the weights of a published checkpoint folder, in evaluation mode.

    Args:
        folder: a folder with, for SRVP, `model.pt` and `config.json`; for Separable, `ov_Es.pt`,
            `ov_Et.pt`, `decoder.pt`, `t_resnet.pt` and `params.json`; for SVG, DrNet, PhyDNet,
            PredRNN, MIM, ConvLSTM, SV2P, CDNA and SAVP, the checkpoint, and its settings if there
            are any. No code in them is run.

    Errors:
        FileError: the folder is not a published checkpoint, or a file is missing.
        InputError: the files ask for code, or do not fit their configuration.

    Formats: https://github.com/edouardelasalles/srvp and
    https://github.com/JeremDona/spatiotemporal_variable_separation.
    """
    return read_official(folder).model()


def is_official(folder: str | Path) -> bool:
    """Whether a folder has the layout of a published checkpoint."""
    folder = Path(folder)
    srvp = (folder / "config.json").is_file() and (folder / "model.pt").is_file()
    return srvp or (folder / "params.json").is_file() or is_published(folder)


def read_official(folder: str | Path) -> Official:
    """Read a published folder: which model it is, its options, its tensors.

    Errors:
        FileError: the folder is not a published checkpoint, or a file is missing.
        InputError: the files ask for code, or a setting is missing or unknown.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        return read_srvp(folder)
    if (folder / "params.json").is_file():
        return read_separable(folder)
    if is_published(folder):
        return read_published(folder)
    raise FileError(
        f"{folder} is not a published checkpoint: expected config.json beside model.pt (SRVP); "
        "params.json beside ov_Es.pt, ov_Et.pt, decoder.pt and t_resnet.pt (Separable); or "
        f"{KNOWN}."
    )
