"""verify_run: every file of a run folder, compared with what was recorded of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal, NamedTuple

from statecast.errors import FileError
from statecast.evaluation.score_tables import SCORES_NAME
from statecast.io.sealed_json import (
    RECORD_NAME,
    RECORDED,
    check_recorded,
    has_seal,
    read_record,
    record_digests,
)
from statecast.runs.run import open_run
from statecast.training.checkpoint_files import (
    MANIFEST,
    MODEL_FILE,
    STATE_FILE,
    check_digest,
    read_manifest,
)
from statecast.training.checkpoint_folders import DAMAGED, FOLDER, TEMPORARY, list_checkpoints
from statecast.training.checkpoints import BEST, LAST, checked_name
from statecast.training.logs import read_log

State = Literal["ok", "FAULT", "not covered"]
UNRECORDED = "no digest was recorded of it"
OLD = "written by an earlier version, without a digest"


class Checked(NamedTuple):
    """What was found of a file."""

    state: State
    path: Path
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.state:11}  {self.path}" + (f": {self.detail}" if self.detail else "")


def verify_run(folder: str | Path) -> list[Checked]:
    """Check every file of a run folder; nothing is changed.

    Covered are the recipe and what lies beside it, checkpoints and their names, and scores: one
    changed byte in them is a fault. Logs and pictures are not covered; a log that cannot be read
    is a fault all the same.

    Args:
        folder: the run folder.

    Returns:
        A record for each file, in the order of their paths.

    Errors:
        FileError: it is no run folder.
    """
    folder = Path(folder)
    if not (folder / RECORDED[0]).is_file():
        raise FileError(f"{folder} is no run folder: it holds no {RECORDED[0]}.")
    found = [*recorded_files(folder), *scores_of(folder), *checkpoints_of(folder)]
    known = {checked.path for checked in found}
    found += [other_file(p) for p in folder.rglob("*") if p.is_file() and p not in known]
    return sorted(found, key=lambda checked: checked.path)


def accept(folder: str | Path) -> Path:
    """Record the digests of the files that a run is opened by as they are now.

    For a recipe that was edited on purpose, and for runs of earlier versions.

    Errors:
        FileError: it is no run folder.
        CorruptionError: the recipe cannot be read.
    """
    open_run(folder, checked=False)
    return record_digests(Path(folder), {})


def recorded_files(folder: Path) -> list[Checked]:
    """The recipe and what lies beside it, and the record of their digests."""
    path = folder / RECORD_NAME
    try:
        record = read_record(folder)
    except FileError as error:
        return [Checked("FAULT", path, str(error)), *unrecorded(folder)]
    if record is None:
        hint = f"{OLD}; record it: statecast verify {folder} --accept"
        return [checked._replace(detail=hint) for checked in unrecorded(folder)]
    found = [Checked("ok", path)]
    for name in RECORDED:
        if name not in record and not (folder / name).is_file():
            continue
        try:
            covered = check_recorded(folder, name)
        except FileError as error:
            found.append(Checked("FAULT", folder / name, str(error)))
        else:
            place = folder / name
            found.append(Checked("ok", place) if covered else Checked("FAULT", place, UNRECORDED))
    return found


def unrecorded(folder: Path) -> list[Checked]:
    """The files that a record would cover, were there one."""
    paths = [folder / name for name in RECORDED if (folder / name).is_file()]
    return [Checked("not covered", path, UNRECORDED) for path in paths]


def scores_of(folder: Path) -> list[Checked]:
    """The scores, where there are any."""
    path = folder / SCORES_NAME
    if not path.is_file():
        return []
    return [sealed_file(path)]


def sealed_file(path: Path) -> Checked:
    """A file of JSON that carries its digest."""
    try:
        content = path.read_bytes()
        if has_seal(content):
            return Checked("ok", path)
        json.loads(content)
    except (OSError, ValueError) as error:
        return Checked("FAULT", path, str(error))
    return Checked("not covered", path, OLD)


def checkpoints_of(folder: Path) -> list[Checked]:
    """Checkpoints, the names of the last and the best one, and what lies about."""
    found = []
    for path in list_checkpoints(folder):
        found += checkpoint_of(path)
    for which in (LAST, BEST):
        found += name_in(folder, which)
    return found


def checkpoint_of(path: Path) -> list[Checked]:
    """The files of a checkpoint."""
    try:
        manifest = read_manifest(path)
    except FileError as error:
        unread = [Checked("FAULT", path / MANIFEST, str(error))]
        return unread + [
            Checked("FAULT", path / name, f"the {MANIFEST} beside it cannot be read")
            for name in (MODEL_FILE, STATE_FILE)
            if (path / name).is_file()
        ]
    found = [sealed_file(path / MANIFEST)]
    for name in (MODEL_FILE, STATE_FILE):
        try:
            check_digest(path, name, manifest)
            found.append(Checked("ok", path / name))
        except FileError as error:
            found.append(Checked("FAULT", path / name, str(error)))
    return found


def name_in(folder: Path, which: str) -> list[Checked]:
    """The file `last` or `best`, where there is one."""
    path = folder / FOLDER / which
    try:
        name = checked_name(folder, which)
    except FileNotFoundError:
        return []
    except FileError as error:
        return [Checked("FAULT", path, str(error))]
    there = name in {place.name for place in list_checkpoints(folder)}
    if path.read_text() == f"{name}\n":
        detail = OLD if there else f"it names {name}, which is not there"
        return [Checked("not covered" if there else "FAULT", path, detail)]
    return [Checked("ok", path, "" if there else f"{name} is no longer there")]


def other_file(path: Path) -> Checked:
    """A file without a digest: a log, a picture, something left over or put there by others."""
    if TEMPORARY in path.name or any(TEMPORARY in part.name for part in path.parents):
        return Checked("not covered", path, "left by a killed process; the next training sweeps it")
    if any(part.name.startswith(DAMAGED) for part in path.parents):
        return Checked("not covered", path, "set aside as damaged")
    if path.suffix == ".csv":
        try:
            read_log(path.parent, path.name)
        except FileError as error:
            return Checked("FAULT", path, str(error))
        return Checked("not covered", path, "a log")
    return Checked("not covered", path, UNRECORDED)
