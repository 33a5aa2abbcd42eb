"""Run: a run folder, opened, trained and scored."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import torch
import yaml

from statecast.checks import typed
from statecast.data import DATASETS
from statecast.data.base import DataSource, InferredOption, seeded_generator
from statecast.data.thinned import ThinnedSource
from statecast.distributed import all_gather, is_main, run_on_main
from statecast.errors import CorruptionError, FileError, InputError, StatecastError
from statecast.evaluation.comparability import read_scores
from statecast.evaluation.evaluate import evaluate
from statecast.evaluation.evaluation import Evaluation, score_text
from statecast.evaluation.protocol_settings import data_options, refuse_settings_of
from statecast.forecasting.predictor import Predictor
from statecast.frames import FrameSpec
from statecast.io.fields.preprocessing import FILE_NAME, read_preparation
from statecast.io.html import html_table
from statecast.io.json_yaml import LARGEST_YAML, own_file, read_text
from statecast.io.video.options import ClipOptions
from statecast.models.base import Forecaster
from statecast.models.build import model_of
from statecast.runs.calibration import read_calibration
from statecast.runs.digests import check_recorded, is_as_recorded
from statecast.runs.folders import CONFIG_NAME, being_trained
from statecast.runs.initial_weights import read_initial_weights
from statecast.runs.recipes.resolve import Tables, as_tables, nearest, pairs, resolve
from statecast.runs.trained import trained_names, training_command
from statecast.training.checkpoint_folders import list_checkpoints, step_of
from statecast.training.checkpoints import BEST, Checkpoint, best_of, load_checkpoint
from statecast.training.loop import TrainingResult
from statecast.training.options import TrainingOptions
from statecast.training.precision import device_of
from statecast.training.train import train

TRIES = 5  # at reading a checkpoint that a running training replaces
WEIGHTS = 0  # stream of random numbers for initial weights


@dataclass(frozen=True)
class Run:
    """A run folder: the complete recipe, and what was made from it."""

    folder: Path
    tables: Tables
    spec: FrameSpec
    inferred_options: tuple[InferredOption, ...] = ()  # choices that the given options left open

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.spec.frame_shape))
        lengths = f"{self.spec.context} → {self.spec.horizon} frames of {shape}"
        return f"Run({self.folder}: {self.name} on {self.tables['data']['name']}, {lengths})"

    def _repr_html_(self) -> str:
        """Its progress, and its scores if it has any, for notebooks."""
        best, steps = best_of(self.folder), [step_of(p) for p in list_checkpoints(self.folder)]
        rows = {
            "model": self.name,
            "data": self.tables["data"]["name"],
            "trained": f"{steps[-1] if steps else 0} of {self.tables['train']['steps']} steps",
            "checkpoints": ", ".join(map(str, steps)),
            "best checkpoint": "none" if best is None else step_of(best),
        }
        try:
            scores = read_scores(self.folder)
            for metric, by_selection in scores.forecasters[scores.model].items():
                selection, score = next(iter(by_selection.items()))
                rows[f"{metric} {selection}"] = score_text(score)
        except StatecastError as error:
            rows["scores"] = error
        return html_table(repr(self), rows)

    @property
    def name(self) -> str:
        """Name of its model."""
        return str(self.tables["model"]["name"])

    def data(self) -> DataSource:
        """Its data source, opened."""
        return build_data(self.tables)

    def new_model(self) -> Forecaster:
        """Its model, with initial weights that follow from the seed of training."""
        generator = seeded_generator(self.tables["train"]["seed"], WEIGHTS)
        return model_of(self.tables["model"], self.spec, generator=generator)

    def load(
        self,
        which: str = "best",
        *,
        device: str | torch.device = "cpu",
        fallback: bool = False,
        calibrated: bool = False,
    ) -> Forecaster:
        """Its trained model, in evaluation mode.

        Args:
            which: `best` by validation, `last`, or a number of steps.
            device: device of the model.
            fallback: whether to take the newest intact checkpoint, with a warning, if the chosen
                one is damaged.
            calibrated: whether to correct its forecasts by what `statecast calibrate` fitted.

        Errors:
            FileError: there is no such checkpoint, or no calibration.
            InputError: the calibration was fitted for another checkpoint.
            CorruptionError: a file differs from its recorded digest.
        """
        model, step = self.load_with_step(which, device=device, fallback=fallback)
        if calibrated:
            model.calibration = read_calibration(self.folder, step, model)
        return model

    def load_with_step(
        self, which: str = "best", *, device: str | torch.device = "cpu", fallback: bool = False
    ) -> tuple[Forecaster, int]:
        """Its trained model, not calibrated, and the step of its checkpoint; as `load`."""
        model = self.new_model()
        checkpoint = read_checkpoint(self.folder, which, fallback=fallback)
        try:
            model.load_state_dict(dict(checkpoint.model))
        except RuntimeError as error:
            raise CorruptionError(
                f"The weights in {checkpoint.path} do not fit {self.folder / CONFIG_NAME}: "
                f"{' '.join(str(error).split())}"
            ) from error
        if which == BEST and checkpoint.step == 0 and model.needs_validation_fit:
            warnings.warn(self.nothing_learned, stacklevel=2)
        return model.to(device_of(device)).eval(), checkpoint.step

    @property
    def nothing_learned(self) -> str:
        """A message: the best checkpoint is that of step 0, so the forecast is the reference."""
        steps, done = self.tables["train"]["steps"], step_of(list_checkpoints(self.folder)[-1])
        longer = f" --train.steps {2 * steps}" if done >= steps else ""
        return (
            f"The forecast is the reference itself ({self.tables['model']['reference']}): the best "
            f"checkpoint by validation is still that of step 0, after {done} of {steps} steps. "
            f"Train on with: statecast train --resume {quote(str(self.folder))}{longer}"
        )

    def predictor(
        self,
        which: str = "best",
        *,
        device: str | torch.device = "cpu",
        fallback: bool = False,
        calibrated: bool = False,
    ) -> Predictor:
        """Its trained model with its preprocessing of observations; arguments as `load`."""
        check_recorded(self.folder, FILE_NAME)
        data = self.tables["data"]
        return Predictor(
            self.load(which, device=device, fallback=fallback, calibrated=calibrated),
            fields=read_preparation(self.folder),
            videos=ClipOptions.of(data) if data["name"] == "videos" else None,
            axes=data["axes"] if data["name"] == "arrays" else None,
        )


def read_checkpoint(folder: Path, which: str, *, fallback: bool = False) -> Checkpoint:
    """A checkpoint of a run, even if a running training replaces checkpoints meanwhile."""
    for _ in range(TRIES):
        before = list_checkpoints(folder)
        try:
            return load_checkpoint(folder, which, fallback=fallback)
        except CorruptionError:
            if list_checkpoints(folder) == before:
                raise
    return load_checkpoint(folder, which, fallback=fallback)


def build_data(tables: Tables, *, protocol: str | None = None) -> DataSource:
    """The data source of a recipe; if a protocol is named, its test data follow the protocol."""
    options = data_options(protocol, tables["data"])
    name, thin = options.pop("name"), options.pop("thin", 0.0)
    source = DATASETS[name](**options)
    return ThinnedSource(source, thin=thin) if thin else source


@typed
def open_run(folder: str | Path) -> Run:
    """Open a run folder, with a warning if its recipe was edited.

    Errors:
        FileError: it is not a run folder.
        CorruptionError: its recipe cannot be read.
    """
    run = read_run(Path(folder))
    if not is_as_recorded(run.folder, CONFIG_NAME):
        warnings.warn(
            f"{run.folder / CONFIG_NAME} was edited after the run was made; it is used as it is "
            "now.",
            stacklevel=2,
        )
    return run


def read_run(folder: Path) -> Run:
    """Open a run folder without comparing its recipe with a digest; errors as `open_run`."""
    path = folder / CONFIG_NAME
    if not path.exists():
        shipped = trained_names()
        if str(folder) in shipped and folder.exists():
            raise FileError(
                f"The folder {folder} here hides the model of that name that comes with the "
                "package, and is no run folder. Rename it, or work in another folder."
            )
        if str(folder) in shipped:
            raise FileError(
                f"{folder} is a model that comes with the package, and not a run folder. It works "
                "with statecast.load, `statecast forecast` and `statecast evaluate`. For a run of "
                f"your own, train it: `{training_command(str(folder))}`."
            )
        raise FileError(
            f"{folder} is not a run folder: it holds no {CONFIG_NAME}. Make one with `statecast "
            f"train RECIPE`, or take a model of the package: {', '.join(shipped)}"
            f"{nearest(str(folder), shipped)} Of a published checkpoint, give the folder to "
            "`statecast forecast` or statecast.load_official."
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
            actions=frames.get("actions", 0),
            agent_states=frames.get("agent_states", 0),
        )
        return Run(folder, resolve(content, origin=str(path)), spec)
    except (InputError, KeyError, TypeError, ValueError) as error:
        raise CorruptionError(f"{path} is not a complete recipe: {error}") from error


def train_run(run: Run, *, resume: bool = False) -> TrainingResult:
    """Train a run from its start, or resume it from its last checkpoint.

    A run that was killed before its first checkpoint resumes from its start. In a group of
    processes, only the main one reads and writes in the folder.

    Errors:
        OwnedError: another process trains the run.
        As `train`.
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
        all_gather(None)  # waits for a process that takes long to open its data
        return train(model, data, run.folder, options, resume=checkpoint)


