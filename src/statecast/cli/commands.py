"""VERBS: the commands of `statecast`, one file each, in the order of its help."""

from __future__ import annotations

from typing import Any

# Each file has SUMMARY, add_arguments and run; it imports nothing heavy before it runs. A file with
# TAKES_OPTIONS receives `--table.option value`; one with TAKES_PROCESSES can run under torchrun.
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


def load_verb(verb: str) -> Any:
    """The module of a verb."""
    from importlib import import_module

    return import_module(f"statecast.cli.{verb.replace('-', '_')}")
