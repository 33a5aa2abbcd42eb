"""JSON and YAML of strangers: bounded, plain values alone, and no link to another file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from statecast.errors import FileError

LARGEST_JSON = 1 << 28  # bytes
LARGEST_YAML = 1 << 18  # bytes; a recipe has a few thousand


def own_file(path: Path) -> Path:
    """A file that lies where its name says: no link out of its folder, no pipe, no device.

    Errors:
        FileError: it is missing, or one of those.
    """
    check_own(path)
    if not path.exists():
        raise FileError(f"{path} is missing.")
    return path


def check_own(path: Path) -> None:
    """Raise `FileError` where a file is a link out of its folder, a pipe or a device."""
    check_link(path)
    check_regular(path)


def check_regular(path: Path) -> None:
    """Raise `FileError` for a pipe, a device or a folder: of a pipe, reading waits for ever."""
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is no regular file.")


def check_link(path: Path) -> None:
    """Raise `FileError` where a path is a link that leads out of the folder it lies in."""
    if not path.is_symlink():
        return
    target, folder = (Path(os.path.realpath(place)) for place in (path, path.parent))
    if not target.is_relative_to(folder):
        raise FileError(f"{path} is a link that leads out of its folder. Copy its target there.")


def read_text(path: Path, limit: int) -> str:
    """Text of a file of a stranger's folder, UTF-8.

    Errors:
        OSError: it cannot be read; `FileError` where it is no file of its own, or larger than
            `limit` bytes.
        ValueError: it is no text.
    """
    check_own(path)
    with path.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise FileError(f"{path} has more than {limit} bytes, and is not read.")
    return content.decode()


def read_json(path: Path) -> Any:
    """Value of a JSON file; a link that leads out of its folder is not followed.

    Errors:
        OSError: it cannot be read; `FileError` where it is no file of its own, or too large.
        ValueError: it is no JSON.
    """
    return parse_json(read_text(path, LARGEST_JSON))


def parse_json(text: str) -> Any:
    """Value of a JSON text.

    Errors:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested without end") from None


def parse_yaml(text: str) -> Any:
    """Value of a YAML text; nothing in it is built but plain values.

    Errors:
        ValueError: it is no YAML, too long, or refers to itself.
    """
    try:
        check_plain(text)
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("it is nested without end") from None
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())[:300]) from error


def check_plain(text: str) -> None:
    """Raise `ValueError` for YAML that is too long, or in which a part stands for another.

    A few lines of such references can stand for more than any memory holds.
    """
    if len(text) > LARGEST_YAML:
        raise ValueError(f"it has more than {LARGEST_YAML} letters")
    if "*" in text and any(isinstance(event, yaml.AliasEvent) for event in events_of(text)):
        raise ValueError("it refers to parts of itself (&name, *name): write them out")


def events_of(text: str) -> Iterator[yaml.Event]:
    """Parts of a YAML text, up to the first that is none."""
    try:
        yield from yaml.parse(text)
    except yaml.YAMLError:
        return
