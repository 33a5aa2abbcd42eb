"""JSON that carries its own digest, so that no byte of it changes unnoticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from statecast.io.json_yaml import LARGEST_JSON, parse_json, read_text

KEY = "sha256"
HEAD = f'{{\n "{KEY}": "'
ALIKE = len(HEAD) - 2  # equal characters, at least, of a damaged head; with fewer it is other text


def sealed(content: Mapping[str, Any]) -> str:
    """JSON text of a mapping, whose first entry is the digest of the rest."""
    rest = json.dumps(dict(content), indent=1).removeprefix("{\n") + "\n"
    return f'{HEAD}{hashlib.sha256(rest.encode()).hexdigest()}",\n{rest}'


def has_seal(content: bytes) -> bool:
    """Whether JSON carries a digest of itself.

    Errors:
        ValueError: it carries a digest that does not match.
    """
    head = content[: len(HEAD)].decode("latin-1")
    if sum(one == other for one, other in zip(head, HEAD, strict=False)) < ALIKE:
        return False
    rest = content[len(HEAD) + 64 + len('",\n') :]
    if content != f'{HEAD}{hashlib.sha256(rest).hexdigest()}",\n'.encode() + rest:
        raise ValueError("it differs from the digest that it carries")
    return True


def read_sealed(path: Path, *, required: bool = False) -> dict[str, Any]:
    """Read a JSON file, and compare it with the digest that it carries.

    Args:
        path: the file.
        required: whether it must carry a digest.

    Errors:
        OSError: it cannot be read.
        ValueError, TypeError: it differs from its digest, or is not JSON of named values.
    """
    content = read_text(path, LARGEST_JSON).encode()
    if not has_seal(content) and required:
        raise ValueError("it carries no digest")
    found = dict(parse_json(content.decode()))
    found.pop(KEY, None)
    return found
