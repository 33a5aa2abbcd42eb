"""train: train a model on a data source, into a run folder."""

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
    """Train a model; write checkpoints and logs into a run folder; mark the best checkpoint.

    All random numbers depend only on the seed and the step. Several processes share each batch:
    all of them must call this function with the same arguments, initial weights and data. Only
    the main process writes.

    Args:
        model: the model; its weights are trained in place.
        data: the data source that gives training and validation windows; test windows are not
            read.
        folder: the run folder, which must exist.
        options: how to train.
        resume: checkpoint to continue from.

    Returns:
        How the training ended. On SIGINT, SIGTERM, SIGUSR1 or SIGUSR2, the training finishes the
        current step, saves, and returns with `reason` `signal`; a validation is interrupted.

    Errors:
        InputError: an option does not fit.
        ProcessError: another process has ended or hangs.
        NonFiniteLossError: a loss or gradient is not finite; the message names the windows of the
            batch, and the last checkpoint stays.
    """
    result = Trainer(model, data, folder, options or TrainingOptions(), resume).run()
    all_gather(None)  # waits until the main process has written everything
    return result
