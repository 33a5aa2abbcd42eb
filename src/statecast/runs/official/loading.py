"""Checkpoints of the published implementations, read safely into our models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from statecast.checks import typed
from statecast.errors import FileError, InputError
from statecast.models.base import Forecaster
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.runs.official.separable import read_separable
from statecast.runs.official.settings import Official
from statecast.runs.official.srvp import read_srvp
from statecast.runs.official.tensor_names import published_names


@typed
def load_official(folder: str | Path) -> Forecaster:
    """A model with the weights of a published checkpoint folder, in evaluation mode.

    Args:
        folder: of SRVP: `model.pt` and `config.json`; of Separable: `ov_Es.pt`, `ov_Et.pt`,
            `decoder.pt`, `t_resnet.pt` and `params.json`. Nothing in them is executed.

    Errors:
        FileError: the folder is neither, or a file is missing.
        InputError: the files ask for code, or do not fit their configuration.

    Formats: https://github.com/edouardelasalles/srvp and
    https://github.com/JeremDona/spatiotemporal_variable_separation.
    """
    official = read_official(folder)
    kind = SRVP if official.name == "srvp" else Separable
    try:
        model: Forecaster = kind(official.spec, **official.options)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:  # a text where a number should be
        reason = " ".join(str(error).split())
        raise InputError(f"{official.settings.path} describes no model: {reason}") from error
    return assign(model, official.tensors).eval()


def is_official(folder: str | Path) -> bool:
    """Whether a folder has the layout of a published checkpoint."""
    folder = Path(folder)
    srvp = (folder / "config.json").is_file() and (folder / "model.pt").is_file()
    return srvp or (folder / "params.json").is_file()


def read_official(folder: str | Path) -> Official:
    """Read a published folder: which model it is, its options, its tensors.

    Errors:
        FileError: the folder is no published checkpoint, or a file is missing.
        InputError: the files ask for code, or a setting is missing or unknown.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        return read_srvp(folder)
    if (folder / "params.json").is_file():
        return read_separable(folder)
    raise FileError(
        f"{folder} is no published checkpoint: expected config.json beside model.pt (SRVP), or "
        "params.json beside ov_Es.pt, ov_Et.pt, decoder.pt and t_resnet.pt (Separable)."
    )


def assign(model: Forecaster, tensors: Mapping[str, Tensor]) -> Forecaster:
    """Copy published tensors into a model of ours.

    Errors:
        InputError: a tensor is missing, left over, or of another shape; names it.
    """
    remaining = dict(tensors)
    state: dict[str, Tensor] = {}
    own = model.state_dict()
    for name, theirs in published_names(model).items():
        if theirs not in remaining:
            raise InputError(f"The published checkpoint lacks the tensor {theirs}.")
        tensor = remaining.pop(theirs)
        if tensor.shape != own[name].shape:
            raise InputError(
                f"The published tensor {theirs} should have shape {tuple(own[name].shape)} by its "
                f"configuration, got {tuple(tensor.shape)}."
            )
        state[name] = tensor
    if remaining:
        raise InputError(
            f"The published checkpoint holds tensors of no known part: {', '.join(remaining)}."
        )
    with torch.no_grad():
        model.load_state_dict(state, strict=False)
    return model