def evaluate_run(
    run: Run,
    overrides: Sequence[str] = (),
    *,
    which: str = "best",
    device: str | torch.device = "auto",
    calibrated: bool = False,
    output: Path | None = None,
) -> Evaluation:
    """Score a run's model on its data, and write `scores.json`.

    If no metric can be computed, earlier scores stay.

    A protocol takes precedence over the recipe: it sets the options of data that concern only
    tests, and all windows are scored unless `overrides` set `evaluate.max_windows`. In a group of
    processes, the main one writes.

    Args:
        run: the run.
        overrides: `--evaluate.samples 10` …
        which: the checkpoint: `best`, `last`, or a number of steps.
        device: `auto`, `cpu`, `cuda`, …
        calibrated: whether to correct forecasts by what `statecast calibrate` fitted.
        output: folder of the scores; the run's own by default.
    """
    model = run.load(which, device=device, calibrated=calibrated)
    steps = step_of(list_checkpoints(run.folder)[-1])
    scores = score_model(run, model, overrides, steps=steps, origin=str(run.folder))
    scores.protocol.update(checkpoint=which, calibrated=calibrated)
    if is_main() and not scores.is_empty:
        scores.save(output or run.folder)
    return scores


def score_model(
    run: Run, model: Forecaster, overrides: Sequence[str] = (), *, steps: int, origin: str
) -> Evaluation:
    """Scores of a run's model after these steps of training, with the facts of its training.

    Errors name the run by `origin`.
    """
    tables = resolve(run.tables, overrides, origin=origin)
    options = scoring_options(tables, dict(pairs(overrides)))
    data = build_data(tables, protocol=options["protocol"])
    scores = evaluate(model, data, name=run.name, **options)
    scores.protocol.update(training=training_of(run, steps))
    return scores


