"""Rows that are measured in processes of their own: peak memory, and time to start."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from typing import Literal

from speed_rows.base import Settings

SCRIPT = Path(__file__).parents[1] / "speed.py"


def measured(
    row: str, what: Literal["memory", "time"], side: str, settings: Settings
) -> tuple[float, str]:
    """Time and memory of one side of a row in a new process, and the sizes of the row.

    Bytes that it adds to its weights and data at most; or seconds, as `statecast train` has them.
    """
    words = [sys.executable, str(SCRIPT), "--rows", row, f"--{what}-of", side]
    done = subprocess.run(
        [*words, *settings.arguments()], check=True, capture_output=True, text=True
    )
    number, _, sizes = done.stdout.splitlines()[-1].partition(" ")
    return float(number), sizes


def start_seconds(arguments: list[str]) -> float:
    """Processor time of a Python that does this and ends."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
