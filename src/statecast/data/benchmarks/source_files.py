"""The files of a data set's owner, found by name; errors say which files were expected."""

from __future__ import annotations

import re
from pathlib import Path

from statecast.errors import FileError, InputError


def require_folder(source: Path) -> None:
    """Raise `FileError` unless a source is a folder."""
    if not source.is_dir():
        hint = " Unpack it first, and name the folder." if source.is_file() else ""
        raise FileError(f"--source should be a folder of the owner's files, got {source}.{hint}")


def matching_files(
    source: Path, name: re.Pattern[str], *, expected: str
) -> dict[str, tuple[Path, re.Match[str]]]:
    """Files below a folder whose whole name matches a pattern, by name, in order of names.

    Args:
        source: the folder.
        name: the pattern.
        expected: what the folder should hold, for the error.

    Errors:
        FileError: there is no such file.
        InputError: two files have the same name.
    """
    found: dict[str, tuple[Path, re.Match[str]]] = {}
    for path in sorted(source.rglob("*")):
        match = name.fullmatch(path.name)
        if match is None or not path.is_file():
            continue
        if path.name in found:
            raise InputError(
                f"{path} and {found[path.name][0]} have the same name. Leave one of them out."
            )
        found[path.name] = (path, match)
    if not found:
        raise FileError(f"{source} holds none of {expected}.")
    return dict(sorted(found.items()))
