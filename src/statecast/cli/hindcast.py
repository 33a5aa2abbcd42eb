"""statecast hindcast: forecasts from many starts of a series, in one Zarr store."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

SUMMARY = "Forecast from many starts of a series of fields, into one Zarr store."
TAKES_OPTIONS = True  # --data.OPTION, for reading INPUT
TAKES_PROCESSES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("folder", metavar="RUN", help="run folder, or name of a shipped model")
    parser.add_argument(
        "input", metavar="INPUT", nargs="+", help="NetCDF files and Zarr stores of one series"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="store to write, .zarr; resumed if it exists",
    )
    parser.add_argument(
        "--start", metavar="DATE", help="first start; default: the earliest possible"
    )
    parser.add_argument("--end", metavar="DATE", help="last start; default: the last frame")
    parser.add_argument(
        "--every",
        default="1",
        metavar="N",
        help="frames from one start to the next, or a duration such as 5D; default 1",
    )
    parser.add_argument("--horizon", type=int, help="frames to forecast; default: as in training")
    parser.add_argument("--samples", type=int, default=1, help="futures per start; default 1")
    parser.add_argument("--seed", type=int, default=1, help="seed of the samples; default 1")
    parser.add_argument("--batch-size", type=int, default=8, help="starts at once; default 8")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a number of steps")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="scheduler of a Dask cluster that does the work"
    )


def run(options: argparse.Namespace, overrides: Sequence[str] = ()) -> int:
    """Write a hindcast, or resume one."""
    from statecast.cli.forecast import data_options
    from statecast.distributed import is_main, process_group
    from statecast.forecasting.hindcast import Hindcast, write_hindcast, written
    from statecast.runs.load import load

    with process_group():
        predictor = load(options.folder, options.checkpoint, device=options.device)
        hindcast = Hindcast(
            predictor=predictor,
            source=tuple(options.input),
            start=options.start,
            end=options.end,
            every=int(options.every) if options.every.isdecimal() else options.every,
            horizon=options.horizon or predictor.spec.horizon,
            samples=options.samples,
            seed=options.seed,
            reading=data_options(overrides),
        )
        path = write_hindcast(
            hindcast, options.output, batch_size=options.batch_size, dask=options.dask
        )
        if is_main():
            print(f"Written: {path}, {len(written(path))} starts")
    return 0
