"""Digests of the files that are needed to open a run folder, recorded beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

from statecast.errors import CorruptionError
from statecast.io.atomic_files import sha256_of, write_text
from statecast.io.json_yaml import check_own
from statecast.io.sealed_json import read_sealed, sealed

RECORD_NAME = "digests.json"
RECORDED = (
    "config.yaml",
    "env.json",
    "initial.safetensors",
    "preparation.safetensors",
    "official.json",
)


def record_digests(folder: Path, coming: Mapping[str, str]) -> Path:
    """Write the digests of the files that are needed to open a run folder.

    Args:
        folder: the run folder.
        coming: text of files that will be written next, by name.
    """
    files = {name: sha256_of(folder / name) for name in RECORDED if (folder / name).is_file()}
    files |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in coming.items()}
    return write_text(folder / RECORD_NAME, sealed({"format": 1, "files": files}))


def read_record(folder: Path) -> dict[str, str]:
    """The recorded digests, by name of file.

    Errors:
        CorruptionError: the record is missing or damaged.
    """
    path = folder / RECORD_NAME
    try:
        return dict(read_sealed(path, required=True)["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).rstrip(".")
        raise CorruptionError(
            f"{path} is missing or damaged: {reason}. Check the files of the run. If they are "
            f"right, accept them: statecast verify {quote(str(folder))} --accept"
        ) from error


def is_as_recorded(folder: Path, name: str) -> bool:
    """Whether a file of a run folder has its recorded digest, or both are missing.

    Errors:
        CorruptionError: only one of them is missing, or the record is damaged.
        FileError: the file is a link that leads out of the folder.
    """
    record, path = read_record(folder), folder / name
    check_own(path)
    if path.is_file() and name not in record:
        raise CorruptionError(f"{folder / RECORD_NAME} has no digest of {name}.")
    if name in record and not path.is_file():
        raise CorruptionError(f"{path} is missing; {RECORD_NAME} has a digest of it.")
    return name not in record or sha256_of(path) == record[name]


def check_recorded(folder: Path, name: str) -> None:
    """Raise `CorruptionError` if a file differs from its recorded digest; as `is_as_recorded`."""
    if not is_as_recorded(folder, name):
        raise CorruptionError(
            f"{folder / name} differs from its recorded digest: it is damaged, or was edited. If "
            f"you edited it on purpose, accept it: statecast verify {quote(str(folder))} --accept"
        )
