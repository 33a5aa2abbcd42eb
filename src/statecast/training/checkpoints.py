"""Checkpoints of a run folder: written whole or not at all, verified on opening."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from statecast.errors import CorruptionError, FileError
from statecast.io.atomic_files import flush, flush_folder, hidden, remove, write_errors
from statecast.training.checkpoint_files import (
    MANIFEST,
    MODEL_FILE,
    STATE_FILE,
    decode,
    read_manifest,
    read_tensors,
    remedy,
    verify_checkpoint,
    write_content,
)
from statecast.training.checkpoint_folders import (
    FOLDER,
    discard,
    list_checkpoints,
    name_of,
    put_in_place,
    set_aside,
    step_of,
    sweep_temporaries,
)

LAST, BEST = "last", "best"


class Checkpoint(NamedTuple):
    """Content of a checkpoint."""

    step: int
    model: dict[str, Tensor]  # weights and buffers
    state: dict[str, Any]  # optimisers and position
    info: dict[str, Any]  # notes
    path: Path


def save_checkpoint(
    run: Path,
    step: int,
    *,
    model: Mapping[str, Tensor],
    state: Mapping[str, Any],
    info: Mapping[str, Any],
    best: bool = False,
    keep: int = 1,
) -> Path:
    """Write a checkpoint; it becomes visible only when it is complete on disk.

    Args:
        run: the run folder.
        step: number of steps done. An existing checkpoint of that step is replaced.
        model: weights and buffers.
        state: nested dictionaries, lists and tuples of tensors, numbers, strings, booleans, None.
        info: notes, as JSON values.
        best: whether it is the best so far. If it replaces the best one, it stays the best.
        keep: number of recent checkpoints to keep, in addition to the best one.

    Errors:
        FileError: it cannot be written; earlier checkpoints are unchanged.
    """
    folder = run / FOLDER
    target = folder / name_of(step)
    best = best or is_best(target)
    temporary = hidden(target)
    try:
        with write_errors(target, advice="Earlier checkpoints are intact."):
            folder.mkdir(exist_ok=True)
            sweep_temporaries(run)
            temporary.mkdir()
            write_content(temporary, step, model=model, state=state, info=info, best=best)
            flush(temporary)
            put_in_place(temporary, target)
            flush_folder(folder)
    finally:  # also after an interrupt
        remove(temporary)
    found = list_checkpoints(run)
    kept = [target, best_of(run), *found[-keep:]]
    for path in found:
        if path not in kept:
            discard(path)
    return target


def load_checkpoint(
    run: str | Path, which: str | int = LAST, *, fallback: bool = False
) -> Checkpoint:
    """Read a checkpoint, checked against its digests.

    Args:
        run: the run folder.
        which: `last`, `best`, or a number of steps.
        fallback: whether to warn and read the newest intact one if that one is damaged.

    Errors:
        FileError: the checkpoint does not exist.
        CorruptionError: a file is missing, truncated, or differs from its digest.
    """
    try:
        return read_checkpoint(find(Path(run), which))
    except CorruptionError as error:
        if not fallback:
            raise
        other = newest_whole(Path(run))
        warnings.warn(
            f"{error} The checkpoint of step {step_of(other)} is used instead.", stacklevel=2
        )
        return read_checkpoint(other)


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a folder, checked against its digests."""
    manifest = read_manifest(path)
    model, tensors = (read_tensors(path, name, manifest) for name in (MODEL_FILE, STATE_FILE))
    try:
        state = decode(manifest["state"], tensors)
        return Checkpoint(int(manifest["step"]), model, state, manifest["info"], path)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptionError(f"{path / MANIFEST} is damaged: {error}. {remedy(path)}") from error


def find(run: Path, which: str | int) -> Path:
    """Folder of a checkpoint.

    Errors:
        FileError: the folder holds no checkpoint.
        CorruptionError: a damaged manifest hides which checkpoint is the best.
    """
    found = list_checkpoints(run)
    if not found:
        raise FileError(f"{run} holds no checkpoint yet. Train the run first.")
    if str(which).isdigit():
        for path in found:
            if step_of(path) == int(which):
                return path
        steps = ", ".join(str(step_of(path)) for path in found)
        raise FileError(f"{run} holds no checkpoint of step {which}; it holds steps {steps}.")
    if which not in (LAST, BEST):
        raise FileError(f"A checkpoint is named last, best or a number of steps, got {which!r}.")
    if which == LAST:
        return found[-1]
    return next((path for path in reversed(found) if read_manifest(path)["best"]), found[-1])


def best_of(run: Path) -> Path | None:
    """The newest checkpoint that its manifest marks as the best; None if there is none."""
    return next((path for path in reversed(list_checkpoints(run)) if is_best(path)), None)


def is_best(path: Path) -> bool:
    """Whether a checkpoint was the best when it was saved; False if its manifest is damaged."""
    try:
        return bool(read_manifest(path)["best"])
    except FileError:  # reading the checkpoint reports the damage
        return False


def newest_whole(run: Path) -> Path:
    """The newest checkpoint that matches its digests.

    Errors:
        CorruptionError: no checkpoint is intact.
    """
    for path in reversed(list_checkpoints(run)):
        try:
            verify_checkpoint(path)
        except CorruptionError:
            continue
        return path
    raise CorruptionError(f"{run} holds no intact checkpoint. Train again.")


def fall_back(run: Path) -> list[str]:
    """Rename damaged checkpoints newer than the newest intact one; return a line about each.

    Errors:
        FileError: the run has no checkpoint.
        CorruptionError: no checkpoint is intact; nothing is changed.
    """
    newest = find(run, LAST)
    whole = newest_whole(run)
    lines = []
    while newest != whole:
        place = set_aside(newest)
        lines.append(f"{newest} is damaged and was renamed to {place.name}.")
        newest = find(run, LAST)
    if lines:
        lines.append(f"Continuing from step {step_of(whole)}.")
    return lines