def training_of(run: Run, steps: int) -> dict[str, Any]:
    """Facts of a training for comparisons: digest of the recipe without its seed, seed, steps."""
    train = dict(run.tables["train"])
    seed = train.pop("seed")
    tables = [run.tables["model"], run.tables["data"], train]
    recipe = json.dumps(tables, sort_keys=True, default=vars)
    return {
        "recipe": hashlib.sha256(recipe.encode()).hexdigest(),
        "seed": seed,
        "steps": steps,
        "planned_steps": train["steps"],
    }


def scoring_options(tables: Tables, given: Mapping[str, str]) -> dict[str, Any]:
    """Arguments of `evaluate`; a protocol scores every window unless `given` limits their number.

    Errors:
        InputError: an option is given that the protocol sets.
    """
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in tables["evaluate"].items()
    }
    if options["protocol"] is not None:
        refuse_settings_of(options["protocol"], given)
        if "evaluate.max_windows" not in given:
            options["max_windows"] = None
    return options


def dump(tables: Tables, spec: FrameSpec) -> str:
    """The complete recipe as YAML, with the spec of its frames."""
    frames = asdict(spec)
    frames |= {key: list(value) for key, value in frames.items() if isinstance(value, tuple)}
    return yaml.safe_dump({**tables, "frames": frames}, sort_keys=False, allow_unicode=True)
