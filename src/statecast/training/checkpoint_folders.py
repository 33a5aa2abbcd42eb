"""Folders of checkpoints: put in place, found, set aside and removed, whenever one is killed."""

from __future__ import annotations

from pathlib import Path

from statecast.io.atomic_files import PART, hidden, remove, sweep
from statecast.io.json_yaml import check_link

FOLDER = "checkpoints"
PREFIX = "step="
REPLACED = ".replaced"  # the earlier one of a step, while a new one takes its place
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
        # Killed between setting one aside and the other taking its name: the first one counts.
        if int(number) not in found or not path.name.endswith(REPLACED):
            found[int(number)] = path
    return [found[step] for step in sorted(found)]


def put_in_place(temporary: Path, target: Path) -> None:
    """Give a complete checkpoint its name; at any instant the old or the new one can be found."""
    spare = target.with_name(target.name + REPLACED)
    if target.exists():
        if spare.exists():
            discard(spare)
        target.replace(spare)
    temporary.replace(target)
    if spare.exists():
        discard(spare)


def discard(path: Path) -> None:
    """Remove a checkpoint; it loses its name first, so that no half of one is ever found."""
    place = hidden(path)
    path.replace(place)
    remove(place)


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint so that it is found no more; return where it is now."""
    target = path.with_name(DAMAGED + name_of(step_of(path)))
    if target.exists():
        discard(target)
    path.replace(target)
    return target


def sweep_temporaries(run: str | Path) -> None:
    """Remove what killed processes left unfinished in a run folder; not what others now write."""
    for folder in (Path(run), Path(run) / FOLDER):
        sweep(folder)
    for spare in (Path(run) / FOLDER).glob(f"{PREFIX}*{REPLACED}"):
        if spare.with_name(spare.name.removesuffix(REPLACED)).exists():
            discard(spare)
