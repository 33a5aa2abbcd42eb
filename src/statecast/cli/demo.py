"""statecast demo: train two small models, score them and draw their forecasts."""

from __future__ import annotations

import argparse

SUMMARY = "Train two small models, score them and draw their forecasts."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("--output", default="demo", metavar="FOLDER", help="default: demo")


def run(options: argparse.Namespace) -> int:
    """Train, score and draw both models."""
    from statecast.cli.demo_steps import demo
    from statecast.cli.train import STOPPED

    return STOPPED if demo(options.output) is None else 0
