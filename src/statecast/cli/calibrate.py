"""statecast calibrate: fit a correction to a run's forecasts."""

from __future__ import annotations

import argparse

SUMMARY = "Fit a correction of bias and spread to a run's forecasts on validation windows."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("folder", metavar="RUN", help="run folder")
    parser.add_argument("--samples", type=int, default=20, help="futures per window; default 20")
    parser.add_argument(
        "--windows",
        type=int,
        metavar="N",
        help="number of validation windows, evenly spaced; default all",
    )
    parser.add_argument(
        "--batch-size", type=int, default=16, help="windows to forecast at once; default 16"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the samples; default 1")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a number of steps")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")
    parser.epilog = (
        "`statecast forecast RUN … --calibrated`, `statecast evaluate RUN --calibrated` and "
        "statecast.load(RUN, calibrated=True) then apply the correction."
    )


def run(options: argparse.Namespace) -> int:
    """Fit the calibration, and print scores without and with it."""
    from statecast.runs.calibrate import calibrate_run
    from statecast.runs.calibration import CALIBRATION_NAME
    from statecast.runs.run import open_run

    opened = open_run(options.folder)
    found = calibrate_run(
        opened,
        which=options.checkpoint,
        samples=options.samples,
        max_windows=options.windows,
        batch_size=options.batch_size,
        device=options.device,
        seed=options.seed,
    )
    print("\n".join(found.lines()))
    print(f"Written: {opened.folder / CALIBRATION_NAME}")
    return 0
