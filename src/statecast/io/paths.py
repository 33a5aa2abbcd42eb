"""Paths that a user names: files, folders, patterns, and lists of them."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from statecast.errors import FileError

REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{1,2}(?!/)")  # pathlib makes one slash of two


def is_remote(path: str | Path) -> bool:
    """Whether a path names something on another machine, such as `s3://…`."""
    return REMOTE.match(str(path)) is not None


def shown_path(path: str | Path) -> str:
    """A path as its user wrote it; an address loses a slash in a `Path`, which this restores."""
    return re.sub(r":/+", "://", str(path), count=1) if is_remote(path) else str(path)


def existing_paths(path: str | Path | Sequence[str | Path]) -> list[Path]:
    """The files and folders of a path, a pattern such as `clips/*.mp4`, or a list of them.

    A path that exists is not a pattern, whatever brackets are in its name. Matches of a pattern
    come in `natural` order.

    Errors:
        FileError: nothing exists there, or a path is remote.
    """
    found: list[Path] = []
    for item in [path] if isinstance(path, str | Path) else path:
        if is_remote(item):
            raise FileError(
                f"{item} is on another machine, but only local files are read here. Download it."
            )
        if Path(item).exists():
            found.append(Path(item))
            continue
        pattern = literal_where_it_exists(Path(item))
        if not glob.has_magic(str(item)):
            raise FileError(f"There is no file or folder {item}.")
        matches = sorted(map(Path, glob.glob(pattern, recursive=True)), key=natural)  # noqa: PTH207
        if not matches:
            raise FileError(f"No file matches {item}.")
        found += matches
    return found


def literal_where_it_exists(path: Path) -> str:
    """A pattern for glob, in which leading folders that exist are taken literally."""
    for parent in path.parents:  # the longest first
        if parent.exists():
            return f"{glob.escape(str(parent))}/{path.relative_to(parent)}"
    return str(path)


def natural(path: Path) -> list[Any]:
    """Sort key that puts frame9 before frame10, and keeps the files of a folder together."""
    return [
        [(0, int(run), "") if run.isdecimal() else (1, 0, run) for run in re.split(r"(\d+)", part)]
        for part in (name.lower() for name in path.parts)
    ]
