"""VERBS: the commands of `statecast`, one file each, in the order of its help."""

from __future__ import annotations

from typing import Any

# Each file says what it does (SUMMARY), takes arguments (add_arguments) and runs (run); it imports
# nothing heavy before it runs. One that has TAKES_OPTIONS passes `--table.option value` on;
# one that has TAKES_PROCESSES can be launched by torchrun.
VERBS = (
    "list",
    "data",
    "inspect",
    "train",
    "verify",
    "calibrate",
    "evaluate",
    "compare",
    "report",
    "forecast",
    "follow",
    "hindcast",
    "score",
    "swap",
    "interpolate",
    "import-official",
    "export-official",
    "demo",
)


def file_of(verb: str) -> str:
    """Name of the module of a verb."""
    return f"statecast.cli.{verb.replace('-', '_')}"


def load_verb(verb: str) -> Any:
    """The module of a verb."""
    from importlib import import_module

    return import_module(file_of(verb))
