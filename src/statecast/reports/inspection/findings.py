"""Finding: facts about a file or folder; and statistics of arrays that may be large."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

SAMPLE = 1 << 23  # values of an array in its statistics, at most


@dataclass
class Finding:
    """Findings about a file or folder.

    Attributes:
        kind: kind of file or folder.
        facts: names and values, as text.
        problems: damage, and reasons why something cannot be read.
        commands: purposes and suggested command lines.
        preview: function that makes rows of pictures, bytes (y, x, 3); None if there is nothing to
            draw.
    """

    kind: str
    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    commands: list[tuple[str, str]] = field(default_factory=list)
    preview: Callable[[], list[list[Array]]] | None = None

    def say(self, name: str, value: object) -> None:
        """Add a fact."""
        self.facts.append((name, one_line(value)))

    def warn(self, problem: object) -> None:
        """Add a problem."""
        self.problems.append(one_line(problem))

    def suggest(self, purpose: str, words: Sequence[str]) -> None:
        """Add a command line."""
        self.commands.append((purpose, shlex.join(["statecast", *words])))

    @property
    def text(self) -> str:
        """All findings, a line each."""
        width = max((len(name) for name, _ in self.facts), default=0)
        lines = [self.kind]
        lines += [f"  {name.ljust(width)}  {value}" for name, value in self.facts]
        lines += [f"  problem: {problem}" for problem in self.problems]
        lines += [f"{purpose}: {printable(command)}" for purpose, command in self.commands]
        return "\n".join(lines)


def one_line(value: object) -> str:
    """Text as one line without control characters, which names in a file may hold."""
    return printable(" ".join(str(value).split()))


def printable(text: str) -> str:
    """Text with control characters, which could move a terminal's cursor, as question marks."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def path_option(path: Path | Sequence[Path | str]) -> str:
    """One or several paths as the value of `--data.path`."""
    several = [path] if isinstance(path, Path) else path
    return str(several[0]) if len(several) == 1 else f"[{', '.join(map(str, several))}]"


def sampled(array: Any, limit: int = SAMPLE) -> tuple[Array, bool]:
    """At most about `limit` values of an array, evenly spread, and whether they are all values.

    Args:
        array: a NumPy array, or anything that slices and has a shape.
        limit: number of values.
    """
    steps, size = [], math.prod(array.shape)
    for length in array.shape:
        step = max(1, min(length, -(-size // limit)))
        steps.append(step)
        size = size // max(length, 1) * -(-length // step)
    piece = np.asarray(array[tuple(slice(None, None, step) for step in steps)])
    return piece, all(step == 1 for step in steps)


def statistics(array: Any) -> str:
    """Range, mean and missing values of an array of numbers."""
    values, whole = sampled(array)
    if values.size == 0:
        return "no values"
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    missing = values.size - known.size
    parts = ["no finite value"]
    if known.size:
        mean = float(known.mean(dtype=np.float64))
        parts = [f"from {known.min():.6g} to {known.max():.6g}, mean {mean:.4g}"]
    if missing:
        parts.append(f"{missing} NaN or infinite ({missing / values.size:.2%})")
    if not whole:
        parts.append(f"of {values.size} values evenly spread")
    return ", ".join(parts)
