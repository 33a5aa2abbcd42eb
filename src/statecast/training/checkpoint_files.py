"""Files of one checkpoint: plain tensors, and a JSON manifest with their digests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor

from statecast.errors import CorruptionError, FileError
from statecast.io.atomic_files import sha256_of
from statecast.io.sealed_json import read_sealed, sealed
from statecast.training.checkpoint_folders import list_checkpoints, step_of

MODEL_FILE, STATE_FILE, MANIFEST = "model.safetensors", "state.safetensors", "manifest.json"
FORMAT = 1
MARK = "$"  # key of JSON objects that encode other types


def write_content(
    folder: Path,
    step: int,
    *,
    model: Mapping[str, Tensor],
    state: Mapping[str, Any],
    info: Mapping[str, Any],
    best: bool,
) -> None:
    """Write the files of a checkpoint, and a manifest with their digests."""
    tensors: dict[str, Tensor] = {}
    structure = encode(dict(state), "", tensors)
    for name, content in ((MODEL_FILE, dict(model)), (STATE_FILE, tensors)):
        write_tensors(folder / name, content)
    manifest = {
        "format": FORMAT,
        "step": step,
        "best": best,
        "torch": str(torch.__version__),
        "files": {
            name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
            for name in (MODEL_FILE, STATE_FILE)
        },
        "state": structure,
        "info": dict(info),
    }
    (folder / MANIFEST).write_text(sealed(manifest), encoding="utf-8")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors."""
    from safetensors.torch import save

    whole = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    path.write_bytes(save(whole))


def verify_checkpoint(path: Path) -> None:
    """Raise `CorruptionError` unless all files of a checkpoint match their digests."""
    manifest = read_manifest(path)
    for name in (MODEL_FILE, STATE_FILE):
        check_digest(path, name, manifest)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint."""
    try:
        manifest = read_sealed(path / MANIFEST, required=True)
        known = manifest["format"] == FORMAT
        _ = manifest["best"], [manifest["files"][n]["sha256"] for n in (MODEL_FILE, STATE_FILE)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptionError(
            f"{path / MANIFEST} is missing or damaged: {str(error).rstrip('.')}. {remedy(path)}"
        ) from error
    if not known:
        raise FileError(
            f"{path} has format {manifest['format']}; this version reads format {FORMAT}. "
            "Use the version that env.json names."
        )
    return manifest


def check_digest(path: Path, name: str, manifest: Mapping[str, Any]) -> None:
    """Raise `CorruptionError` unless a file matches its recorded digest."""
    file = path / name
    if file.is_symlink() or not file.is_file():
        raise CorruptionError(f"{file} is missing. {remedy(path)}")
    if sha256_of(file) != manifest["files"][name]["sha256"]:
        raise CorruptionError(
            f"{file} differs from its recorded digest: it is damaged or truncated. {remedy(path)}"
        )


def read_tensors(path: Path, name: str, manifest: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of one file, after its digest is checked."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_digest(path, name, manifest)
    try:
        return dict(load_file(path / name))
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CorruptionError(f"{path / name} cannot be read: {error}. {remedy(path)}") from error


def remedy(path: Path) -> str:
    """Advice about a damaged checkpoint."""
    run = path.parent.parent
    others = [p for p in list_checkpoints(run) if p != path]
    if not others:
        return "There is no other checkpoint; train again."
    return (
        f"Another checkpoint is that of step {step_of(others[-1])}: name it with --checkpoint, or "
        f"continue from it with statecast train --resume {quote(str(run))} --fallback"
    )


def encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A nested value as JSON; its tensors are collected by their path."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {MARK: "tensor", "name": name}
    if isinstance(value, dict):
        items = [[k, encode(v, f"{name}/{k}", tensors)] for k, v in value.items()]
        return {MARK: "dict", "items": items}
    if isinstance(value, list | tuple):
        items = [encode(v, f"{name}/{i}", tensors) for i, v in enumerate(value)]
        return items if isinstance(value, list) else {MARK: "tuple", "items": items}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"A checkpoint holds tensors, numbers and text, got {type(value).__name__}.")


def decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `encode`."""
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value[MARK]
    if kind == "tensor":
        return tensors[value["name"]]
    if kind == "dict":
        return {key: decode(item, tensors) for key, item in value["items"]}
    if kind == "tuple":
        return tuple(decode(item, tensors) for item in value["items"])
    raise ValueError(f"unknown mark {kind!r}")
