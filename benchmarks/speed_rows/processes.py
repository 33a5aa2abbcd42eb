"""Rows that are measured in processes of their own: peak memory, and time to start."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from speed_rows.base import Settings

SCRIPT = Path(__file__).parents[1] / "speed.py"


def added_bytes(row: str, side: str, settings: Settings) -> tuple[float, str]:
    """Bytes that one side of a row adds to its weights and data at most, in a new process.

    The sizes of the row come with them.
    """
    words = [sys.executable, str(SCRIPT), "--rows", row, "--memory-of", side]
    done = subprocess.run(
        [*words, *settings.arguments()], check=True, capture_output=True, text=True
    )
    number, _, sizes = done.stdout.splitlines()[-1].partition(" ")
    return float(number), sizes


def step_seconds(row: str, side: str, settings: Settings) -> tuple[float, str]:
    """Seconds of one side of a row in a new process, as `statecast train` would have it.

    The sizes of the row come with them.
    """
    words = [sys.executable, str(SCRIPT), "--rows", row, "--time-of", side]
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
