"""statecast demo: draw forecasts of shipped models; then train, score and draw two small ones."""

from __future__ import annotations

import argparse

SUMMARY = "Draw forecasts of shipped models; then train two small ones, score and draw them."
GO_ON = "Stopped; nothing is lost. Run the same command to continue."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "--output", default="demo", metavar="FOLDER", help="folder for results; default: demo"
    )


def run(options: argparse.Namespace) -> int:
    """Draw shipped models; train, score and draw two small ones."""
    from statecast.cli.demo_steps import demo
    from statecast.cli.train import INTERRUPTED, STOPPED

    try:
        done = demo(options.output) is not None
    except KeyboardInterrupt:  # while it draws or scores
        print(GO_ON)
        return INTERRUPTED
    if not done:
        print(GO_ON)
    return 0 if done else STOPPED
