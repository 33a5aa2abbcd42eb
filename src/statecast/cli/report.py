"""statecast report: one HTML file about some runs."""

from __future__ import annotations

import argparse

SUMMARY = "Write everything known about some runs into one HTML file."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("folders", metavar="RUN", nargs="+", help="run folder")
    parser.add_argument(
        "--output",
        default="report.html",
        metavar="FILE",
        help="file to write; default: report.html",
    )
    parser.add_argument(
        "--windows", type=int, default=64, help="test windows to choose from; default 64"
    )
    parser.add_argument("--samples", type=int, default=20, help="futures per window; default 20")
    parser.add_argument("--seed", type=int, default=1, help="seed of the samples; default 1")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a number of steps")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")


def run(options: argparse.Namespace) -> int:
    """Write the report."""
    from statecast.reports.page.write_report import write_report

    path = write_report(
        options.folders,
        options.output,
        windows=options.windows,
        samples=options.samples,
        checkpoint=options.checkpoint,
        device=options.device,
        seed=options.seed,
    )
    print(f"Written: {path}, {path.stem}_pictures/")
    return 0
