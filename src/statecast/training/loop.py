"""The training loop: one model, its optimizer, its step; it logs, validates and saves."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from statecast.data.base import Windows, generator_of
from statecast.distributed import is_main, largest
from statecast.errors import DivergenceError
from statecast.frames import Batch
from statecast.models.base import Forecaster, Losses
from statecast.sharing import part_of
from statecast.signals import Stopped, StopRequest
from statecast.training.checkpoints import Checkpoint, save_checkpoint
from statecast.training.diagnostics import Diagnostics
from statecast.training.logs import SKIPPED, TrainingLog
from statecast.training.nonfinite import blame, describe_batch
from statecast.training.precision import Precision, autocast, choose_precision
from statecast.training.together import Team

NOISE = 1  # stream of random numbers, apart from the data's own
Reason = Literal["steps", "minutes", "signal"]
REASONS: tuple[Reason, ...] = get_args(Reason)  # from what all wait for to what does not wait


class TrainingResult(NamedTuple):
    """How a training ended."""

    step: int  # steps done altogether
    best: float | None  # best validation score; None where none was computed
    seconds: float  # of training altogether, earlier parts of a resumed one included
    reason: Reason


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
        skip_nonfinite: int = 0,
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
        self.saved: int | None = None  # step of the last checkpoint
        self.skip_nonfinite, self.skipped = skip_nonfinite, 0
        self.pending: Mapping[str, Sequence[float]] = {}  # what was not logged yet
        self.numbers: Callable[[int], Tensor | None] = lambda step: None  # windows of its batch
        self.log: TrainingLog | None = None
        self.precision = "float32"
        self.team: Team | None = None  # where processes share the batch
        self.validate: Callable[[], float] | None = None
        self.diagnostics: Diagnostics | None = None
        self.higher_is_better = False
        self.keep_checkpoints = 1

    def choose_precision(self, precision: Precision, windows: Windows, batch_size: int) -> None:
        """Settle the precision of the whole training."""
        if self.trainable:
            part = part_of(batch_size)
            batch = windows.draw_part(0, batch_size, part, seed=self.seed).to(self.device)
            self.precision = choose_precision(precision, self.model, batch)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take weights, optimizer and position from a checkpoint."""
        self.model.load_state_dict(dict(checkpoint.model))
        state = checkpoint.state
        if self.optimizer is not None:
            self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = checkpoint.step, state["seconds"]
        self.best, self.validated = state["best"], state["validated"]
        self.precision, self.saved = state["precision"], checkpoint.step
        # Earlier versions saved neither.
        self.skipped, self.pending = state.get("skipped", 0), state.get("pending", {})

    def together(self) -> AbstractContextManager[None]:
        """Context in which processes train together, where there are several."""
        return nullcontext() if self.team is None else self.team.training()

    def save(self, *, best: bool) -> None:
        """Write a checkpoint, whole or not at all; of several processes, the main one does."""
        self.saved = self.step
        if not is_main():
            return
        if self.log is not None:
            self.log.flush()
            self.pending = self.log.pending
        state: dict[str, Any] = {
            "optimizer": None if self.optimizer is None else self.optimizer.state_dict(),
            "seconds": self.seconds,
            "best": self.best,
            "validated": self.validated,
            "precision": self.precision,
            "skipped": self.skipped,
            "pending": {name: list(values) for name, values in self.pending.items()},
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
        self.log = log
        reason: Reason = "steps"
        ended = self.step >= last
        owed = self.step % validate_every == 0 or ended
        if self.step and owed and self.step != self.validated:
            improved = self.improved(log, stop)
            if improved or self.validated == last:
                self.save(best=improved)
        while not ended:
            try:
                with stop.interruptible():
                    batch = next(batches)
            except Stopped:
                reason = "signal"
                break
            log.record(self.step + 1, self.descend(batch))
            self.step += 1
            spent = time.monotonic() - started
            self.seconds = before + spent
            reason = "signal" if stop.received else "minutes" if spent >= budget else "steps"
            reason = REASONS[largest(REASONS.index(reason))]  # what one process met ends all
            ended = self.step == last or reason != "steps"
            # After a signal there may be seconds left: save, and validate when training goes on.
            due = self.step % validate_every == 0 or ended
            improved = due and reason != "signal" and self.improved(log, stop)
            if improved or ended or self.step % checkpoint_every == 0:
                self.save(best=improved)
        if last == 0:
            self.save(best=True)
        elif reason == "signal" and self.saved != self.step:
            self.save(best=False)
        if self.step >= last:  # a last validation that was broken off is still to come
            reason = "steps" if self.validated == self.step else "signal"
        return TrainingResult(self.step, self.best, self.seconds, reason)

    def descend(self, batch: Batch) -> dict[str, float]:
        """One optimizer step; values to log."""
        assert self.optimizer is not None
        rate = self.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        batch = batch.to(self.device, non_blocking=True)
        buffers = self.buffers() if self.skipped < self.skip_nonfinite else {}
        terms = self.differentiate(batch)
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.gradient_clip)
        # One transfer for all values: each one would wait for the device.
        numbers = torch.stack([*(term.detach() for term in terms.values()), norm]).tolist()
        values = dict(zip([*terms, "gradient_norm"], numbers, strict=True))
        skip = self.to_skip(values, batch)
        if skip:
            for name, buffer in self.model.named_buffers():
                buffer.copy_(buffers[name])
        else:
            self.optimizer.step()
        counted = {SKIPPED: float(skip)} if self.skip_nonfinite else {}
        return values | {"learning_rate": rate} | counted

    def differentiate(self, batch: Batch) -> Losses:
        """Set the gradients of the loss; its terms. Both are of the whole batch, shared or not."""
        assert self.optimizer is not None
        noise = generator_of(self.seed, NOISE, self.step)
        if self.team is None:
            with autocast(self.precision, self.device):
                terms = self.model.loss(batch, step=self.step, generator=noise)
            self.optimizer.zero_grad()
            terms["total"].backward()
            return terms
        with autocast(self.precision, self.device), self.team.sharing():
            noise = self.team.generator(noise)
            terms = self.model.loss(batch, step=self.step, generator=noise)
        self.optimizer.zero_grad()
        return self.team.backward(terms)

    def buffers(self) -> dict[str, Tensor]:
        """Copies of what a forward pass changes, such as running means."""
        return {name: buffer.clone() for name, buffer in self.model.named_buffers()}

    def to_skip(self, values: dict[str, float], batch: Batch) -> bool:
        """Whether to leave a step out because a value is not finite, before any weight changes.

        Of several processes all say the same, because the values are those of the whole batch.

        Errors:
            DivergenceError: a value is not finite, and no more steps may be left out.
        """
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if not bad:
            return False
        what = f"step {self.step + 1}: {', '.join(bad)} became {values[bad[-1]]}"
        drawn = self.numbers(self.step)
        held = describe_batch(drawn, self.step, self.seed, batch)
        if self.skipped < self.skip_nonfinite:
            self.skipped += 1
            if self.log is not None:
                count = f"{self.skipped} of at most {self.skip_nonfinite}"
                self.log.say(f"skipped {what}; {count}. {held}")
            return True
        asked = f" Steps skipped before: {self.skipped}." if self.skipped else ""
        # Processes share the statistics of a batch: none can look at its windows by itself.
        alone = (
            blame(self.model, batch, drawn, precision=self.precision, seed=self.seed)
            if self.team is None
            else ""
        )
        raise DivergenceError(
            f"Training stopped at {what}.{asked} {held} {alone} The last checkpoint is intact. "
            "Lower train.learning_rate, set train.gradient_clip, or leave such steps out with "
            "train.skip_nonfinite."
        )

    def improved(self, log: TrainingLog, stop: StopRequest) -> bool:
        """Validate; whether the score is the best so far. A NaN never is.

        A signal breaks it off; then it is owed by the training that goes on.
        """
        if self.validate is None:
            self.validated = self.step
            return True
        try:
            with stop.interruptible():
                score = self.validate()
                warning = None if self.diagnostics is None else self.diagnostics.record(self.step)
        except Stopped:
            return False
        self.validated = self.step
        if warning:
            log.say(warning)
        sign = 1 if self.higher_is_better else -1
        better = self.best is None or sign * score > sign * self.best
        better = better and not math.isnan(score)
        log.say(f"step {self.step}  validation {score:.5g}{'  best so far' if better else ''}")
        if better:
            self.best = score
        return better
