"""statecast verify: compare run folders with their recorded digests."""

from __future__ import annotations

import argparse

SUMMARY = "Compare recipe, checkpoints and scores of a run with their recorded digests."
FAULTY = 1  # exit code if a fault was found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("folders", metavar="RUN", nargs="+", help="run folder")
    parser.add_argument(
        "--accept",
        action="store_true",
        help="first record the current digests of config.yaml and the files beside it",
    )


def run(options: argparse.Namespace) -> int:
    """Check runs; print a line per file, and return 1 if there is a fault."""
    from statecast.runs.verify import accept, verify_run

    faults = 0
    for folder in options.folders:
        if options.accept:
            accept(folder)
        found = verify_run(folder)
        print("\n".join(str(checked) for checked in found))
        faults += sum(checked.state == "FAULT" for checked in found)
    whole = "no fault" if faults == 0 else f"{faults} fault{'s' if faults > 1 else ''}"
    print(f"{len(options.folders)} run{'s' if len(options.folders) > 1 else ''}: {whole} found")
    return FAULTY if faults else 0
