"""statecast import-official: turn a published checkpoint folder into a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from shlex import quote

SUMMARY = "Turn a published checkpoint folder into a run, to forecast, score and train on."
TAKES_OPTIONS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("folder", metavar="FOLDER", help="published checkpoint folder")
    parser.add_argument("--output", required=True, metavar="RUN", help="run folder to create")


def run(options: argparse.Namespace, overrides: Sequence[str]) -> int:
    """Import a published checkpoint."""
    from statecast.runs.official.import_run import import_official

    made = import_official(options.folder, options.output, overrides)
    print(f"Written: {made.folder}, {made.name} at step 0 on {made.tables['data']['name']}")
    folder = quote(str(made.folder))
    print(f"Next: statecast evaluate {folder}, or statecast train --resume {folder}")
    return 0
