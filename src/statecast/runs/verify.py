"""verify_run: every file of a run folder, compared with its recorded digest."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from statecast.errors import CorruptionError, FileError
from statecast.evaluation.evaluation import SCORES_NAME
from statecast.evaluation.window_scores import FILE_NAME as WINDOW_SCORES
from statecast.evaluation.window_scores import check_window_scores
from statecast.io.sealed_json import read_sealed
from statecast.runs.calibration import CALIBRATION_NAME
from statecast.runs.digests import (
    RECORD_NAME,
    RECORDED,
    check_recorded,
    read_record,
    record_digests,
)
from statecast.runs.run import read_run
from statecast.training.checkpoint_files import (
    MANIFEST,
    MODEL_FILE,
    STATE_FILE,
    check_digest,
    read_manifest,
)
from statecast.training.checkpoint_folders import DAMAGED, TEMPORARY, list_checkpoints
from statecast.training.logs import read_log

State = Literal["ok", "FAULT", "not covered"]
UNRECORDED = "no digest of it was recorded"


class Checked(NamedTuple):
    """The result of checking a file."""

    state: State
    path: Path
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.state:11}  {self.path}" + (f": {self.detail}" if self.detail else "")


def verify_run(folder: str | Path) -> list[Checked]:
    """Check every file of a run folder; nothing is changed.

    The recipe and the files beside it, checkpoints, scores and the calibration are covered: one
    changed byte in them is a fault. Logs and pictures are not covered, but a log that cannot be
    read is a fault.

    Args:
        folder: the run folder.

    Returns:
        A record for each file, in the order of their paths.

    Errors:
        FileError: it is not a run folder.
    """
    folder = Path(folder)
    if not (folder / RECORDED[0]).is_file():
        raise FileError(f"{folder} is not a run folder: it holds no {RECORDED[0]}.")
    found = [checked(folder / RECORD_NAME, partial(read_record, folder))]
    for name in RECORDED:
        found.append(checked(folder / name, partial(check_recorded, folder, name)))
    found.append(checked(folder / SCORES_NAME, partial(check_seal, folder / SCORES_NAME)))
    found.append(checked(folder / CALIBRATION_NAME, partial(check_seal, folder / CALIBRATION_NAME)))
    found.append(checked(folder / WINDOW_SCORES, partial(check_windows, folder)))
    for path in list_checkpoints(folder):
        found += checkpoint_of(path)
    # Leave out files that are missing and need not exist.
    found = [one for one in found if one.state == "FAULT" or one.path.is_file()]
    known = {one.path for one in found}
    found += [other_file(p) for p in folder.rglob("*") if p.is_file() and p not in known]
    return sorted(found, key=lambda one: one.path)


def accept(folder: str | Path) -> Path:
    """Record the current digests of the files that are needed to open a run.

    This accepts a recipe that was edited on purpose.

    Errors:
        FileError: it is not a run folder.
        CorruptionError: the recipe cannot be read.
    """
    read_run(Path(folder))
    return record_digests(Path(folder), {})


def checked(path: Path, check: Callable[[], object]) -> Checked:
    """The outcome of a check of a file."""
    try:
        check()
    except FileError as error:
        return Checked("FAULT", path, str(error).removeprefix(f"{path} "))
    return Checked("ok", path)


def check_seal(path: Path) -> None:
    """Raise `CorruptionError` unless a JSON file, if it exists, matches its own digest."""
    try:
        if path.is_file():
            read_sealed(path, required=True)
    except (OSError, ValueError, TypeError) as error:
        raise CorruptionError(f"{path} is damaged: {error}") from error


def check_windows(folder: Path) -> None:
    """Raise `CorruptionError` unless scores of windows have the digest that the scores record."""
    try:
        content = read_sealed(folder / SCORES_NAME) if (folder / SCORES_NAME).is_file() else {}
    except (OSError, ValueError, TypeError):
        content = {}  # reported as a fault of that file
    check_window_scores(folder, content.get("window_scores"))


def checkpoint_of(path: Path) -> list[Checked]:
    """Check the files of a checkpoint."""
    try:
        manifest = read_manifest(path)
    except FileError as error:
        files = [path / name for name in (MODEL_FILE, STATE_FILE) if (path / name).is_file()]
        unread = f"the {MANIFEST} beside it cannot be read"
        return [Checked("FAULT", path / MANIFEST, str(error))] + [
            Checked("FAULT", file, unread) for file in files
        ]
    found = [Checked("ok", path / MANIFEST)]
    for name in (MODEL_FILE, STATE_FILE):
        found.append(checked(path / name, partial(check_digest, path, name, manifest)))
    return found


def other_file(path: Path) -> Checked:
    """A file without a digest: a log, a picture, a leftover, or a file of somebody else."""
    if TEMPORARY in path.name or any(TEMPORARY in part.name for part in path.parents):
        return Checked(
            "not covered", path, "left by a killed process; the next training removes it"
        )
    if any(part.name.startswith(DAMAGED) for part in path.parents):
        return Checked("not covered", path, "set aside as damaged")
    if path.suffix == ".csv":
        try:
            read_log(path.parent, path.name)
        except FileError as error:
            return Checked("FAULT", path, str(error))
        return Checked("not covered", path, "a log")
    return Checked("not covered", path, UNRECORDED)
