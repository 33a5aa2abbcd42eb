"""Scores of single windows, which pair later comparisons of runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
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

    The file keeps only averages over lead times, in single precision.
    """

    numbers: Int[Tensor, " window"]  # number of each window in its split
    sequences: Int[Tensor, " window"]  # number of the sequence that it was cut from
    values: Mapping[str, Tensor]  # by `score_key`, (window,); NaN if nothing is known

    def save(self, folder: str | Path) -> str:
        """Write them into a run folder; return the digest of the file."""
        from safetensors.torch import save

        tensors = {name: value.float() for name, value in self.values.items()}
        content = {"numbers": self.numbers, "sequences": self.sequences, **tensors}
        path = write_bytes(
            Path(folder) / FILE_NAME, save({n: t.contiguous() for n, t in content.items()})
        )
        return sha256_of(path)


def score_key(forecaster: str, metric: str, selection: str) -> str:
    """Key of the scores of windows in a file."""
    return f"{forecaster}/{metric}/{selection}"


def check_window_scores(folder: str | Path, digest: str | None) -> None:
    """Raise `CorruptionError` unless the file of a run folder has the digest of its scores."""
    path = Path(folder) / FILE_NAME
    if (sha256_of(own_file(path)) if path.is_file() else None) != digest:
        raise CorruptionError(
            f"{path} does not match the scores beside it. Score the run again: "
            f"statecast evaluate {quote(str(folder))}"
        )


def read_window_scores(folder: str | Path, digest: str | None) -> WindowScores | None:
    """Scores of single windows of a run folder; None if it has none.

    Args:
        folder: the run folder.
        digest: digest of the file that `scores.json` records.

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
