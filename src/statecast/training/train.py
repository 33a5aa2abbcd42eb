"""train: its options, and what they make. All chance is a function of (seed, step)."""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor

from statecast.checks import typed
from statecast.data.base import DataSource
from statecast.data.loading import training_batches
from statecast.distributed import gathered, is_main, size
from statecast.errors import InputError
from statecast.evaluation.baselines import fit_statistics
from statecast.evaluation.scoring import Selection, direction
from statecast.models.base import Forecaster
from statecast.nn.activation_checkpointing import recompute_stages
from statecast.signals import StopRequest
from statecast.training.checkpoints import Checkpoint
from statecast.training.diagnostics import Diagnostics
from statecast.training.heap import keep_memory
from statecast.training.logs import SilentLog, TrainingLog
from statecast.training.loop import Trainer, TrainingResult
from statecast.training.precision import Precision, compile_rollout, device_of
from statecast.training.schedules import Schedule, check_schedule, learning_rate_at
from statecast.training.together import Team
from statecast.training.validation import Protocol, check_validation, validation_score


@typed
def train(
    model: Forecaster,
    data: DataSource,
    folder: Path,
    *,
    steps: int = 10_000,
    batch_size: int = 32,
    learning_rate: float = 3e-4,
    betas: tuple[float, float] = (0.9, 0.999),
    schedule: Schedule = "constant",
    warmup: int = 0,
    burn_in: int = 0,
    milestones: tuple[int, ...] = (),
    factor: float = 0.5,
    gradient_clip: float | None = None,
    skip_nonfinite: int = 0,
    validate_every: int = 1000,
    validation_windows: int = 128,
    validation_batch_size: int | None = None,
    validation_samples: int = 1,
    validation_metric: str = "mse",
    validation_selection: Selection = "mean",
    validation_protocol: Protocol = "future",
    checkpoint_every: int = 1000,
    keep_checkpoints: int = 1,
    log_every: int = 50,
    max_minutes: float | None = None,
    precision: Precision = "auto",
    device: str = "auto",
    recompute: bool = False,
    compiled: bool = False,
    workers: int = 0,
    tensorboard: bool = False,
    seed: int = 1,
    resume: Checkpoint | None = None,
) -> TrainingResult:
    """Train a model; write checkpoints and logs into a run folder; mark the best by validation.

    Processes that are `joined` share every batch: all must call this with the same arguments, the
    same initial weights and data. The main one writes, and all end alike.

    Args:
        model: the model; its weights are trained in place.
        data: where training and validation windows come from; test windows are never touched.
        folder: the run folder, which exists.
        steps: optimizer steps.
        batch_size: windows per step, of all processes together.
        learning_rate: of Adam; the highest of the schedule.
        betas: Adam's decay of the first and second moments of the gradient.
        schedule: `constant`, `linear` (to 0, after `burn_in`), `milestones` or `cosine`.
        warmup: steps over which the learning rate rises to its highest.
        burn_in: constant steps before a `linear` schedule goes to 0.
        milestones: steps at which the learning rate is multiplied by `factor`.
        factor: see `milestones`.
        gradient_clip: largest norm of the gradient; longer ones are shortened to it.
        skip_nonfinite: how many steps of the whole training may be left out because their loss or
            gradient is not finite, before one stops it.
        validate_every: steps between validations; 0 for none.
        validation_windows: windows scored in a validation.
        validation_batch_size: windows at once in a validation; by default as in training. Many
            samples of many windows fill memory.
        validation_samples: samples per window in a validation.
        validation_metric: metric that ranks checkpoints.
        validation_selection: how its samples are combined, such as `best` for best of N.
        validation_protocol: `future` judges samples by forecast frames alone; `paper` chooses the
            best sample by the reconstructed context as well, as published for SRVP.
        checkpoint_every: steps between checkpoints.
        keep_checkpoints: checkpoints kept besides the best one.
        log_every: steps between rows of `metrics.csv`.
        max_minutes: stop after so many minutes of training, if steps do not end it first.
        precision: `float32`, `bf16`, or `auto`: the faster of both on this machine, measured.
        device: `auto`, `cpu`, `cuda`, …
        recompute: compute activations of a codec's stages again in the backward pass, which takes
            a third more arithmetic and much less memory.
        compiled: compile the loop of the transition with PyTorch's compiler, on a GPU into one
            graph. It takes a minute at the start, and pays on GPUs.
        workers: processes that prepare batches, for each that trains; 0 for none.
        tensorboard: whether to write TensorBoard logs as well.
        seed: all random numbers of the training follow from it.
        resume: checkpoint to go on from.

    Returns:
        How training ended. On SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 it saves after the step in
        progress, breaks a validation off, and `reason` is `signal`.

    Errors:
        InputError: an option does not fit.
        ProcessError: of several processes, another one has ended or hangs.
        NonFiniteLossError: a loss or gradient is not finite; the last good checkpoint stays, and
            the message tells the windows of the batch.
    """
    check_schedule(schedule, steps=steps, burn_in=burn_in, factor=factor)
    counts = {"steps": steps, "batch_size": batch_size, "log_every": log_every}
    for name, value in (counts | {"validation_batch_size": validation_batch_size}).items():
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}.")
    if skip_nonfinite < 0:
        raise InputError(f"skip_nonfinite must be at least 0, got {skip_nonfinite}.")
    higher_is_better = direction(validation_metric)
    check_validation(model, validation_metric, validation_selection, validation_protocol)

    def rate(step: int) -> float:
        return learning_rate_at(
            step,
            learning_rate=learning_rate,
            steps=steps,
            schedule=schedule,
            warmup=warmup,
            burn_in=burn_in,
            milestones=milestones,
            factor=factor,
        )

    def validate() -> float:
        return validation_score(
            model,
            data.windows("validation"),
            metric=validation_metric,
            selection=validation_selection,
            protocol=validation_protocol,
            samples=validation_samples,
            batch_size=validation_batch_size or batch_size,
            count=validation_windows,
            seed=seed,
        )

    windows = data.windows("train")
    model.to(device_of(device))
    if device_of(device).type == "cpu":
        keep_memory()
    recompute_stages(model, recompute)
    if compiled:
        compile_rollout(model, device_of(device))
    trainer = Trainer(
        model,
        folder,
        rate=rate,
        betas=betas,
        seed=seed,
        gradient_clip=gradient_clip,
        skip_nonfinite=skip_nonfinite,
    )

    def numbers(step: int) -> Tensor | None:
        drawn = windows.training_indices(step, batch_size, seed=seed)
        part = None if trainer.team is None else trainer.team.part
        return drawn if drawn is None or part is None else drawn[part.start : part.stop]

    trainer.numbers = numbers
    if resume is None:
        fit_statistics(model, windows, batch_size=batch_size, seed=seed)
    else:
        trainer.restore(resume)
    if size() > 1 and trainer.trainable:
        trainer.team = Team(model, batch_size)
    if resume is None:
        with trainer.together():
            trainer.choose_precision(precision, windows, batch_size)
    if validate_every:
        trainer.validate = validate
        trainer.diagnostics = Diagnostics(
            model,
            data.windows("validation"),
            folder,
            start=trainer.step,
            steps=steps,
            batch_size=validation_batch_size or batch_size,
            count=validation_windows,
            seed=seed,
        )
    trainer.higher_is_better = higher_is_better
    trainer.keep_checkpoints = keep_checkpoints
    last = steps if trainer.trainable else 0  # a baseline has nothing to descend on
    batches = training_batches(
        windows,
        range(trainer.step, last),
        batch_size=batch_size,
        seed=seed,
        workers=workers,
        part=None if trainer.team is None else trainer.team.part,
    )
    log = (
        TrainingLog(
            folder,
            steps=last,
            start=trainer.step,
            every=log_every,
            tensorboard=tensorboard,
            pending=trainer.pending,
        )
        if is_main()
        else SilentLog()
    )
    with StopRequest() as stop, log, trainer.together():
        result = trainer.run(
            batches,
            last,
            log,
            stop,
            validate_every=validate_every or last,
            checkpoint_every=checkpoint_every or last,
            budget=math.inf if max_minutes is None else 60 * max_minutes,
        )
        gathered(None)  # none leaves while the main process may still be writing
        return result
