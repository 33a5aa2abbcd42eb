"""export_official: write a run in the published layout of its model."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from statecast.checks import typed
from statecast.errors import CorruptionError, InputError
from statecast.io.atomic_files import atomic_folder, write_bytes, write_text
from statecast.io.json_yaml import read_json
from statecast.models.base import Forecaster
from statecast.models.build import own_options
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.nn.codecs.resnet import ResNetEncoder
from statecast.runs.official import separable as official_separable
from statecast.runs.official import srvp as official_srvp
from statecast.runs.official.import_run import OFFICIAL_NAME
from statecast.runs.official.recipe_tables import DIGITS_EPOCH
from statecast.runs.official.tensor_names import published_names
from statecast.runs.run import Run, open_run

Settings = dict[str, Any]


@typed
def export_official(folder: str | Path, output: str | Path, *, which: str = "best") -> Path:
    """Write the weights and settings of a run in the published layout of its model.

    SRVP becomes `model.pt` and `config.json`. Separable becomes `params.json` and four files. The
    published files are pickled modules; these hold state dicts, because a module cannot be pickled
    without the code of its class. `load_official` reads both.

    Args:
        folder: run folder.
        output: new folder; it appears complete or not at all.
        which: the checkpoint: `best`, `last`, or a number of steps.

    Returns:
        The folder written.

    Errors:
        FileError: `output` is not empty, or there is no such checkpoint.
        InputError: the published layout cannot hold the model; the message names the option.
    """
    run, output = open_run(folder), Path(output)
    if run.tables["model"]["reference"] != "none":
        raise InputError(
            "The published layouts cannot hold a model of changes from a reference; "
            f"model.reference is {run.tables['model']['reference']}, and none is needed."
        )
    model = run.load(which)
    base = published_settings(run)
    options = own_options(run.tables["model"])
    if isinstance(model, SRVP):
        own = official_srvp.srvp_settings(model, options) | srvp_training(run, base)
        files, name = {"model": published_tensors(model)}, "config.json"
        settings = official_srvp.DEFAULTS | base | changed(own, base)
    elif isinstance(model, Separable):
        base = {"data": published_data(run), **base}
        own = official_separable.separable_settings(model, options, base)
        own |= separable_training(run, base)
        files, name = separable_files(model), "params.json"
        settings = official_separable.DEFAULTS | base | changed(own, base)
    else:
        raise InputError(
            f"There is no published layout for the model {run.name}; srvp and separable have one."
        )
    with atomic_folder(output) as unfinished:
        for file, tensors in files.items():
            stream = io.BytesIO()
            torch.save(tensors, stream)
            write_bytes(unfinished / f"{file}.pt", stream.getvalue())
        text = json.dumps(settings, indent=4, sort_keys=True)
        write_text(unfinished / name, text + "\n")
    return output


def published_settings(run: Run) -> Settings:
    """The settings that a run was imported with; empty if it was not imported.

    Errors:
        CorruptionError: the record of the settings cannot be read.
    """
    path = run.folder / OFFICIAL_NAME
    if not path.is_file():
        return {}
    try:
        return dict(read_json(path)["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptionError(f"{path} is damaged: {error}. Import the folder again.") from error


def changed(own: Settings, base: Mapping[str, Any]) -> Settings:
    """Settings whose value differs from `base`, so that 1 in `base` does not become 1.0."""
    return {key: value for key, value in own.items() if key not in base or base[key] != value}


def published_tensors(model: Forecaster) -> dict[str, Tensor]:
    """A model's tensors under their published names."""
    state = model.state_dict()
    return {
        theirs: state[ours].detach().cpu().contiguous().clone()
        for ours, theirs in published_names(model).items()
    }


def separable_files(model: Separable) -> dict[str, dict[str, Tensor]]:
    """The state dicts of the four published modules."""
    files: dict[str, dict[str, Tensor]] = {name: {} for name in official_separable.FILES}
    for name, tensor in published_tensors(model).items():
        file, _, rest = name.partition(".")
        files[file][rest] = tensor
    encoders = {"ov_Es": model.content_encoder, "ov_Et": model.dynamics_encoder}
    for file, encoder in encoders.items():
        if isinstance(encoder, ResNetEncoder):
            unused = torch.nn.BatchNorm2d(len(files[file]["conv_out.weight"])).state_dict()
            files[file] |= {official_separable.UNUSED + key: t for key, t in unused.items()}
    return files


def srvp_training(run: Run, base: Mapping[str, Any]) -> Settings:
    """Published settings for the training and data of a run of SRVP."""
    train, data = run.tables["train"], run.tables["data"]
    linear = train["schedule"] == "linear"
    decay_start = train["decay_start"] if linear else train["steps"]
    settings = {
        "lr": train["learning_rate"],
        "batch_size": train["batch_size"],
        "lr_scheduling_burnin": decay_start,
        "lr_scheduling_n_iter": train["steps"] - decay_start,
    }
    if train["seed"] != 1 or base.get("seed") is not None:
        settings["seed"] = train["seed"]
    settings["seq_len_test"] = base.get("seq_len_test", run.spec.length)
    if data["name"] == "moving_digits":
        settings |= {
            "dataset": "smmnist",
            "deterministic": not data["stochastic"],
            "ndigits": data["digits"],
            "max_speed": data["max_speed"],
        }
        longer = data["validation_horizon"] or data["horizon"]
        settings["seq_len_test"] = data["context"] + longer
    return settings


def published_data(run: Run) -> str | None:
    """The published name of the data set of a run; None if it has none."""
    data = run.tables["data"]
    if data["name"] == "wave_equation":
        return "wave" if data["points"] is None else "wave_partial"
    return "mnist" if data["name"] == "moving_digits" else None


def separable_training(run: Run, base: Mapping[str, Any]) -> Settings:
    """Published settings for the training and data of a run of Separable."""
    train, data = run.tables["train"], run.tables["data"]
    settings: Settings = {
        "lr": train["learning_rate"],
        "batch_size": train["batch_size"],
        "beta1": train["adam_betas"][0],
        "beta2": train["adam_betas"][1],
        "scheduler": train["schedule"] == "milestones",
    }
    if data["name"] == "moving_digits":
        settings["n_object"] = data["digits"]
    if "epochs" not in base:  # a run counts steps; the length of an epoch is a convention
        per_epoch = max(1, round(DIGITS_EPOCH / train["batch_size"]))
        settings |= {
            "epochs": max(1, round(train["steps"] / per_epoch)),
            "scheduler_decay": train["decay_factor"],
            "scheduler_milestones": [round(step / per_epoch) for step in train["milestones"]],
        }
    return settings
