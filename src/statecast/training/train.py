"""train: a model learns from a data source, into a run folder. Chance follows from (seed, step)."""

from __future__ import annotations

from pathlib import Path

from statecast.checks import typed
from statecast.data.base import DataSource
from statecast.distributed import all_gather
from statecast.models.base import Forecaster
from statecast.training.checkpoints import Checkpoint
from statecast.training.loop import Trainer, TrainingResult
from statecast.training.options import TrainingOptions


@typed
def train(
    model: Forecaster,
    data: DataSource,
    folder: Path,
    options: TrainingOptions | None = None,
    *,
    resume: Checkpoint | None = None,
) -> TrainingResult:
    """Train a model; write checkpoints and logs into a run folder; mark the best by validation.

    Processes of one group share every batch: all must call this with the same arguments, the same
    initial weights and data. The main one writes, and all end alike.

    Args:
        model: the model; its weights are trained in place.
        data: where training and validation windows come from; test windows are never touched.
        folder: the run folder, which exists.
        options: how to train.
        resume: checkpoint to continue from.

    Returns:
        How training ended. On SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 it saves after the step in
        progress, breaks a validation off, and `reason` is `signal`.

    Errors:
        InputError: an option does not fit.
        ProcessError: of several processes, another one has ended or hangs.
        NonFiniteLossError: a loss or gradient is not finite; the last good checkpoint stays, and
            the message names the windows of the batch.
    """
    result = Trainer(model, data, folder, options or TrainingOptions(), resume).run()
    all_gather(None)  # none leaves while the main process may still be writing
    return result
