"""New run folders from recipes, and changes to the training of existing ones."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from statecast.checks import typed
from statecast.data.base import DataSource, InferredOption
from statecast.errors import InputError
from statecast.evaluation.references import choose_reference
from statecast.io.atomic_files import write_text
from statecast.io.fields.preprocessing import write_preparation
from statecast.models import BASELINES
from statecast.runs.digests import record_digests
from statecast.runs.folders import (
    CONFIG_NAME,
    ENVIRONMENT_NAME,
    being_trained,
    check_free,
    new_folder,
)
from statecast.runs.initial_weights import write_initial_weights
from statecast.runs.load import load_model
from statecast.runs.recipes.resolve import Tables, pairs, read_recipe, resolve, without_code
from statecast.runs.run import Run, build_data, dump
from statecast.training.loop import check_training
from statecast.training.options import FIXED, TrainingOptions
from statecast.training.validation import validation_choices
from statecast.version import __version__, commit

PATHS = ("path", "folder", "test_path", "test_file")  # options of data that name files


@typed
def create_run(
    recipe: str,
    folder: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    init_from: str | Path | None = None,
) -> Run:
    """Write a new run folder with the complete recipe, but no weights yet.

    If several processes make one folder, one succeeds and the others get an error. Processes that
    number their folders get different numbers.

    Args:
        recipe: name of a shipped recipe, or a YAML file.
        folder: the run folder; by default the first free `runs/RECIPE-1`, `-2`, …
        overrides: `--table.option value` …
        init_from: run folder, or name of a shipped model, with the weights that training begins
            with; the normaliser still follows from the new run's data.

    Errors:
        InputError: a recipe or option is unknown, a value does not fit, or the weights do not fit
            the new model.
        FileError: the folder is not empty, or cannot be written; nothing is left in it.
    """
    tables = without_code(resolve(read_recipe(recipe), overrides, origin=f"The recipe {recipe}"))
    if folder is not None:
        check_free(Path(folder))
    tables["data"] |= absolute_paths(tables["data"])
    data = build_data(tables)
    spec, choices = data.spec, tuple(data.inferred_options)
    tables["data"] |= {c.option: c.value for c in choices if c.option is not None}
    # Check before the folder is made, so that options that do not fit leave nothing behind.
    TrainingOptions.of(tables["train"])
    options = tables["train"]
    choices += reference_choice(tables, data)
    model = Run(Path(), tables, spec, choices).new_model()
    if spec.actions and not model.needs_actions:
        choices += (InferredOption("actions", f"read, and ignored by {tables['model']['name']}"),)
    if options["validate_every"]:
        others = validation_choices(
            model,
            data,
            metric=options["validation_metric"],
            ranking=options["validation_ranking"],
            samples=options["validation_samples"],
        )
        options |= {choice.option: choice.value for choice in others if choice.option}
        choices += tuple(others)
    check_training(model, data, TrainingOptions.of(options))
    with new_folder(Path(recipe).stem, None if folder is None else Path(folder)) as made:
        if data.preparation is not None:
            write_preparation(data.preparation, made)
        if init_from is not None:
            source = load_model(init_from).model
            write_initial_weights(source, model, str(init_from), made)
        write_text(made / ENVIRONMENT_NAME, json.dumps(environment(), indent=1) + "\n")
        config = dump(tables, spec)
        record_digests(made, {CONFIG_NAME: config})
        # Written last, because this file makes the folder a run.
        write_text(made / CONFIG_NAME, config)
    return Run(made, tables, spec, choices)


def reference_choice(tables: Tables, data: DataSource) -> tuple[InferredOption, ...]:
    """Choose a reference for `reference: auto` by validation, and write it into the recipe."""
    model, options = tables["model"], tables["train"]
    if model["name"] in BASELINES and model["reference"] != "none":
        model["reference"] = "none"
        return (InferredOption("reference", "none, because the model is a baseline"),)
    if model["reference"] != "auto":
        return ()
    chosen = choose_reference(data, batch_size=options["batch_size"], seed=options["seed"])
    model["reference"] = chosen.value
    return (chosen,)


def absolute_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    """Options of data that name local files, as absolute paths, which are valid in any folder."""

    def absolute(name: str) -> str:
        return name if "://" in name else str(Path(name).absolute())

    named = {option: data.get(option) for option in PATHS}
    return {
        option: absolute(value) if isinstance(value, str) else list(map(absolute, value))
        for option, value in named.items()
        if value
    }


def change_training(run: Run, overrides: Sequence[str]) -> Run:
    """Change options of a run's training, and write them into its folder.

    Errors:
        InputError: an option belongs to another table or cannot change in a resumed training, or
            a value does not fit.
    """
    for name, _ in pairs(overrides):
        table, _, option = name.partition(".")
        if table != "train" or option in FIXED:
            raise InputError(
                f"A resumed training keeps its model, data, {' and '.join(FIXED)}, so --{name} "
                "cannot change. Start a new run, with the weights of this one if you add "
                f"--init-from {run.folder}."
            )
    tables = resolve(run.tables, overrides, origin=str(run.folder))
    TrainingOptions.of(tables["train"])
    with being_trained(run.folder):
        config = dump(tables, run.spec)
        write_text(run.folder / CONFIG_NAME, config)
        record_digests(run.folder, {CONFIG_NAME: config})
    return replace(run, tables=tables)


def environment() -> dict[str, Any]:
    """Versions and machine that a run was made with."""
    return {
        "statecast": __version__,
        "commit": commit(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
