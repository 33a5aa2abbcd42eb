"""A training that goes on where it stopped, for experiments that take long."""

from __future__ import annotations

from pathlib import Path

from statecast.runs.create import create_run
from statecast.runs.run import Run, open_run, train_run
from statecast.training.checkpoints import list_checkpoints
from statecast.training.loop import TrainingResult


def trained(recipe: str, folder: Path, options: list[str]) -> tuple[Run, TrainingResult]:
    """The run of this folder, trained to its end, whatever was done before."""
    run = open_run(folder) if folder.exists() else create_run(recipe, folder, options)
    result = train_run(run, resume=bool(list_checkpoints(folder)))
    if result.reason == "signal":
        raise SystemExit(f"Stopped at step {result.step}; start again to go on.")
    return run, result
