"""The training loop: it steps, logs, validates and saves."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch

from statecast.data.base import DataSource, Windows, seeded_generator
from statecast.data.loading import training_batches
from statecast.distributed import (
    all_reduce_max,
    all_reduce_sum,
    is_main,
    part_of_batch,
    process_errors,
    world_size,
)
from statecast.errors import InputError, NonFiniteLossError
from statecast.evaluation.baselines import fit_statistics
from statecast.frames import Batch
from statecast.metrics import METRICS
from statecast.models.base import Forecaster, Losses
from statecast.nn.activation_checkpointing import recompute_stages
from statecast.nn.random import PartGenerator
from statecast.training.checkpoints import Checkpoint, save_checkpoint
from statecast.training.diagnostics import Diagnostics
from statecast.training.heap import keep_memory
from statecast.training.logs import SKIPPED, SilentLog, TrainingLog
from statecast.training.nonfinite import describe_batch, find_nonfinite_windows
from statecast.training.options import Phase, TrainingOptions
from statecast.training.precision import autocast, choose_precision, compile_rollout, device_of
from statecast.training.schedules import Plateau, learning_rate_at
from statecast.training.signals import Stopped, StopRequest
from statecast.training.updates import Updater, make_updaters
from statecast.training.validation import (
    check_scorable,
    check_validation,
    fit_on_validation,
    validation_score,
)

NOISE = 1  # stream of the random numbers of losses
Reason = Literal["steps", "minutes", "signal"]
REASONS: tuple[Reason, ...] = get_args(Reason)  # the last one wins if processes differ


class TrainingResult(NamedTuple):
    """How a training ended."""

    step: int  # steps done in total
    best: float | None  # best validation score; None if none was computed
    seconds: float  # of training in total, including the time before it was resumed
    reason: Reason


def check_training(model: Forecaster, data: DataSource, options: TrainingOptions) -> None:
    """Raise `InputError` unless a model can be trained and validated this way on these data."""
    metric = options.validation_metric
    check_validation(model, metric, options.validation_reduction, options.validation_ranking)
    if options.validate_every:
        check_scorable(model, data, metric, options.validation_samples)
    elif model.needs_validation_fit:
        raise InputError(
            "A model of changes from a reference weighs them on validation windows. Set "
            "validate_every, or model.reference: none."
        )
    check_phases(model, options)


def check_phases(model: Forecaster, options: TrainingOptions) -> None:
    """Raise `InputError` if a phase freezes weights that the model does not have."""
    names = [name for name, _ in model.named_parameters()]
    for phase in options.phases:
        for beginning in phase.frozen:
            if not any(name.startswith(beginning) for name in names):
                raise InputError(
                    f"The phase {phase.name!r} freezes {beginning!r}, but no weight has a name "
                    "that begins so. Names begin with "
                    f"{', '.join(sorted({n.split('.')[0] for n in names}))}."
                )


class Trainer:
    """A model in training: everything that passes from step to step, and the steps.

    Args:
        model: the model; it is trained in place, on the device of the options.
        data: the data source that gives training and validation windows.
        folder: the run folder.
        options: how to train.
        resume: checkpoint to continue from; None starts from the beginning.

    Errors:
        InputError: the options do not fit the model, the data or the checkpoint.
    """

    def __init__(
        self,
        model: Forecaster,
        data: DataSource,
        folder: Path,
        options: TrainingOptions,
        resume: Checkpoint | None = None,
    ) -> None:
        self.model, self.folder, self.options = model, folder, options
        check_training(model, data, options)
        self.device = device_of(options.device)
        self.windows: Windows = data.windows("train")
        model.to(self.device).train()
        self.phase: Phase | None = None  # that the model is set up for
        if self.device.type == "cpu":
            keep_memory()
        recompute_stages(model, options.activation_checkpointing)
        if options.compile:
            compile_rollout(model, self.device)
        self.trainable = any(weight.requires_grad for weight in model.parameters())
        # A baseline has no weights; the fit of its statistics below is its whole training.
        self.last = options.steps if self.trainable else 0
        self.part = part_of_batch(options.batch_size) if world_size() > 1 else None
        self.budget = math.inf if options.max_minutes is None else 60 * options.max_minutes
        self.step, self.seconds = 0, 0.0
        self.best: float | None = None
        self.validated = 0  # step of the last validation
        self.saved: int | None = None  # step of the last checkpoint
        self.skipped = 0
        self.plateau = Plateau()
        self.precision = choose_precision(options.precision, self.device)
        if resume is None:
            fit_statistics(model, self.windows, batch_size=options.batch_size, seed=options.seed)
        self.weights = dict(model.named_parameters())  # listed once, because it takes time
        self.updaters = (
            make_updaters(
                model, self.weights, options, device=self.device, shared=self.part is not None
            )
            if self.trainable
            else []
        )
        pending = {} if resume is None else self.restore(resume)
        self.log = (
            TrainingLog(
                folder,
                steps=self.last,
                start=self.step,
                every=options.log_every,
                tensorboard=options.tensorboard,
                pending=pending,
                budget=self.budget,
            )
            if is_main()
            else SilentLog()
        )
        self.validation = data.windows("validation") if options.validate_every else None
        self.diagnostics = self.validation and Diagnostics(
            model,
            self.validation,
            folder,
            start=self.step,
            steps=options.steps,
            batch_size=self.validation_batch_size,
            count=options.validation_windows,
            seed=options.seed,
        )

    @property
    def validation_batch_size(self) -> int:
        """Windows per batch in a validation."""
        return self.options.validation_batch_size or self.options.batch_size

    def restore(self, checkpoint: Checkpoint) -> Mapping[str, Sequence[float]]:
        """Take weights, optimiser states and position from a checkpoint; options stay the recipe's.

        Returns:
            The logged values since the last row of the log.

        Errors:
            InputError: an option has changed that a resumed training must keep.
        """
        state = checkpoint.state
        for name, value in state["fixed"].items():
            asked = getattr(self.options, name)
            if asked not in (value, "auto"):
                raise InputError(
                    f"A training must be resumed with the same {name}: it began with {value!r}, "
                    f"but the recipe says {asked!r}. Set train.{name} back, or start a new run."
                )
        try:
            self.model.load_state_dict(dict(checkpoint.model))
        except RuntimeError as error:
            raise InputError(
                "A training must be resumed with the same model: the weights in "
                f"{checkpoint.path} do not fit this one. Set the model's options back, or start a "
                f"new run. {' '.join(str(error).split())[:200]}"
            ) from error
        for updater in self.updaters:
            groups = updater.optimizer.state_dict()["param_groups"]
            saved = state["optimizers"][updater.update.name]
            updater.optimizer.load_state_dict({"state": saved, "param_groups": groups})
        self.step, self.seconds = checkpoint.step, state["seconds"]
        self.best, self.validated = state["best"], state["validated"]
        self.precision, self.saved = state["fixed"]["precision"], checkpoint.step
        self.skipped, self.plateau = state["skipped"], Plateau(**state["plateau"])
        pending: Mapping[str, Sequence[float]] = state["pending"]
        return pending

    def save(self, *, best: bool) -> None:
        """Write a checkpoint, whole or not at all; only the main process writes."""
        self.saved = self.step
        if not is_main():
            return
        self.log.flush()
        state: dict[str, Any] = {
            "optimizers": {
                updater.update.name: updater.optimizer.state_dict()["state"]
                for updater in self.updaters
            },
            "fixed": {"seed": self.options.seed, "precision": self.precision},  # as `FIXED`
            "plateau": self.plateau.state(),
            "seconds": self.seconds,
            "best": self.best,
            "validated": self.validated,
            "skipped": self.skipped,
            "pending": {name: list(values) for name, values in self.log.pending.items()},
        }
        save_checkpoint(
            self.folder,
            self.step,
            model=self.model.state_dict(),
            state=state,
            info={"validation": self.best if best else None},
            best=best,
            keep=self.options.keep_checkpoints,
        )

    def run(self) -> TrainingResult:
        """Step, log, validate and save until all steps are done, time is up, or a signal comes."""
        batches = training_batches(
            self.windows,
            range(self.step, self.last),
            batch_size=self.options.batch_size,
            seed=self.options.seed,
            loader_workers=self.options.loader_workers,
            part=self.part,
        )
        with StopRequest() as stop, self.log:
            if 0 < self.step < self.last:
                self.log.say(f"continuing after step {self.step} of {self.last}")
            return self.loop(batches, stop)

    def loop(self, batches: Iterator[Batch], stop: StopRequest) -> TrainingResult:
        """The loop of `run` over the batches of its steps."""
        options, last = self.options, self.last
        validate_every = options.validate_every or last
        checkpoint_every = options.checkpoint_every or last
        before, started = self.seconds, time.monotonic()
        reason: Reason = "steps"
        ended = self.step >= last
        owed = last and (self.step % validate_every == 0 or ended)
        if self.step and owed and self.step != self.validated:
            improved = self.validate(stop)
            if improved or self.validated == last:
                self.save(best=improved)
        if self.model.needs_validation_fit and not self.step and not ended:
            # The untrained model, which forecasts the reference, may be the best one.
            self.save(best=self.validate(stop))
        while not ended:
            try:
                with stop.interruptible():
                    batch = next(batches)
            except Stopped:
                reason = "signal"
                break
            self.log.record(self.step + 1, self.training_step(batch))
            self.step += 1
            spent = time.monotonic() - started
            self.seconds = before + spent
            reason = "signal" if stop.received else "minutes" if spent >= self.budget else "steps"
            reason = REASONS[all_reduce_max(REASONS.index(reason))]  # any process may end all
            ended = self.step == last or reason != "steps"
            # A signal may leave only seconds: save now, and validate when the training resumes.
            due = self.step % validate_every == 0 or ended
            improved = due and reason != "signal" and self.validate(stop)
            self.seconds = before + time.monotonic() - started
            if improved or ended or self.step % checkpoint_every == 0:
                self.save(best=improved)
        if last == 0:
            self.save(best=True)
        elif reason == "signal" and self.saved != self.step:
            self.save(best=False)
        if self.validated < self.step:  # a signal may have interrupted the last validation
            reason = "signal"
        elif self.step >= last:
            reason = "steps"
        return TrainingResult(self.step, self.best, self.seconds, reason)

    def training_step(self, batch: Batch) -> dict[str, float]:
        """Apply every update of one step, in order; return the values to log."""
        self.enter_phase()
        batch = batch.to(self.device, non_blocking=True)
        rate = learning_rate_at(self.step, self.options) * self.plateau.scale(self.options)
        values: dict[str, float] = {}
        skip = False
        for number, updater in enumerate(self.updaters):
            if not any(weight.requires_grad for weight in updater.weights):
                continue  # this phase freezes all of them
            prefix = "" if number == 0 else f"{updater.update.name}_"
            found, left_out = self.apply(updater, batch, rate)
            values |= {f"{prefix}{name}": value for name, value in found.items()}
            skip |= left_out
        counted = {SKIPPED: float(skip)} if self.options.max_nonfinite_steps else {}
        return values | {"learning_rate": rate} | counted

    def enter_phase(self) -> None:
        """Freeze the weights that the phase of this step freezes, and set the modes of modules."""
        phase = self.options.phase_at(self.step)
        if self.model.training and phase == self.phase:
            return
        self.model.train()
        self.phase = phase
        if phase is None:
            return
        for name, weight in self.weights.items():
            weight.requires_grad_(not name.startswith(phase.frozen))
        if phase.batch_norm == "eval":
            for name, module in self.model.named_modules():
                if name and name.startswith(phase.frozen):
                    module.eval()

    def apply(self, updater: Updater, batch: Batch, rate: float) -> tuple[dict[str, float], bool]:
        """Apply one update; return its values, and whether it was skipped as not finite."""
        for group in updater.optimizer.param_groups:
            group["lr"] = rate * updater.update.learning_rate_scale
        may_skip = self.skipped < self.options.max_nonfinite_steps
        buffers = {n: b.clone() for n, b in self.model.named_buffers()} if may_skip else {}
        terms = self.differentiate(updater, batch)
        if self.options.gradient_clip_each is not None:
            for weight in updater.weights:
                torch.nn.utils.clip_grad_norm_(weight, self.options.gradient_clip_each)
        if self.options.gradient_clip is None:
            norm = torch.nn.utils.get_total_norm(
                [weight.grad for weight in updater.weights if weight.grad is not None]
            )
        else:
            norm = torch.nn.utils.clip_grad_norm_(updater.weights, self.options.gradient_clip)
        # One transfer from the device for all values: every transfer waits for the device.
        numbers = torch.stack([*terms.values(), norm]).tolist()
        values = dict(zip([*terms, "gradient_norm"], numbers, strict=True))
        skip = self.must_skip(values, batch)
        if skip:
            for name, buffer in self.model.named_buffers():
                buffer.copy_(buffers[name])
        elif self.model.takes_update(updater.update.name):
            updater.optimizer.step()
        return values, skip

    def differentiate(self, updater: Updater, batch: Batch) -> Losses:
        """Compute the gradients of an update's loss; return its terms over the whole batch."""
        key = (self.options.seed, NOISE, self.step, *((updater.stream,) if updater.stream else ()))
        generator = seeded_generator(*key)
        if self.part is not None:
            generator = PartGenerator(generator, self.part)
        with process_errors(), warnings.catch_warnings():
            # Harmless: a 1×1 kernel has the same layout in either order of its axes.
            warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
            with autocast(self.precision, self.device):
                terms = updater.loss(batch, self.step, generator)
            for weight in self.weights.values():  # a loss may reach weights of other updates
                weight.grad = None
            terms["total"].backward()
        values = torch.stack([term.detach() for term in terms.values()])
        values = all_reduce_sum(values) / world_size()
        return dict(zip(terms, values.unbind(), strict=True))

    def must_skip(self, values: Mapping[str, float], batch: Batch) -> bool:
        """Whether to skip an update because a value is not finite.

        All processes agree, because the values are those of the whole batch.

        Errors:
            NonFiniteLossError: a value is not finite, and no more steps may be skipped.
        """
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if not bad:
            return False
        options, step = self.options, self.step
        problem = f"step {step + 1}: {', '.join(bad)} became {values[bad[-1]]}"
        indices = self.windows.training_indices(step, options.batch_size, seed=options.seed)
        if indices is not None and self.part is not None:
            indices = indices[self.part.rows]
        held = describe_batch(indices, step, options.seed, batch)
        if self.skipped < options.max_nonfinite_steps:
            self.skipped += 1
            count = f"{self.skipped} of at most {options.max_nonfinite_steps}"
            self.log.say(f"skipped {problem}; {count}. {held}")
            return True
        asked = f" Steps skipped before: {self.skipped}." if self.skipped else ""
        alone = find_nonfinite_windows(
            self.model, batch, indices, precision=self.precision, seed=options.seed, step=step
        )
        raise NonFiniteLossError(
            f"Training stopped at {problem}.{asked} {held} {alone} The last checkpoint is intact. "
            "Lower train.learning_rate, set train.gradient_clip, or skip such steps with "
            "train.max_nonfinite_steps."
        )

    def validate(self, stop: StopRequest) -> bool:
        """Validate; return whether the score is the best so far, which NaN never is.

        A signal interrupts it; the resumed training then validates.
        """
        if self.validation is None:
            self.validated = self.step
            return True
        options = self.options
        try:
            with stop.interruptible():
                fit_on_validation(
                    self.model,
                    self.validation,
                    samples=options.validation_samples,
                    batch_size=self.validation_batch_size,
                    count=options.validation_windows,
                    seed=options.seed,
                    step=self.step,
                    title="fit before validation",
                )
                score = validation_score(
                    self.model,
                    self.validation,
                    metric=options.validation_metric,
                    reduction=options.validation_reduction,
                    ranking=options.validation_ranking,
                    samples=options.validation_samples,
                    batch_size=self.validation_batch_size,
                    count=options.validation_windows,
                    seed=options.seed,
                    title="validation",
                )
                warning = self.diagnostics.record(self.step) if self.diagnostics else None
        except Stopped:
            return False
        self.validated = self.step
        if warning:
            self.log.say(warning, logging.WARNING)
        penalty = METRICS[options.validation_metric].penalty
        better = self.best is None or penalty(score.value) < penalty(self.best)
        better = better and not math.isnan(score.value)
        self.plateau.observe(better, options)
        interval = "" if math.isnan(score.half_width) else f" ± {score.half_width:.2g}"
        found = f"step {self.step}  {options.validation_metric} {score.value:.5g}{interval}"
        self.log.say(f"{found}{'  best so far' if better else ''}")
        if better:
            self.best = score.value
        return better
