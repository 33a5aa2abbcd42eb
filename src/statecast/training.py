"""train: the loop. All chance is a function of (seed, step), so a resumed run is the same run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from statecast.checkpoints import Checkpoint, save_checkpoint
from statecast.data.base import DataSource, Windows, generator_of
from statecast.data.loading import training_batches
from statecast.diagnostics import Diagnostics
from statecast.errors import DivergenceError, InputError
from statecast.fitting import fit_statistics
from statecast.frames import Batch
from statecast.logs import TrainingLog
from statecast.models.base import Forecaster
from statecast.precision import Precision, autocast, choose_precision, device_of
from statecast.schedules import Schedule, check_schedule, learning_rate_at
from statecast.scoring import Selection, direction
from statecast.signals import StopRequest
from statecast.validation import Protocol, check_validation, validation_score

NOISE = 1  # stream of random numbers, apart from the data's own


class TrainingResult(NamedTuple):
    """How a training ended."""

    step: int  # steps done altogether
    best: float | None  # best validation score; None where none was computed
    seconds: float  # of training altogether, earlier parts of a resumed one included
    reason: Literal["steps", "minutes", "signal"]


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
    workers: int = 0,
    tensorboard: bool = False,
    seed: int = 1,
    resume: Checkpoint | None = None,
) -> TrainingResult:
    """Train a model; write checkpoints and logs into a run folder; mark the best by validation.

    Args:
        model: the model; its weights are trained in place.
        data: where training and validation windows come from; test windows are never touched.
        folder: the run folder, which exists.
        steps: optimizer steps.
        batch_size: windows per step.
        learning_rate: of Adam; the highest of the schedule.
        betas: Adam's decay of the first and second moments of the gradient.
        schedule: `constant`, `linear` (to 0, after `burn_in`), `milestones` or `cosine`.
        warmup: steps over which the learning rate rises to its highest.
        burn_in: constant steps before a `linear` schedule goes to 0.
        milestones: steps at which the learning rate is multiplied by `factor`.
        factor: see `milestones`.
        gradient_clip: largest norm of the gradient; longer ones are shortened to it.
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
        workers: processes that prepare batches; 0 for none.
        tensorboard: whether to write TensorBoard logs as well.
        seed: all random numbers of the training follow from it.
        resume: checkpoint to go on from.

    Returns:
        How training ended. On SIGINT or SIGTERM it saves first, and `reason` is `signal`.

    Errors:
        InputError: an option does not fit.
        DivergenceError: a loss or gradient is not finite; the last good checkpoint stays.
    """
    check_schedule(schedule, steps=steps, burn_in=burn_in, factor=factor)
    counts = {"steps": steps, "batch_size": batch_size, "log_every": log_every}
    for name, value in (counts | {"validation_batch_size": validation_batch_size}).items():
        if value is not None and value < 1:
            raise InputError(f"{name} must be at least 1, got {value}.")
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
    trainer = Trainer(model, folder, rate=rate, betas=betas, seed=seed, gradient_clip=gradient_clip)
    if resume is None:
        fit_statistics(model, windows, batch_size=batch_size, seed=seed)
        trainer.choose_precision(precision, windows, batch_size)
    else:
        trainer.restore(resume)
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
    )
    log = TrainingLog(
        folder, steps=last, start=trainer.step, every=log_every, tensorboard=tensorboard
    )
    with StopRequest() as stop, log:
        return trainer.run(
            batches,
            last,
            log,
            stop,
            validate_every=validate_every or last,
            checkpoint_every=checkpoint_every or last,
            budget=math.inf if max_minutes is None else 60 * max_minutes,
        )


class Trainer:
    """A model in training: what is carried from step to step, and one step."""

    def __init__(
        self,
        model: Forecaster,
        folder: Path,
        *,
        rate: Callable[[int], float],
        betas: tuple[float, float],
        seed: int,
        gradient_clip: float | None,
    ) -> None:
        self.model, self.folder, self.rate, self.seed = model, folder, rate, seed
        self.gradient_clip = math.inf if gradient_clip is None else gradient_clip
        self.device = next((t.device for t in model.buffers()), torch.device("cpu"))
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.trainable = bool(self.weights)
        self.optimizer = (
            torch.optim.Adam(self.weights, lr=rate(0), betas=betas, fused=True)
            if self.trainable
            else None
        )
        self.step = 0
        self.seconds = 0.0
        self.best: float | None = None
        self.validated = 0  # step of the last validation
        self.precision = "float32"
        self.validate: Callable[[], float] | None = None
        self.diagnostics: Diagnostics | None = None
        self.higher_is_better = False
        self.keep_checkpoints = 1

    def choose_precision(self, precision: Precision, windows: Windows, batch_size: int) -> None:
        """Settle the precision of the whole training."""
        if self.trainable:
            batch = windows.draw(0, batch_size, seed=self.seed).to(self.device)
            self.precision = choose_precision(precision, self.model, batch)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take weights, optimizer and position from a checkpoint."""
        self.model.load_state_dict(dict(checkpoint.model))
        state = checkpoint.state
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = checkpoint.step, state["seconds"]
        self.best, self.validated = state["best"], state["validated"]
        self.precision = state["precision"]

    def save(self, *, best: bool) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "seconds": self.seconds,
            "best": self.best,
            "validated": self.validated,
            "precision": self.precision,
        }
        save_checkpoint(
            self.folder,
            self.step,
            model=self.model.state_dict(),
            state=state,
            info={"validation": self.best if best else None},
            best=best,
            keep=self.keep_checkpoints,
        )

    def run(
        self,
        batches: Iterator[Batch],
        last: int,
        log: TrainingLog,
        stop: StopRequest,
        *,
        validate_every: int,
        checkpoint_every: int,
        budget: float,
    ) -> TrainingResult:
        """Step, log, validate and save until steps, time or a signal end it."""
        before, started = self.seconds, time.monotonic()
        reason: Literal["steps", "minutes", "signal"] = "steps"
        ended = self.step >= last
        owed = self.step % validate_every == 0 and self.step != self.validated
        if self.step and owed and self.improved(log):
            self.save(best=True)
        while not ended:
            log.record(self.step + 1, self.descend(next(batches)))
            self.step += 1
            spent = time.monotonic() - started
            self.seconds = before + spent
            if self.step < last and stop.received:
                reason = "signal"
            elif self.step < last and spent >= budget:
                reason = "minutes"
            ended = self.step == last or reason != "steps"
            # After a signal there may be seconds left: save, and validate when training goes on.
            due = self.step % validate_every == 0 or ended
            improved = due and reason != "signal" and self.improved(log)
            if improved or ended or self.step % checkpoint_every == 0:
                self.save(best=improved)
        if last == 0:
            self.save(best=True)
        return TrainingResult(self.step, self.best, self.seconds, reason)

    def descend(self, batch: Batch) -> dict[str, float]:
        """One optimizer step; values to log."""
        assert self.optimizer is not None
        rate = self.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        with autocast(self.precision, self.device):
            terms = self.model.loss(
                batch.to(self.device, non_blocking=True),
                generator_of(self.seed, NOISE, self.step),
            )
        self.optimizer.zero_grad()
        terms["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.gradient_clip)
        # One transfer for all values: each one would wait for the device.
        numbers = torch.stack([*(term.detach() for term in terms.values()), norm]).tolist()
        values = dict(zip([*terms, "gradient_norm"], numbers, strict=True))
        self.check_finite(values)
        self.optimizer.step()
        return values | {"learning_rate": rate}

    def check_finite(self, values: dict[str, float]) -> None:
        """Raise `DivergenceError` unless all values are finite, before any weight changes."""
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            raise DivergenceError(
                f"Training stopped at step {self.step + 1}: {', '.join(bad)} became "
                f"{values[bad[-1]]}. The last checkpoint is intact. Lower train.learning_rate, or "
                "set train.gradient_clip."
            )

    def improved(self, log: TrainingLog) -> bool:
        """Validate; whether the score is the best so far. A NaN never is."""
        self.validated = self.step
        if self.validate is None:
            return True
        score = self.validate()
        if self.diagnostics is not None and (warning := self.diagnostics.record(self.step)):
            log.say(warning)
        sign = 1 if self.higher_is_better else -1
        better = self.best is None or sign * score > sign * self.best
        better = better and not math.isnan(score)
        log.say(f"step {self.step}  validation {score:.5g}{'  best so far' if better else ''}")
        if better:
            self.best = score
        return better
