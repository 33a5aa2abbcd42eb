"""Checkpoints of a run folder: plain tensors and JSON, whole or not at all, checked on opening."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from statecast.documents import check_link, read_json
from statecast.errors import CorruptionError, FileError
from statecast.files import flush_folder, sha256_of, write_text

FOLDER, LAST, BEST = "checkpoints", "last", "best"
MODEL_FILE, STATE_FILE, MANIFEST = "model.safetensors", "state.safetensors", "manifest.json"
FORMAT = 1
TEMPORARY = ".part"
MARK = "$"  # of JSON objects that stand for something else


class Checkpoint(NamedTuple):
    """What a checkpoint holds."""

    step: int
    model: dict[str, Tensor]  # weights and buffers
    state: dict[str, Any]  # optimizer and position, as it was saved
    info: dict[str, Any]  # what was noted about it
    path: Path


def save_checkpoint(
    run: Path,
    step: int,
    *,
    model: Mapping[str, Tensor],
    state: Mapping[str, Any],
    info: Mapping[str, Any],
    best: bool = False,
    keep: int = 1,
) -> Path:
    """Write a checkpoint; nothing is seen of it before all of it is on disk.

    Args:
        run: the run folder.
        step: number of steps done.
        model: weights and buffers.
        state: nested dictionaries, lists and tuples of tensors, numbers, strings, booleans, None.
        info: JSON values to note about it.
        best: whether it is the best so far.
        keep: checkpoints to keep besides the best one; older ones are removed.

    Errors:
        FileError: it cannot be written; earlier checkpoints are as they were.
    """
    folder = run / FOLDER
    target = folder / name_of(step)
    temporary = folder / f".{target.name}.{os.getpid()}{TEMPORARY}"
    try:
        folder.mkdir(exist_ok=True)
        sweep_temporaries(run)
        temporary.mkdir()
        write_content(temporary, step, model, state, info)
        if target.exists():
            discard(target)
        temporary.replace(target)
        flush_folder(folder)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise FileError(
            f"Cannot write the checkpoint {target}: {error.strerror or error}. "
            "Earlier checkpoints are intact."
        ) from error
    write_text(folder / LAST, target.name + "\n")
    if best:
        write_text(folder / BEST, target.name + "\n")
    kept = {read_name(folder / BEST), *[path.name for path in list_checkpoints(run)[-keep:]]}
    for path in list_checkpoints(run):
        if path.name not in kept:
            discard(path)
    return target


def write_content(
    folder: Path,
    step: int,
    model: Mapping[str, Tensor],
    state: Mapping[str, Any],
    info: Mapping[str, Any],
) -> None:
    """Write the files of a checkpoint, the manifest with their digests last."""
    tensors: dict[str, Tensor] = {}
    structure = encode(dict(state), "", tensors)
    for name, content in ((MODEL_FILE, dict(model)), (STATE_FILE, tensors)):
        write_tensors(folder / name, content)
    manifest = {
        "format": FORMAT,
        "step": step,
        "torch": str(torch.__version__),
        "files": {
            name: {"sha256": sha256_of(folder / name), "bytes": (folder / name).stat().st_size}
            for name in (MODEL_FILE, STATE_FILE)
        },
        "state": structure,
        "info": dict(info),
    }
    write_text(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    flush_folder(folder)


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors, flushed to disk."""
    from safetensors.torch import save

    content = save({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()})
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def load_checkpoint(run: str | Path, which: str | int = LAST) -> Checkpoint:
    """Read a checkpoint, checked against its digests.

    Args:
        run: the run folder.
        which: `last`, `best`, or a number of steps.

    Errors:
        FileError: there is no such checkpoint.
        CorruptionError: a file is missing, cut off, or differs from its digest.
    """
    path = find(Path(run), which)
    manifest = read_manifest(path)
    model, tensors = (read_tensors(path, name, manifest) for name in (MODEL_FILE, STATE_FILE))
    try:
        state = decode(manifest["state"], tensors)
        return Checkpoint(int(manifest["step"]), model, state, manifest["info"], path)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CorruptionError(f"{path / MANIFEST} is damaged: {error}. {remedy(path)}") from error


