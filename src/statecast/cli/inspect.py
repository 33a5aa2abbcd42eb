"""statecast inspect: what a file or folder holds, and how it would be read."""

from __future__ import annotations

import argparse

SUMMARY = "Say what a file or folder holds, and how to train on it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "path", metavar="PATH", nargs="+",
        help="videos, images, an array, NetCDF, Zarr, HDF5, a run folder, a published checkpoint",
    )  # fmt: skip
    parser.add_argument("--output", metavar="FILE.png", help="draw a contact sheet as well")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="trust what videos state about themselves, and do not decode them",
    )


def run(options: argparse.Namespace) -> int:
    """Inspect a path, and print the findings."""
    from statecast.reports.inspection import inspect_path, write_sheet

    path = options.path[0] if len(options.path) == 1 else options.path
    finding = inspect_path(path, quick=options.quick)
    print(finding.text)
    if options.output:
        print(f"Written: {write_sheet(finding, options.output)}")
    return 0
