"""Digests of a run folder: JSON that carries its own, and a record of files that cannot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from statecast.errors import CorruptionError
from statecast.io.atomic_files import sha256_of, write_text
from statecast.io.json_yaml import LARGEST_JSON, check_own, parse_json, read_text

RECORD_NAME = "digests.json"
RECORDED = ("config.yaml", "env.json", "preparation.safetensors", "official.json")
KEY = "sha256"
HEAD = f'{{\n "{KEY}": "'
ALIKE = len(HEAD) - 2  # equal characters of a head that is damaged, and not another text


def sealed(content: Mapping[str, Any]) -> str:
    """JSON text whose first entry is the digest of all that follows it.

    So a file is written in one piece with its digest, and no byte of it changes unnoticed.
    """
    rest = json.dumps(dict(content), indent=1).removeprefix("{\n") + "\n"
    return f'{HEAD}{hashlib.sha256(rest.encode()).hexdigest()}",\n{rest}'


def has_seal(content: bytes) -> bool:
    """Whether JSON carries a digest; earlier versions, and other hands, write none.

    Errors:
        ValueError: it carries one, and differs from it.
    """
    head = content[: len(HEAD)].decode("latin-1")
    if sum(one == other for one, other in zip(head, HEAD, strict=False)) < ALIKE:
        return False
    rest = content[len(HEAD) + 64 + len('",\n') :]
    if content != f'{HEAD}{hashlib.sha256(rest).hexdigest()}",\n'.encode() + rest:
        raise ValueError("it differs from the digest that it carries")
    return True


def read_sealed(path: Path) -> dict[str, Any]:
    """The content of a JSON file, compared with the digest that it carries, if any.

    Errors:
        OSError: it cannot be read.
        ValueError, TypeError: it differs from its digest, or is no JSON of named values.
    """
    content = read_text(path, LARGEST_JSON).encode()
    has_seal(content)
    found = dict(parse_json(content.decode()))
    found.pop(KEY, None)
    return found


def record_digests(folder: Path, coming: Mapping[str, str]) -> Path:
    """Write the digests of the files that a run folder is opened by.

    Args:
        folder: the run folder.
        coming: text of files that will be written next.
    """
    files = {name: sha256_of(folder / name) for name in RECORDED if (folder / name).is_file()}
    files |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in coming.items()}
    return write_text(folder / RECORD_NAME, sealed({"format": 1, "files": files}))


def read_record(folder: Path) -> dict[str, str] | None:
    """Recorded digests by name of file; None in a folder of an earlier version.

    Errors:
        CorruptionError: the record is damaged.
    """
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        content = read_text(path, LARGEST_JSON)
        if not has_seal(content.encode()):
            raise ValueError("it carries no digest")
        return dict(parse_json(content)["files"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptionError(
            f"{path} is damaged: {error}. Look at the files of the run; if they are right: "
            f"statecast verify {folder} --accept"
        ) from error


def check_recorded(folder: Path, name: str) -> bool:
    """Whether a file of a run folder has a recorded digest, which it is compared with.

    Errors:
        CorruptionError: it differs, or the record is damaged.
    """
    record = read_record(folder)
    if record is None or name not in record:
        return False
    path = folder / name
    check_own(path)
    if not path.is_file():
        raise CorruptionError(f"{path} is missing; {RECORD_NAME} has a digest of it.")
    if sha256_of(path) != record[name]:
        raise CorruptionError(
            f"{path} differs from its recorded digest: it is damaged, or was edited. If you "
            f"edited it on purpose: statecast verify {folder} --accept"
        )
    return True
