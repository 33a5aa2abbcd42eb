"""Untrusted JSON and YAML: bounded size, plain values only, no links to other files."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from statecast.errors import FileError

LARGEST_JSON = 1 << 28  # bytes
LARGEST_YAML = 1 << 18  # bytes; a recipe has a few thousand


def own_file(path: Path) -> Path:
    """Return the path of a file, unless it is a link out of its folder, a pipe or a device.

    Errors:
        FileError: it is one of these, or is missing.
    """
    check_own(path)
    if not path.exists():
        raise FileError(f"{path} is missing.")
    return path


def check_own(path: Path) -> None:
    """Raise `FileError` if a file is a link out of its folder, a pipe or a device."""
    check_link(path)
    check_regular(path)


def check_regular(path: Path) -> None:
    """Raise `FileError` for a pipe, a device or a folder; reading a pipe could wait for ever."""
    if path.exists() and not path.is_file():
        raise FileError(f"{path} is not a regular file.")


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file, at most `count`.

    Errors:
        FileError: it is missing, cannot be read, or is not a regular file.
    """
    check_regular(path)
    try:
        with path.open("rb") as stream:
            return stream.read(count)
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}.") from error
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}.") from error


def check_link(path: Path) -> None:
    """Raise `FileError` for a link that leads out of its folder."""
    if path.is_symlink():
        target, folder = (Path(os.path.realpath(place)) for place in (path, path.parent))
        if not target.is_relative_to(folder):
            raise FileError(
                f"{path} is a link that leads out of its folder. Copy its target into the folder."
            )


def read_text(path: Path, limit: int) -> str:
    """Read UTF-8 text from a file in an untrusted folder.

    Errors:
        FileError: it is a link out of its folder, not a regular file, or larger than `limit`.
        OSError, ValueError: it cannot be read, or is not text.
    """
    with own_file(path).open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise FileError(f"{path} is not read, because it has more than {limit} bytes.")
    return content.decode()


def read_json(path: Path) -> Any:
    """Read the value of a JSON file; errors as `read_text`, and ValueError if it is not JSON."""
    return parse_json(read_text(path, LARGEST_JSON))


def parse_json(text: str) -> Any:
    """Parse JSON; raise ValueError if it is not valid."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested without end") from None


def parse_yaml(text: str) -> Any:
    """Parse YAML into plain values.

    Errors:
        ValueError: it is not YAML, too long, or refers to itself.
    """
    try:
        check_plain(text)
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError("it is nested without end") from None
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, AttributeError) as error:
        raise ValueError(" ".join(str(error).split())[:300]) from error


def check_plain(text: str) -> None:
    """Raise `ValueError` for YAML that is too long or has aliases.

    A few lines of aliases can expand to more than any memory holds.
    """
    if len(text) > LARGEST_YAML:
        raise ValueError(f"it has more than {LARGEST_YAML} characters")
    if "*" in text:
        with suppress(yaml.YAMLError):  # the parser reports these
            if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
                raise ValueError("it refers to parts of itself (&name, *name): write them out")


def shipped_titles(package: str) -> dict[str, str]:
    """Names of the YAML files in one of our packages, in order, each with its first comment."""
    files = sorted(resources.files(package).iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".yaml"): file.read_text("utf-8").splitlines()[0].lstrip("# ")
        for file in files
        if file.name.endswith(".yaml")
    }
