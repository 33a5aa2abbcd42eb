"""Folders of published code, recognised by the content of their files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from statecast.errors import FileError, InputError, StatecastError
from statecast.io.json_yaml import own_file
from statecast.io.torch_files import PickledModule, load_torch_file, module_tensors
from statecast.runs.folders import CONFIG_NAME
from statecast.runs.official import drnet, phydnet, predrnn, savp, sv2p, svg
from statecast.runs.official.settings import Official, Settings
from statecast.runs.official.tensorflow_checkpoints import model_variables, read_checkpoint
from statecast.runs.official.weights import unwrapped, without_prefixes

ENDINGS = (".pth", ".pt", ".ckpt", ".tar")  # of files of `torch.save`
TORCH7 = ".t7"
MOST_FILES = 2  # of one checkpoint
SETTINGS = ("model_hparams.json", "model_param.json")  # of video_prediction, and of OpenSTL
KNOWN = (
    "files of torch.save (.pth, .pt, .ckpt) of SVG, DrNet, PhyDNet, PredRNN, MIM or ConvLSTM, or a "
    "checkpoint of TensorFlow (.index) of SV2P, CDNA, SAVP or MIM"
)


def is_published(folder: Path) -> bool:
    """Whether a folder holds a published checkpoint; many `.pth` files may be a user's arrays."""
    if (folder / CONFIG_NAME).is_file():  # one of our run folders
        return False
    sure = tensorflow_prefixes(folder) or files_of(folder, (".ckpt", ".tar", TORCH7))
    return bool(sure) or 1 <= len(files_of(folder, (".pth",))) <= MOST_FILES


def read_published(folder: Path) -> Official:
    """A published checkpoint, recognised by the names of its tensors. No code in it is run.

    Errors:
        FileError: there is no checkpoint, or there are several.
        InputError: a file asks for code, or its tensors belong to no known system or do not fit
            their settings.
    """
    settings = settings_of(folder)
    prefixes, files = tensorflow_prefixes(folder), files_of(folder, ENDINGS)
    try:
        if prefixes:
            return read_variables(prefixes[-1], settings)
        if files:
            return read_torch(files, settings)
    except StatecastError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # from wrong shapes
        raise InputError(f"{folder} holds tensors that fit no model: {error}.") from error
    if files_of(folder, (TORCH7,)):
        raise FileError(
            f"{folder} holds files of Torch7 (.t7), such as those of DrNet, which cannot be read. "
            "Build the model from its arrays: statecast.runs.official.arrays.from_arrays."
        )
    raise FileError(f"{folder} is not a published checkpoint: expected {KNOWN}.")


def files_of(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files of a folder with one of these endings."""
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in endings]


def tensorflow_prefixes(folder: Path) -> list[Path]:
    """Checkpoints of TensorFlow, in order of their steps."""

    def steps(path: Path) -> int:
        return int(next(iter(re.findall(r"(\d+)$", path.name)), 0))

    return sorted((path.with_suffix("") for path in files_of(folder, (".index",))), key=steps)


def settings_of(folder: Path) -> Settings:
    """The settings beside a checkpoint; empty if there are none."""
    for name in SETTINGS:
        if (folder / name).is_file():
            return Settings(own_file(folder / name))
    return Settings(folder, {})


def read_variables(prefix: Path, settings: Settings) -> Official:
    """A checkpoint of TensorFlow."""
    arrays = model_variables(read_checkpoint(prefix))
    if sv2p.is_sv2p(arrays):
        return sv2p.read_variables(arrays, settings)
    if savp.is_savp(arrays):
        return savp.read_variables(arrays, settings)
    if predrnn.is_predrnn(arrays):
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return predrnn.read_tensors(tensors, settings)
    raise unknown(prefix, arrays)


def read_torch(paths: list[Path], settings: Settings) -> Official:
    """Files of `torch.save`: a state dict, alone or in a checkpoint, or pickled modules.

    Only DrNet has several: its LSTM lies in a file of its own.
    """
    path, tensors, options = paths[0], dict[str, Tensor](), dict[str, Any]()
    for file in paths:
        content = load_torch_file(own_file(file))
        if not isinstance(content, dict):
            raise InputError(f"{file} should hold tensors by name, got {type(content).__name__}.")
        tensors |= tensors_of(content)
        if isinstance(content.get("opt"), PickledModule):
            options |= plain(content["opt"].state)
    if options:
        settings = Settings(path, options)
    if drnet.is_drnet(tensors):
        return drnet.read_tensors(tensors, settings)
    if len(paths) > 1:
        names = ", ".join(file.name for file in paths)
        raise FileError(f"{path.parent} holds several checkpoints: {names}. Keep only one of them.")
    if svg.is_svg(tensors):
        return svg.read_tensors(tensors, settings)
    if predrnn.is_predrnn(tensors):
        return predrnn.read_tensors(tensors, settings)
    if phydnet.is_phydnet(tensors):
        return phydnet.read_tensors(tensors, settings)
    raise unknown(path, tensors)


def tensors_of(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Tensors of a checkpoint by name, without wrappers and counters of batch normalisation."""
    found: dict[str, Tensor] = {}
    for name, part in unwrapped(content).items():
        if isinstance(part, Tensor):
            found[str(name)] = part
        elif isinstance(part, PickledModule) and "_modules" in part.state:
            found |= {f"{name}.{inner}": t for inner, t in module_tensors(part).items()}
    counters = "num_batches_tracked"
    return without_prefixes({name: t for name, t in found.items() if not name.endswith(counters)})


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that are numbers, texts or truth values."""
    kinds = (bool, int, float, str)
    return {str(name): value for name, value in options.items() if type(value) in kinds}


def unknown(path: Path, names: Mapping[str, Any]) -> InputError:
    """The error for tensors that belong to no known system."""
    some = ", ".join(list(names)[:3]) or "none"
    return InputError(f"{path} holds tensors of no known system ({some}, …): expected {KNOWN}.")
