"""import_official: a published checkpoint becomes a run, to forecast, score and train on."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from statecast.checks import typed
from statecast.data import DATASETS
from statecast.data.base import DataSource
from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.io.atomic_files import atomic_folder, sha256_of, write_text
from statecast.io.json_yaml import own_file
from statecast.runs.create import environment
from statecast.runs.digests import record_digests
from statecast.runs.folders import CONFIG_NAME, ENVIRONMENT_NAME
from statecast.runs.official.loading import read_official
from statecast.runs.official.recipe_tables import Guess, guess_tables
from statecast.runs.official.settings import Official
from statecast.runs.recipes.resolve import Tables, pairs, resolve, without_code
from statecast.runs.run import Run, build_data, dump
from statecast.training.loop import Trainer
from statecast.training.options import TrainingOptions

OFFICIAL_NAME = "official.json"  # settings as published, for an export


@typed
def import_official(folder: str | Path, output: str | Path, overrides: Sequence[str] = ()) -> Run:
    """Write a new run folder with the weights of a published checkpoint at step 0.

    Model and training take the published settings, and so do data that statecast makes itself
    (moving digits, waves). For other data, `overrides` must name the data set.

    Args:
        folder: published checkpoint folder, as for `load_official`.
        output: the run folder; it appears complete or not at all.
        overrides: `--data.name NAME`, `--train.steps 1000` …

    Errors:
        FileError: `folder` is not a published checkpoint, or `output` is not empty.
        InputError: the settings do not determine the data, the data do not fit the model, or an
            option is unknown.
    """
    folder, output = Path(folder), Path(output)
    official = read_official(folder)
    with atomic_folder(output) as unfinished:
        tables, source = complete_tables(official, guess_tables(official), overrides)
        run = Run(unfinished, tables, source.spec)
        write_checkpoint(run, official, source)
        origin = {
            "model": official.name,
            "settings": dict(official.settings),
            "files": {path.name: sha256_of(path) for path in published_files(folder)},
        }
        write_text(unfinished / OFFICIAL_NAME, json.dumps(origin, indent=1) + "\n")
        write_text(unfinished / ENVIRONMENT_NAME, json.dumps(environment(), indent=1) + "\n")
        config = dump(tables, source.spec)
        record_digests(unfinished, {CONFIG_NAME: config})
        write_text(unfinished / CONFIG_NAME, config)
    return Run(output, tables, source.spec)


def published_files(folder: Path) -> list[Path]:
    """The files of a published checkpoint."""
    endings = (".pt", ".json", ".pth", ".ckpt", ".tar", ".index")
    found = [p for p in folder.iterdir() if p.suffix in endings or ".data-" in p.name]
    return [own_file(path) for path in sorted(found)]


def complete_tables(
    official: Official, guess: Guess, overrides: Sequence[str]
) -> tuple[Tables, DataSource]:
    """The complete recipe of a published checkpoint, and its data.

    Errors:
        InputError: the data set is not known, or its frames do not fit the model.
    """
    given = dict(pairs(overrides))
    name = given.get("data.name", guess.data.get("name"))
    if name is None:
        raise InputError(
            f"The published data {guess.published!r} are not known to statecast. Name yours: "
            f"--data.name NAME and its options, with NAME one of {', '.join(DATASETS)}."
        )
    data = guess.data if name == guess.data.get("name") else window_options(name, official.spec)
    tables = {
        "model": {"name": official.name, **official.options},
        "data": {**data, "name": name},
        "train": guess.train,
        "evaluate": guess.evaluate,
    }
    origin = str(official.settings.path)
    complete = without_code(resolve(tables, overrides, origin=origin))
    source = build_data(complete)
    check_frames(source.spec, official.spec)
    late = {
        "model": {"normalise": normalisation(official, source.spec)},
        "train": guess.length(source),
    }
    for table, values in late.items():
        chosen = {option: v for option, v in values.items() if f"{table}.{option}" not in given}
        complete[table] |= chosen
    return complete, source


def window_options(name: str, spec: FrameSpec) -> dict[str, Any]:
    """Context and horizon of the model, for a data set that has such options."""
    if name not in DATASETS:
        return {}  # `resolve` names the nearest one
    known = inspect.signature(DATASETS[name]).parameters
    wanted = {"context": spec.context, "horizon": spec.horizon}
    return {option: value for option, value in wanted.items() if option in known}


def check_frames(data: FrameSpec, model: FrameSpec) -> None:
    """Raise `InputError` unless the data have the frames and context of a published model."""
    found, wanted = ((spec.frame_shape, spec.context) for spec in (data, model))
    if found != wanted:
        raise InputError(
            f"The published model takes frames (channel, *space) = {wanted[0]} with a context of "
            f"{wanted[1]}, but the data have {found[0]} and {found[1]}. Change the options of data."
        )


def normalisation(official: Official, data: FrameSpec) -> str:
    """The option `normalise` that turns the data into frames like those of published training."""
    if official.settings.get("data") == "sst":  # standardised there
        return "standard"
    return "none" if data.value_range == (0.0, 1.0) else "range"


def write_checkpoint(run: Run, official: Official, source: DataSource) -> None:
    """Write the published weights as the checkpoint of step 0, with a fresh optimizer."""
    model = official.load(run.new_model())
    options = TrainingOptions.of(run.tables["train"])
    Trainer(model, source, run.folder, replace(options, device="cpu")).save(best=True)
