"""statecast score: score stored forecasts against observations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "Score a store of forecasts from many starts against observations."
TAKES_OPTIONS = True  # --evaluate.OPTION, and --data.OPTION, for reading observations
TAKES_PROCESSES = True
OPTIONS = (
    "metrics", "baselines", "batch_size", "thresholds", "regions", "seasons", "area_weights",
    "max_memory_gib", "seed",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "archive", metavar="FORECASTS", help="Zarr store or NetCDF file, as from statecast hindcast"
    )
    parser.add_argument(
        "truth", metavar="TRUTH", nargs="+", help="NetCDF files and Zarr stores of one series"
    )
    parser.add_argument("--start", metavar="DATE", help="first start; default: the first one")
    parser.add_argument("--end", metavar="DATE", help="last start; default: the last one")
    parser.add_argument(
        "--reference-period", nargs=2, metavar="DATE",
        help="first and last date to fit climatology and baselines on; default: all frames before "
        "the first start",
    )  # fmt: skip
    parser.add_argument(
        "--context", type=int, metavar="N",
        help="frames up to a start that baselines see; default: as the model, or 1",
    )  # fmt: skip
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="folder for scores.json and a picture; default: write nothing",
    )


def run(options: argparse.Namespace, overrides: Sequence[str] = ()) -> int:
    """Print the scores, and write them if a folder is given."""
    from statecast.cli.evaluate import print_scores, written_into
    from statecast.cli.forecast import options_of_tables
    from statecast.distributed import is_main, process_group
    from statecast.errors import InputError
    from statecast.evaluation.score_archive import score_archive
    from statecast.io.atomic_files import make_folder

    tables = options_of_tables(overrides, {"data", "evaluate"})
    for name in tables["evaluate"]:
        if name not in OPTIONS:
            raise InputError(
                f"This command takes --evaluate.{{{','.join(OPTIONS)}}}, got {name!r}."
            )
    folder = options.output
    if folder is not None and folder.exists() and not folder.is_dir():
        raise InputError(f"--output takes a folder for the scores; {folder} is a file.")
    with process_group():
        scores = score_archive(
            options.archive,
            tuple(options.truth),
            start=options.start,
            end=options.end,
            reference_period=options.reference_period,
            context=options.context,
            reading=tables["data"],
            **tables["evaluate"],
        )
        if not is_main():
            return 0
    print_scores(scores)
    if folder is not None:
        scores.save(make_folder(folder))
        print(f"Written: {', '.join(map(str, written_into(folder, scores)))}")
    return 0
