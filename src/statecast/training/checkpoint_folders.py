"""Folders of checkpoints: placed, listed, renamed and removed safely, whenever a kill comes."""

from __future__ import annotations

from pathlib import Path

from statecast.io.atomic_files import PART, hidden, remove, sweep
from statecast.io.json_yaml import check_link

FOLDER = "checkpoints"
PREFIX = "step="
REPLACED = ".replaced"  # an older checkpoint of a step while a new one takes its place
DAMAGED = "damaged-"
TEMPORARY = PART


def name_of(step: int) -> str:
    """Folder name of a step's checkpoint."""
    return f"{PREFIX}{step:06d}"


def step_of(path: Path) -> int:
    """Step of a checkpoint's folder."""
    return int(path.name.removeprefix(PREFIX).removesuffix(REPLACED))


def list_checkpoints(run: str | Path) -> list[Path]:
    """Folders of complete checkpoints, oldest first."""
    check_link(Path(run) / FOLDER)
    found: dict[int, Path] = {}
    for path in (Path(run) / FOLDER).glob(f"{PREFIX}*"):
        number = path.name.removeprefix(PREFIX).removesuffix(REPLACED)
        if not (number.isascii() and number.isdecimal()) or path.is_symlink() or not path.is_dir():
            continue
        # After a kill between the two renames, only the replaced one exists, and counts.
        if int(number) not in found or not path.name.endswith(REPLACED):
            found[int(number)] = path
    return [found[step] for step in sorted(found)]


def put_in_place(temporary: Path, target: Path) -> None:
    """Give a complete checkpoint its name; the old or the new one exists at any instant."""
    spare = target.with_name(target.name + REPLACED)
    if target.exists():
        if spare.exists():
            discard(spare)
        target.replace(spare)
    temporary.replace(target)
    if spare.exists():
        discard(spare)


def discard(path: Path) -> None:
    """Remove a checkpoint; it is renamed first, so that a partial one is never listed."""
    place = hidden(path)
    path.replace(place)
    remove(place)


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint so that it is not listed; return its new path."""
    target = path.with_name(DAMAGED + name_of(step_of(path)))
    if target.exists():
        discard(target)
    path.replace(target)
    return target


def sweep_temporaries(run: str | Path) -> None:
    """Remove unfinished files of killed processes from a run folder, not those being written."""
    for folder in (Path(run), Path(run) / FOLDER):
        sweep(folder)
    for spare in (Path(run) / FOLDER).glob(f"{PREFIX}*{REPLACED}"):
        if spare.with_name(spare.name.removesuffix(REPLACED)).exists():
            discard(spare)
