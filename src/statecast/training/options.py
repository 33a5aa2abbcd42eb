"""TrainingOptions: how a model is trained; the table `train` of a recipe."""

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
FIXED = ("seed", "precision")  # options that a resumed training must keep


@dataclass(frozen=True)
class Phase:
    """A part of a training in which some weights are frozen.

    Args:
        name: name in messages.
        steps: number of steps.
        frozen: weights to freeze, by the beginnings of their names (`encoder`, …).
        batch_norm: `train`, or `eval` to use, and not update, the running statistics of frozen
            parts.
    """

    name: str
    steps: int
    frozen: tuple[str, ...] = ()
    batch_norm: Literal["train", "eval"] = "train"


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """How a model is trained.

    Args:
        steps: number of optimiser steps.
        batch_size: windows per step, over all processes.
        phases: consecutive parts of the training, whose steps add up to `steps`; by default a
            single part that trains every weight.
        learning_rate: learning rate of Adam, the highest of the schedule.
        adam_betas: Adam's decay rates of the first and second moments of the gradient.
        weight_decay: L2 penalty: this number times each weight is added to its gradient.
        adam_epsilon_inside_root: whether Adam adds epsilon inside the root, see
            `InnerEpsilonAdam`.
        gradient_clip: largest norm of the gradient; longer gradients are scaled down to it.
        gradient_clip_each: largest norm of the gradient of each single weight tensor, applied
            before `gradient_clip`.
        max_nonfinite_steps: number of steps with a loss or gradient that is not finite that the
            training may skip before it stops.
        schedule: `constant`, `linear` (to 0, after `decay_start`), `milestones`, `cosine`, or
            `plateau`, which decays when `patience` validations in a row bring no improvement.
        warmup: steps over which the learning rate rises linearly to its highest.
        decay_start: steps at constant rate before the `linear` schedule decays to 0.
        milestones: steps at which the learning rate is multiplied by `decay_factor`.
        decay_factor: factor of a decay, see `milestones` and `plateau`.
        patience: validations without improvement before `plateau` decays.
        validate_every: steps between validations; 0 for none.
        validation_windows: windows per validation.
        validation_batch_size: windows per batch of a validation; by default as in training. Many
            samples need a smaller number, to save memory.
        validation_samples: samples per window in a validation.
        validation_metric: metric that ranks checkpoints.
        validation_reduction: how samples are combined into its score, such as `best` for best of
            N; by default the metric's usual way, `mean` or `ensemble`.
        validation_ranking: `future` ranks samples by their forecast frames; `paper` also uses the
            reconstructed context to choose the best sample, as published for SRVP.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: number of recent checkpoints to keep, in addition to the best one.
        log_every: steps between rows of `metrics.csv`.
        tensorboard: whether to write TensorBoard logs too.
        max_minutes: minutes of training after which to stop, even before `steps`. Reading the data,
            choosing a reference and the last validation take time beside them.
        precision: `float32`, `bf16`, or `auto`: bf16 if the hardware multiplies it.
        device: `auto`, `cpu`, `cuda`, …
        activation_checkpointing: whether the backward pass computes the activations of a codec's
            stages again, which takes a third more arithmetic and much less memory. Steps of a
            reversible transition (`reversible_heun`, `coupling`) are also undone rather than
            stored.
        compile: whether to compile the loop of the transition with PyTorch's compiler, on a GPU
            into one graph. It takes a minute at the start, and pays on GPUs.
        loader_workers: processes that prepare batches, for each training process; 0 for none.
        seed: seed of all random numbers of the training.

    Errors:
        InputError: an option is invalid, or two options contradict each other.
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
                f"decay_start must lie between 0 and steps = {self.steps}, got {self.decay_start}."
            )
        if self.schedule == "plateau" and not self.validate_every:
            raise InputError("schedule: plateau needs validations. Set validate_every.")
        if not 0 < self.decay_factor < math.inf:
            raise InputError(f"decay_factor must be positive, got {self.decay_factor}.")
        lengths = [phase.steps for phase in self.phases]
        if lengths and (sum(lengths) != self.steps or min(lengths) < 1):
            raise InputError(
                f"The steps of the phases must be positive and add up to steps = {self.steps}, got "
                f"{lengths}."
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
        """The phase of a step, counted from 0; None if the training has no phases."""
        for phase in self.phases:
            if step < phase.steps:
                return phase
            step -= phase.steps
        return self.phases[-1] if self.phases else None


TrainingOptions.__init__ = typed(TrainingOptions.__init__)  # type: ignore[method-assign]
