"""statecast export-official: write a run in the published layout of its model."""

from __future__ import annotations

import argparse

SUMMARY = "Write a run's weights and settings in the published layout of its model."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("folder", metavar="RUN", help="run folder")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="folder to create")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a number of steps")


def run(options: argparse.Namespace) -> int:
    """Export a run."""
    from statecast.runs.official.export_run import export_official

    print(f"Written: {export_official(options.folder, options.output, which=options.checkpoint)}")
    return 0
