"""Manifests: what an entry of prepared data holds, as JSON under a digest of its own."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from statecast.errors import CorruptionError

FORMAT = 2  # of the manifest
SEAL = '\n "seal": "'  # the last line of a manifest begins so
END = '"\n}\n'
ARRAY, FRAMES = "values.npy", "frames.bin"  # files of entries of format 1


class OutdatedError(CorruptionError):
    """An entry has the layout of an older version, which is no longer read."""


def sealed(manifest: dict[str, Any]) -> str:
    """A manifest as text, whose last line is the digest of all that precedes it."""
    text = json.dumps({"format": FORMAT, **manifest}, indent=1)
    head = text.removesuffix("\n}") + ","
    return f"{head}{SEAL}{digest_of(head)}{END}"


def unsealed(content: bytes) -> dict[str, Any]:
    """The manifest in such a text, or in one of format 1, which has no seal.

    Errors:
        ValueError, KeyError, TypeError: it is damaged, or no manifest.
        OutdatedError: a layout that is no longer read.
    """
    text = content.decode()
    manifest: dict[str, Any]
    head, _, tail = text.rpartition(SEAL)
    if not head:
        manifest = json.loads(text)
        if "content" in manifest:
            raise ValueError("it has lost its seal")
        return checked(from_format_1(manifest))
    if tail != digest_of(head) + END:
        raise ValueError("it differs from its own digest")
    manifest = json.loads(text)
    if manifest["format"] != FORMAT:
        raise ValueError(f"it has format {manifest['format']}, this version reads {FORMAT}")
    return checked({key: manifest[key] for key in ("options", "files", "content")})


def digest_of(text: str) -> str:
    """Hexadecimal sha256 digest of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def checked(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest whose files have plain names and known digests; else `ValueError`."""
    for name, expected in manifest["files"].items():
        if "/" in name or "\\" in name or len(expected["sha256"]) != len(digest_of("")):
            raise ValueError(f"it describes no file: {name!r}")
    return manifest


def from_format_1(old: dict[str, Any]) -> dict[str, Any]:
    """A manifest of format 1, which has no seal, in the present layout.

    Errors:
        OutdatedError: frames in shards, which are made again.
    """
    options = old["options"]
    if "shards" in old:
        raise OutdatedError("frames in shards")
    if "frames" in old:  # a prepared data set
        frames = old["frames"]
        files = {FRAMES: {"bytes": frames["bytes"], "sha256": frames["sha256"]}}
        content = {key: frames[key] for key in ("shape", "dtype")}
        content |= {"sequences": old["sequences"], "notes": old.get("notes", {})}
    elif "files" in old:
        files = {name: {"bytes": None, "sha256": digest} for name, digest in old["files"].items()}
        content = {}
    else:
        files = {ARRAY: {"bytes": None, "sha256": old["sha256"]}}
        content = {"shape": old["shape"]}
    return {"options": options, "files": files, "content": content}
