"""statecast forecast: from a file of observed frames to a file of forecasts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from statecast.forecasting.carried_state import CarriedState
    from statecast.forecasting.forecast_file import Written
    from statecast.forecasting.predictor import Predictor
    from statecast.frames import Frames

TAKES_OPTIONS = True  # --data.OPTION, for reading INPUT
SUMMARY = "Forecast the frames that follow those of a file."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "folder",
        metavar="RUN",
        help="run folder, published checkpoint folder, or name of a shipped model",
    )
    parser.add_argument(
        "input",
        metavar="INPUT",
        nargs="*",
        help="files of observed frames, as --data.path takes them in training; without INPUT, a "
        "shipped model forecasts its example, beside the frames that followed",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="file to write: .nc, .zarr, .npz, .gif, .webp, .mp4, .png, .pdf or .svg",
    )
    parser.add_argument("--horizon", type=int, help="frames to forecast; default: as in training")
    parser.add_argument(
        "--times", type=float, nargs="+", metavar="T",
        help="instead of --horizon: times in frame intervals after the last observed frame; "
        "negative times need a reversible solver or transition",
    )  # fmt: skip
    parser.add_argument("--samples", type=int, default=1, help="futures to draw; default 1")
    parser.add_argument(
        "--context", type=int, help="last frames of INPUT to use; default: as in training"
    )
    parser.add_argument(
        "--substeps", type=int, help="solver steps per frame; default: the model's own"
    )
    parser.add_argument(
        "--solver", help="residual, euler, midpoint, heun, rk4, reversible_heun or dopri5"
    )
    parser.add_argument(
        "--quantiles", type=float, nargs="*", metavar="P",
        help="probabilities of the quantiles in .nc and .zarr; default 0.1 0.5 0.9",
    )  # fmt: skip
    parser.add_argument(
        "--picture", choices=("mosaic", "anomaly", "mean", "sample", "motion", "objects"),
        default="mosaic",
        help="content of pictures: all side by side, or as anomalies from the climatology of "
        "fields; of animations: only the mean or a sample; of .png, .pdf, .svg: motion (pknl) and "
        "objects (ddpae)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=1, help="seed of the samples; default 1")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a number of steps")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda; default auto")
    parser.add_argument(
        "--calibrated",
        action="store_true",
        help="apply the correction that `statecast calibrate` fitted",
    )
    parser.epilog = (
        "--data.OPTION VALUE changes how INPUT is read. Fields: --data.uneven_times fill, "
        "--data.missing_frames keep, --data.missing -9999, --data.sort true. Arrays: --data.axes "
        "tnyx, --data.dataset u. Videos: --data.frame_step 2."
    )


def run(options: argparse.Namespace, overrides: Sequence[str] = ()) -> int:
    """Forecast from a file to a file."""
    from statecast.data.user.array_axes import order_of
    from statecast.runs.trained.loading import example, example_context

    target = None
    if not options.input:
        options.input = [str(example_context(options.folder))]
        target = example(options.folder).target
        if options.horizon is None and options.times is None:
            options.horizon = len(target)
        overrides = [*overrides, "--data.axes", order_of("yx"[-len(target.space) :])]
    report(writer(predictor_of(options), options, overrides, target=target)())
    return 0


def predictor_of(options: argparse.Namespace) -> Predictor:
    """The model that the command names."""
    from statecast.runs.load import load_model

    return load_model(
        options.folder, options.checkpoint, device=options.device, calibrated=options.calibrated
    )


def writer(
    predictor: Predictor,
    options: argparse.Namespace,
    overrides: Sequence[str],
    *,
    carried: CarriedState | None = None,
    target: Frames | None = None,
) -> Callable[[], Written]:
    """A function that writes the requested forecast."""
    from statecast.forecasting.forecast_file import QUANTILES, forecast_file

    return partial(
        forecast_file,
        predictor,
        options.input[0] if len(options.input) == 1 else options.input,
        options.output,
        horizon=options.horizon,
        times=options.times,
        samples=options.samples,
        context=options.context,
        substeps=options.substeps,
        solver=options.solver,
        quantiles=QUANTILES if options.quantiles is None else options.quantiles,
        seed=options.seed,
        picture=options.picture,
        reading=data_options(overrides),
        carried=carried,
        target=target,
    )


def report(written: Written) -> None:
    """Print the path and shape of a forecast, and its warnings."""
    for warning in written.warnings:
        print(f"statecast: warning: {warning}", file=sys.stderr)
    shape = ", ".join(map(str, written.shape))
    print(f"Written: {written.path}, (sample, batch, time, channel, *space) = ({shape})")


def data_options(overrides: Sequence[str]) -> dict[str, object]:
    """`--data.OPTION VALUE` as options and values; errors as `options_of_tables`."""
    return options_of_tables(overrides, {"data"})["data"]


def options_of_tables(overrides: Sequence[str], tables: Set[str]) -> dict[str, dict[str, Any]]:
    """`--TABLE.OPTION VALUE` as options and values, by table.

    Errors:
        InputError: an option belongs to another table, or a value is not YAML.
    """
    from statecast.errors import InputError
    from statecast.io.json_yaml import parse_yaml
    from statecast.runs.recipes.resolve import pairs

    found: dict[str, dict[str, Any]] = {table: {} for table in tables}
    for name, text in pairs(overrides):
        table, _, option = name.partition(".")
        if table not in tables:
            takes = " and ".join(f"--{known}.OPTION" for known in sorted(tables))
            raise InputError(f"This command takes {takes}, got --{name}.")
        try:
            found[table][option] = parse_yaml(text)
        except ValueError as error:
            raise InputError(f"--{name} {text!r} is not valid YAML: {error}.") from error
    return found
