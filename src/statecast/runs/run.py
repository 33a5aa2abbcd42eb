"""Run folders: created from a recipe, trained, opened again; names become objects here alone."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from statecast.checks import typed
from statecast.data import DATASETS
from statecast.data.base import DataSource, InferredOption, seeded_generator
from statecast.distributed import all_gather, is_main, run_on_main
from statecast.errors import CorruptionError, FileError, InputError
from statecast.evaluation.evaluate import evaluate
from statecast.evaluation.protocol_settings import apply_protocol
from statecast.evaluation.score_tables import write_scores
from statecast.forecasting.predictor import Predictor
from statecast.frames import FrameSpec
from statecast.io.atomic_files import write_text
from statecast.io.fields.preprocessing import FILE_NAME, read_preparation, write_preparation
from statecast.io.json_yaml import LARGEST_YAML, own_file, read_text
from statecast.io.video.options import ClipOptions
from statecast.models import MODELS
from statecast.models.base import Forecaster
from statecast.runs.digests import check_recorded, is_as_recorded, record_digests
from statecast.runs.folders import (
    CONFIG_NAME,
    ENVIRONMENT_NAME,
    being_trained,
    check_free,
    new_folder,
)
from statecast.runs.initial_weights import read_initial_weights, write_initial_weights
from statecast.runs.official.loading import is_official, load_official
from statecast.runs.recipes import Tables, as_tables, pairs, read_recipe, resolve, without_code
from statecast.training.checkpoint_folders import list_checkpoints
from statecast.training.checkpoints import Checkpoint, load_checkpoint
from statecast.training.loop import TrainingResult
from statecast.training.options import FIXED, TrainingOptions
from statecast.training.precision import device_of
from statecast.training.train import train
from statecast.training.validation import validation_choices
from statecast.version import __version__, commit

TRIES = 5  # at reading a checkpoint that is replaced meanwhile
PATHS = ("path", "folder", "test_path", "test_file")  # options of data that name files
WEIGHTS = 0  # stream of random numbers for initial weights


@dataclass(frozen=True)
class Run:
    """A run folder: the complete recipe, and what was made with it."""

    folder: Path
    tables: Tables
    spec: FrameSpec
    inferred_options: tuple[InferredOption, ...] = ()  # chosen where options left something open

    @property
    def name(self) -> str:
        """Name of its model."""
        return str(self.tables["model"]["name"])

    def data(self) -> DataSource:
        """Its data source, opened."""
        return build_data(self.tables)

    def new_model(self) -> Forecaster:
        """Its model, with initial weights that follow from the seed of the training."""
        options = {key: value for key, value in self.tables["model"].items() if key != "name"}
        generator = seeded_generator(self.tables["train"]["seed"], WEIGHTS)
        return MODELS[self.name](self.spec, **options, generator=generator)

    def load(
        self, which: str = "best", *, device: str = "cpu", fallback: bool = False
    ) -> Forecaster:
        """Its trained model, in evaluation mode.

        Args:
            which: `best` by validation, `last`, or a number of steps.
            device: where to put it.
            fallback: whether to take the newest whole checkpoint, with a warning, where that one
                is damaged.

        Errors:
            FileError: there is no such checkpoint.
            CorruptionError: a file differs from its recorded digest.
        """
        model = self.new_model()
        checkpoint = read_checkpoint(self.folder, which, fallback=fallback)
        try:
            model.load_state_dict(dict(checkpoint.model))
        except RuntimeError as error:
            raise CorruptionError(
                f"The weights in {checkpoint.path} do not fit {self.folder / CONFIG_NAME}: "
                f"{' '.join(str(error).split())}"
            ) from error
        return model.to(device_of(device)).eval()

    def predictor(
        self, which: str = "best", *, device: str = "cpu", fallback: bool = False
    ) -> Predictor:
        """Its trained model, and what is done to observations first; arguments as `load`."""
        check_recorded(self.folder, FILE_NAME)
        data = self.tables["data"]
        return Predictor(
            self.load(which, device=device, fallback=fallback),
            fields=read_preparation(self.folder),
            videos=ClipOptions.of(data) if data["name"] == "videos" else None,
        )


def read_checkpoint(folder: Path, which: str, *, fallback: bool = False) -> Checkpoint:
    """A checkpoint of a run that may be in training, where newer ones replace it meanwhile."""
    for _ in range(TRIES):
        before = list_checkpoints(folder)
        try:
            return load_checkpoint(folder, which, fallback=fallback)
        except CorruptionError:
            if list_checkpoints(folder) == before:
                raise
    return load_checkpoint(folder, which, fallback=fallback)


def build_data(tables: Tables) -> DataSource:
    """The data source of a recipe."""
    options = {key: value for key, value in tables["data"].items() if key != "name"}
    return DATASETS[tables["data"]["name"]](**options)


@typed
def create_run(
    recipe: str,
    folder: str | Path | None = None,
    overrides: Sequence[str] = (),
    *,
    init_from: str | Path | None = None,
) -> Run:
    """Write a new run folder with the complete recipe, and nothing else yet.

    Of several processes that make one folder, one does and the others are refused; free numbers
    are given once.

    Args:
        recipe: name of a shipped recipe, or a YAML file.
        folder: where; by default the first free `runs/RECIPE-1`, `-2`, …
        overrides: `--table.option value` …
        init_from: run folder, or name of a shipped model, whose weights the training begins with;
            the normaliser follows from the new run's data.

    Errors:
        InputError: an unknown recipe or option, a value that does not fit, or weights that are not
            those of the new model.
        FileError: the folder is not empty, or cannot be written; nothing is left in it.
    """
    tables = without_code(resolve(read_recipe(recipe), overrides, origin=f"The recipe {recipe}"))
    if folder is not None:
        check_free(Path(folder))
    tables["data"] |= absolute_paths(tables["data"])
    data = build_data(tables)
    spec, choices = data.spec, tuple(data.inferred_options)
    tables["data"] |= {c.option: c.value for c in choices if c.option is not None}
    # So that options that do not fit leave nothing behind.
    TrainingOptions.of(tables["train"])
    model = Run(Path(), tables, spec, choices).new_model()
    options = tables["train"]
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
    with new_folder(Path(recipe).stem, None if folder is None else Path(folder)) as made:
        if data.preparation is not None:
            write_preparation(data.preparation, made)
        if init_from is not None:
            source = load_model(init_from).model
            write_initial_weights(source, model, str(init_from), made)
        write_text(made / ENVIRONMENT_NAME, json.dumps(environment(), indent=1) + "\n")
        config = dump(tables, spec)
        record_digests(made, {CONFIG_NAME: config})
        # Last, because a folder is a run once it holds this file.
        write_text(made / CONFIG_NAME, config)
    return Run(made, tables, spec, choices)


def absolute_paths(data: Mapping[str, Any]) -> dict[str, Any]:
    """Options of data that name local files, so that a run finds them from any folder."""

    def absolute(name: str) -> str:
        return name if "://" in name else str(Path(name).absolute())

    named = {option: data.get(option) for option in PATHS}
    return {
        option: absolute(value) if isinstance(value, str) else list(map(absolute, value))
        for option, value in named.items()
        if value
    }


def change_training(run: Run, overrides: Sequence[str]) -> Run:
    """A run with other options of its training, in its folder as well.

    Errors:
        InputError: an option of another table, one that a training cannot go on with another value
            of, or a value that does not fit.
    """
    for name, _ in pairs(overrides):
        table, _, option = name.partition(".")
        if table != "train" or option in FIXED:
            raise InputError(
                f"A training goes on with its model, data, {' and '.join(FIXED)}; --{name} cannot "
                "change. Start a new run, if you like with --init-from the old one."
            )
    tables = resolve(run.tables, overrides, origin=str(run.folder))
    TrainingOptions.of(tables["train"])
    with being_trained(run.folder):
        config = dump(tables, run.spec)
        write_text(run.folder / CONFIG_NAME, config)
        record_digests(run.folder, {CONFIG_NAME: config})
    return replace(run, tables=tables)


@typed
def open_run(folder: str | Path) -> Run:
    """Open a run folder, with a warning where its recipe was edited after it was made.

    Errors:
        FileError: it is none.
        CorruptionError: its recipe cannot be read.
    """
    run = read_run(Path(folder))
    if not is_as_recorded(run.folder, CONFIG_NAME):
        warnings.warn(f"{run.folder / CONFIG_NAME} was edited; it is used as it is.", stacklevel=2)
    return run


def read_run(folder: Path) -> Run:
    """Open a run folder, whatever digest is recorded of its recipe; errors as `open_run`."""
    path = folder / CONFIG_NAME
    if not path.exists():
        raise FileError(
            f"{folder} is no run folder: it holds no {CONFIG_NAME}. "
            "`statecast train RECIPE` makes one."
        )
    own_file(path)
    try:
        content = as_tables(read_text(path, LARGEST_YAML), str(path))
        frames = content.pop("frames")
        spec = FrameSpec(
            channels=tuple(frames["channels"]),
            space=tuple(frames["space"]),
            context=frames["context"],
            horizon=frames["horizon"],
            value_range=None if frames["value_range"] is None else tuple(frames["value_range"]),
            unit=frames["unit"],
        )
        return Run(folder, resolve(content, origin=str(path)), spec)
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise CorruptionError(f"{path} is not a complete recipe: {error}") from error


@typed
def load(
    folder: str | Path, which: str = "best", *, device: str = "cpu", fallback: bool = False
) -> Predictor:
    """The trained model of a run folder, ready to forecast; arguments as `Run.load`."""
    return open_run(folder).predictor(which, device=device, fallback=fallback)


@typed
def load_model(folder: str | Path, which: str = "best", *, device: str = "cpu") -> Predictor:
    """The model of a run folder, or of a published checkpoint folder; arguments as `Run.load`."""
    if is_official(folder):
        return Predictor(load_official(folder).to(device_of(device)))
    return load(folder, which, device=device)


def train_run(run: Run, *, resume: bool = False) -> TrainingResult:
    """Train a run from its start, or from its last checkpoint.

    One that was killed before its first checkpoint is resumed from its start. Of several processes
    in a group, the main one reads and writes in the folder.

    Errors:
        As `train`, and FileError where another process is at work on the run.
    """

    def newest() -> Checkpoint | None:
        begun = resume and bool(list_checkpoints(run.folder))
        return load_checkpoint(run.folder, "last") if begun else None

    with being_trained(run.folder):
        model = run.new_model()
        options = TrainingOptions.of(run.tables["train"])
        checkpoint = run_on_main(newest)
        if checkpoint is None:
            read_initial_weights(model, run.folder)
        data = run.data()
        all_gather(None)  # opening may take one of them long
        return train(model, data, run.folder, options, resume=checkpoint)


def evaluate_run(
    run: Run, overrides: Sequence[str] = (), *, which: str = "best", device: str = "auto"
) -> dict[str, Any]:
    """Score a run's model on its data, and write `scores.json` into the folder.

    Under a protocol, options of the data that concern tests alone become the protocol's. Of
    several processes in a group, the main one writes.

    Args:
        run: the run.
        overrides: `--evaluate.samples 10` …
        which: checkpoint: `best`, `last`, or a number of steps.
        device: `auto`, `cpu`, `cuda`, …
    """
    tables = resolve(run.tables, overrides, origin=str(run.folder))
    tables = apply_protocol(tables, dict(pairs(overrides)))
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in tables["evaluate"].items()
    }
    model = run.load(which, device=device)
    scores = evaluate(model, build_data(tables), name=run.name, **options)
    scores["protocol"]["checkpoint"] = which
    if is_main():
        write_scores(scores, run.folder)
    return scores


def dump(tables: Tables, spec: FrameSpec) -> str:
    """The complete recipe as YAML, with the shape of its frames."""
    frames = asdict(spec)
    frames |= {key: list(value) for key, value in frames.items() if isinstance(value, tuple)}
    return yaml.safe_dump({**tables, "frames": frames}, sort_keys=False, allow_unicode=True)


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