def find(run: Path, which: str | int) -> Path:
    """Folder of a checkpoint.

    Errors:
        FileError: there is none.
    """
    found = list_checkpoints(run)
    if not found:
        raise FileError(f"{run} holds no checkpoint yet. Train it first.")
    if str(which).isdigit():
        wanted = run / FOLDER / name_of(int(which))
        if wanted not in found:
            steps = ", ".join(str(step_of(path)) for path in found)
            raise FileError(f"{run} holds no checkpoint of step {which}; there are {steps}.")
        return wanted
    if which not in (LAST, BEST):
        raise FileError(f"A checkpoint is called last, best or a number of steps, not {which!r}.")
    named = read_name(run / FOLDER / str(which))
    # Killed between a checkpoint and its name: the newest complete one is the last.
    if which == LAST or named is None or run / FOLDER / named not in found:
        return found[-1]
    return run / FOLDER / named


def list_checkpoints(run: str | Path) -> list[Path]:
    """Folders of complete checkpoints, oldest first."""
    folder = Path(run) / FOLDER
    check_link(folder)
    if not folder.is_dir():
        return []
    found = [p for p in folder.glob("step=*") if p.name[5:].isdigit() and p.is_dir()]
    return sorted((p for p in found if not p.is_symlink()), key=step_of)


def verify_checkpoint(path: Path) -> None:
    """Raise `CorruptionError` unless all files of a checkpoint match their digests."""
    manifest = read_manifest(path)
    for name in (MODEL_FILE, STATE_FILE):
        check_digest(path, name, manifest)


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint."""
    try:
        manifest = read_json(path / MANIFEST)
        if manifest["format"] != FORMAT:
            raise FileError(
                f"{path} has format {manifest['format']}; this version of statecast reads "
                f"{FORMAT}. Use the version that env.json names."
            )
        _ = manifest["files"][MODEL_FILE]["sha256"], manifest["files"][STATE_FILE]["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, FileError):
            raise
        raise CorruptionError(
            f"{path / MANIFEST} is missing or damaged: {error}. {remedy(path)}"
        ) from error
    return dict(manifest)


def check_digest(path: Path, name: str, manifest: Mapping[str, Any]) -> None:
    """Raise `CorruptionError` unless a file matches its recorded digest."""
    file = path / name
    if file.is_symlink() or not file.is_file():
        raise CorruptionError(f"{file} is missing. {remedy(path)}")
    if sha256_of(file) != manifest["files"][name]["sha256"]:
        raise CorruptionError(
            f"{file} differs from its recorded digest: it is damaged or cut off. {remedy(path)}"
        )


def read_tensors(path: Path, name: str, manifest: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors of one file, after its digest is checked."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_digest(path, name, manifest)
    try:
        return dict(load_file(path / name))
    except (SafetensorError, OSError, ValueError) as error:
        raise CorruptionError(f"{path / name} cannot be read: {error}. {remedy(path)}") from error


def remedy(path: Path) -> str:
    """What to do about a damaged checkpoint."""
    others = [p for p in list_checkpoints(path.parent.parent) if p != path]
    if not others:
        return "There is no other checkpoint; train again."
    return f"The next one is that of step {step_of(others[-1])}."


def sweep_temporaries(run: str | Path) -> None:
    """Remove what killed processes left unfinished."""
    for path in (Path(run) / FOLDER).glob(f".*{TEMPORARY}"):
        owner = path.name.removesuffix(TEMPORARY).rsplit(".", 1)[-1]
        if not owner.isdigit() or int(owner) == os.getpid() or not alive(int(owner)):
            shutil.rmtree(path, ignore_errors=True)
            path.unlink(missing_ok=True) if path.is_file() else None


def alive(process: int) -> bool:
    """Whether a process of this number runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def discard(path: Path) -> None:
    """Remove a checkpoint; it loses its name first, so that no half of one is ever found."""
    hidden = path.parent / f".{path.name}.old.{os.getpid()}{TEMPORARY}"
    path.replace(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def name_of(step: int) -> str:
    """Folder name of a step's checkpoint."""
    return f"step={step:06d}"


def step_of(path: Path) -> int:
    """Step of a checkpoint's folder."""
    return int(path.name.removeprefix("step="))


def read_name(path: Path) -> str | None:
    """The checkpoint that a small text file names."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A nested value as JSON, its tensors put aside under their path."""
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
    raise TypeError(f"A checkpoint holds tensors, numbers and text, not {type(value).__name__}.")


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
