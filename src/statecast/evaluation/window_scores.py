"""Scores of single windows, by which later comparisons of runs are paired."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from statecast.errors import CorruptionError
from statecast.io.atomic_files import sha256_of, write_bytes
from statecast.io.json_yaml import own_file

FILE_NAME = "window_scores.safetensors"


class WindowScores(NamedTuple):
    """Scores of single windows.

    A file keeps only averages over lead times, in single precision.
    """

    numbers: Int[Tensor, " window"]  # of the windows in their split
    sequences: Int[Tensor, " window"]  # that they are cut from
    values: Mapping[str, Tensor]  # by `score_key`, (window,); NaN where nothing is known

    def save(self, folder: str | Path) -> str:
        """Write them into a run folder; the digest of the file."""
        from safetensors.torch import save

        tensors = {name: value.float() for name, value in self.values.items()}
        content = {"numbers": self.numbers, "sequences": self.sequences, **tensors}
        path = write_bytes(
            Path(folder) / FILE_NAME, save({n: t.contiguous() for n, t in content.items()})
        )
        return sha256_of(path)


def score_key(forecaster: str, metric: str, selection: str) -> str:
    """Name under which scores of windows are kept."""
    return f"{forecaster}/{metric}/{selection}"


def check_window_scores(folder: str | Path, digest: str | None) -> None:
    """Raise `CorruptionError` unless the file of a run folder has the digest of its scores."""
    path = Path(folder) / FILE_NAME
    if (sha256_of(own_file(path)) if path.is_file() else None) != digest:
        raise CorruptionError(
            f"{path} is not what the scores beside it were made with. Make them again: "
            f"statecast evaluate {folder}"
        )


def read_window_scores(folder: str | Path, digest: str | None) -> WindowScores | None:
    """Scores of the windows of a run folder; None if it has none.

    Args:
        folder: the run folder.
        digest: of the file, as `scores.json` has it.

    Errors:
        CorruptionError: the file is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(folder) / FILE_NAME
    if digest is None or not path.is_file():
        return None
    check_window_scores(folder, digest)
    try:
        found = load(path.read_bytes())
        numbers, sequences = found.pop("numbers"), found.pop("sequences")
    except (SafetensorError, KeyError) as error:
        raise CorruptionError(f"{path} cannot be read: {error}.") from error
    whole = {numbers.dtype, sequences.dtype} == {torch.int64}
    if not whole or {t.shape for t in (sequences, *found.values())} - {numbers.shape}:
        raise CorruptionError(f"{path} should hold a number for each window.")
    return WindowScores(numbers, sequences, found)
