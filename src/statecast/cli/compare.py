"""statecast compare: runs side by side, beside published scores of the same protocol."""

from __future__ import annotations

import argparse

SUMMARY = "Set scored runs side by side, beside published scores of their protocol."
FORMAT_NAMES = ("text", "markdown", "csv", "json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("folders", metavar="RUN", nargs="+", help="run folder with scores")
    parser.add_argument(
        "--metrics", default="", metavar="A,B", help="columns, such as psnr.best,crps; default all"
    )
    parser.add_argument("--format", choices=FORMAT_NAMES, default="text", help="default text")
    parser.add_argument(
        "--published",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="published scores of the same protocol; shown by default",
    )
    parser.add_argument("--sort", metavar="METRIC", help="order by a column, best first")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from statecast.evaluation.comparability import read_runs
    from statecast.evaluation.comparison import compare
    from statecast.evaluation.comparison_formats import FORMATS

    table = compare(
        read_runs(options.folders),
        metrics=[name.strip() for name in options.metrics.split(",") if name.strip()],
        published=options.published,
        sort=options.sort,
    )
    print(FORMATS[options.format](table))
    return 0
