"""Run folders: made, numbered, and locked during training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from shlex import quote

from statecast.distributed import launched_rank
from statecast.errors import FileError
from statecast.io.atomic_files import remove, write_errors
from statecast.io.locks import exclusive_lock
from statecast.runs.digests import RECORD_NAME, RECORDED
from statecast.training.checkpoint_folders import TEMPORARY

LOCK_NAME = ".lock"
CONFIG_NAME, ENVIRONMENT_NAME = "config.yaml", "env.json"


def being_trained(folder: Path) -> AbstractContextManager[None]:
    """Lock a run folder for training; of processes that train together, the main one locks it."""
    if launched_rank():
        return nullcontext()
    return exclusive_lock(folder / LOCK_NAME, f"{folder} is being trained")


def check_free(folder: Path) -> None:
    """Raise `FileError` unless a folder is missing, empty, or the rest of a killed `create_run`."""
    if folder.exists() and not (folder.is_dir() and unfinished(folder)):
        raise FileError(
            f"{folder} is not empty. Choose another folder, or continue its training: "
            f"statecast train --resume {quote(str(folder))}"
        )


def unfinished(folder: Path) -> bool:
    """Whether a folder holds only what a killed `create_run` left."""
    names = {path.name for path in folder.iterdir()} - {LOCK_NAME}
    rest = {name for name in names if not (name[0] == "." and TEMPORARY in name)}
    if not rest:
        return True
    written = folder / ENVIRONMENT_NAME
    ours = {*RECORDED, RECORD_NAME} - {CONFIG_NAME}
    return rest <= ours and (not written.exists() or '"statecast"' in written.read_text())


@contextmanager
def new_folder(name: str, folder: Path | None) -> Iterator[Path]:
    """Make the folder of a new run, lock it inside the block, and remove it after an error.

    Args:
        name: of the recipe.
        folder: the folder; None for the first free `runs/NAME-1`, `-2`, …

    Errors:
        FileError: it is not empty, cannot be written, or is being made by another process.
    """
    if folder is None:
        folder, made = numbered_folder(name), True
    else:
        with write_errors(folder):
            made = not folder.exists()
            folder.mkdir(parents=True, exist_ok=True)
    try:
        with exclusive_lock(folder / LOCK_NAME, f"{folder} is being made"):
            check_free(folder)  # again: another process may have been faster
            try:
                yield folder
            except BaseException:
                for path in folder.iterdir():
                    if path.name != LOCK_NAME:
                        remove(path)
                raise
    except BaseException:
        with suppress(OSError):  # another process may have written into it
            if made:
                folder.rmdir()
        raise


def numbered_folder(name: str) -> Path:
    """Make the folder `runs/NAME-1`, or `-2`, …, the first that is free."""
    number = 1
    while True:
        folder = Path("runs") / f"{name}-{number}"
        with write_errors(folder):
            folder.parent.mkdir(exist_ok=True)
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1
