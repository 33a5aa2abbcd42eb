"""TrainingOptions: how a model is trained; the options of the table `train` of a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from statecast.checks import typed
from statecast.errors import InputError
from statecast.evaluation.scoring import Selection

Precision = Literal["auto", "float32", "bf16"]
Schedule = Literal["constant", "linear", "milestones", "cosine", "plateau"]
Ranking = Literal["future", "paper"]
FIXED = ("seed", "precision")  # options that a resumed training cannot change


@dataclass(frozen=True)
class Phase:
    """A part of a training in which some weights are frozen.

    Args:
        name: shown in messages.
        steps: how long it lasts.
        frozen: weights that do not change, by the beginnings of their names (`encoder`, …).
        batch_norm: `train`, or `eval` to use running statistics in the frozen parts, unchanged.
    """

    name: str
    steps: int
    frozen: tuple[str, ...] = ()
    batch_norm: Literal["train", "eval"] = "train"


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a model is trained.

    Args:
        steps: optimiser steps.
        batch_size: windows per step, of all processes together.
        phases: parts of the training in their order, whose steps add up to `steps`; by default
            one in which every weight changes.
        learning_rate: of Adam; the highest of the schedule.
        adam_betas: Adam's decay of the first and second moments of the gradient.
        weight_decay: added to the gradient of every weight, times the weight (L2, not decoupled).
        adam_epsilon_inside_root: add Adam's epsilon inside the root, see `InnerEpsilonAdam`.
        gradient_clip: largest norm of the gradient; longer ones are shortened to it.
        gradient_clip_each: largest norm of the gradient of each weight separately, before that of
            all of them.
        max_nonfinite_steps: how many steps of the whole training may be left out because their
            loss or gradient is not finite, before one stops it.
        schedule: `constant`, `linear` (to 0, after `decay_start`), `milestones`, `cosine`, or
            `plateau`, which decays when `patience` validations in a row bring no improvement.
        warmup: steps over which the learning rate rises to its highest.
        decay_start: constant steps before a `linear` schedule goes to 0.
        milestones: steps at which the learning rate is multiplied by `decay_factor`.
        decay_factor: see `milestones` and `plateau`.
        patience: see `plateau`.
        validate_every: steps between validations; 0 for none.
        validation_windows: windows scored in a validation.
        validation_batch_size: windows at once in a validation; by default as in training. Many
            samples of many windows fill memory.
        validation_samples: samples per window in a validation.
        validation_metric: metric that ranks checkpoints.
        validation_reduction: how its samples are combined, such as `best` for best of N; by
            default the metric's usual way, `mean` or `ensemble`.
        validation_ranking: `future` judges samples by forecast frames alone; `paper` chooses the
            best sample by the reconstructed context as well, as published for SRVP.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: checkpoints kept in addition to the best one.
        log_every: steps between rows of `metrics.csv`.
        tensorboard: whether to write TensorBoard logs as well.
        max_minutes: stop after this many minutes of training, if steps do not end it first.
        precision: `float32`, `bf16`, or `auto`: bf16 where the hardware multiplies it.
        device: `auto`, `cpu`, `cuda`, …
        activation_checkpointing: compute activations of a codec's stages again in the backward
            pass, which takes a third more arithmetic and much less memory; and steps of a
            transition that can be undone (`reversible_heun`, `coupling`) without storing the path.
        compile: compile the loop of the transition with PyTorch's compiler, on a GPU into one
            graph. It takes a minute at the start, and pays on GPUs.
        loader_workers: processes that prepare batches, for each process that trains; 0 for none.
        seed: all random numbers of the training follow from it.

    Errors:
        InputError: an option, or two together, make no sense.
    """

    steps: int = 10_000
    batch_size: int = 32
    phases: tuple[Phase, ...] = ()
    # Optimiser
    learning_rate: float = 3e-4
    adam_betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    adam_epsilon_inside_root: bool = False
    gradient_clip: float | None = None
    gradient_clip_each: float | None = None
    max_nonfinite_steps: int = 0
    # Schedule
    schedule: Schedule = "constant"
    warmup: int = 0
    decay_start: int = 0
    milestones: tuple[int, ...] = ()
    decay_factor: float = 0.5
    patience: int = 10
    # Validation
    validate_every: int = 1000
    validation_windows: int = 128
    validation_batch_size: int | None = None
    validation_samples: int = 1
    validation_metric: str = "mse"
    validation_reduction: Selection | None = None
    validation_ranking: Ranking = "future"
    # Checkpoints and logs
    checkpoint_every: int = 1000
    keep_checkpoints: int = 1
    log_every: int = 50
    tensorboard: bool = False
    # Machine
    max_minutes: float | None = None
    precision: Precision = "auto"
    device: str = "auto"
    activation_checkpointing: bool = False
    compile: bool = False
    loader_workers: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "log_every", "validation_batch_size", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}.")
        for name in ("max_nonfinite_steps", "warmup", "validate_every", "loader_workers"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}.")
        if not 0 <= self.learning_rate < math.inf:
            raise InputError(f"learning_rate must be a number from 0 up, got {self.learning_rate}.")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"weight_decay must be a number from 0 up, got {self.weight_decay}.")
        if self.weight_decay and self.adam_epsilon_inside_root:
            raise InputError("weight_decay needs adam_epsilon_inside_root: false.")
        if not all(0 <= beta < 1 for beta in self.adam_betas):
            raise InputError(f"adam_betas must lie in [0, 1), got {list(self.adam_betas)}.")
        if self.schedule == "linear" and not 0 <= self.decay_start <= self.steps:
            raise InputError(
                f"decay_start must lie between 0 and steps, {self.steps}, got {self.decay_start}."
            )
        if self.schedule == "plateau" and not self.validate_every:
            raise InputError("schedule: plateau needs validations. Set validate_every.")
        if not 0 < self.decay_factor < math.inf:
            raise InputError(f"decay_factor must be positive, got {self.decay_factor}.")
        lengths = [phase.steps for phase in self.phases]
        if lengths and (sum(lengths) != self.steps or min(lengths) < 1):
            raise InputError(
                f"The steps of phases, {lengths}, must be positive and add up to steps, "
                f"{self.steps}."
            )

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> TrainingOptions:
        """The options of the table `train` of a complete recipe, whose tuples are lists."""
        known = {field.name for field in fields(cls)}
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in table.items()
            if name in known
        }
        values["phases"] = tuple(
            Phase(**{**phase, "frozen": tuple(phase.get("frozen", ()))})
            for phase in table.get("phases", ())
        )
        return cls(**values)

    def phase_at(self, step: int) -> Phase | None:
        """The phase that a step belongs to, counted from 0; None where the training has none."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1] if self.phases else None


TrainingOptions.__init__ = typed(TrainingOptions.__init__)  # type: ignore[method-assign]
