"""statecast follow: a forecast that is rewritten whenever its source has new frames."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from statecast.cli import forecast as once

SUMMARY = "Forecast now, and again each time that the source has new frames."
TAKES_OPTIONS = True  # --data.OPTION, for reading INPUT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb: those of `forecast`, and its own."""
    once.add_arguments(parser)
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="seconds between checks of INPUT; default 10"
    )
    parser.add_argument(
        "--count", type=int, metavar="N", help="stop after N forecasts; default: never"
    )


def run(options: argparse.Namespace, overrides: Sequence[str] = ()) -> int:
    """Forecast whenever there are new frames; Ctrl-C ends it."""
    from itertools import islice

    from statecast.errors import InputError
    from statecast.forecasting.carried_state import CarriedState, why_no_state
    from statecast.forecasting.follow import follow

    if options.seconds <= 0 or (options.count is not None and options.count < 1):
        raise InputError(
            "--seconds must be positive, and --count at least 1; got "
            f"--seconds {options.seconds:g} and --count {options.count}."
        )
    if not options.input:
        raise InputError("Give INPUT: the files, Zarr stores or folders to follow.")
    predictor = once.predictor_of(options)
    steps = options.solver is not None or options.substeps is not None
    anew = why_no_state(predictor, steps=steps, times=options.times)
    carried = None
    if anew is None:
        carried = CarriedState(predictor, samples=options.samples, seed=options.seed)
    else:
        print(
            f"statecast: {anew}: each forecast starts anew from the last frames.", file=sys.stderr
        )
    write = once.writer(predictor, options, overrides, carried=carried)
    for written in islice(follow(options.input, write, seconds=options.seconds), options.count):
        once.report(written)
    return 0
