"""ROWS: the rows of the table by name, and how each is measured."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple

from plain.systems import SYSTEMS

from speed_rows import forecasting, generation, systems, training
from speed_rows.base import Build


class Row(NamedTuple):
    """One line of the table."""

    title: str
    build: Build | None = None  # of the two sides, where time or memory is measured
    kind: Literal["time", "apart", "memory", "start"] = "time"
    of: str = ""  # row whose memory is measured, or whose time in processes of their own
    command: tuple[str, ...] = ()  # what Python is started with


class Configuration(NamedTuple):
    """A published one."""

    title: str
    recipe: str


CONFIGURATIONS = {
    "srvp-digits": Configuration("SRVP, stochastic digits", "srvp-digits-stochastic"),
    "srvp-kth": Configuration("SRVP, KTH", "srvp-kth"),
    "separable-wave-100": Configuration("Separable, WaveEq-100", "separable-wave-100"),
    "separable-wave": Configuration("Separable, WaveEq", "separable-wave"),
    "separable-digits": Configuration("Separable, digits", "separable-digits"),
}
SMALL = {name: f"{name.replace('_', '-')}-digits-small" for name in SYSTEMS}
LARGE = ("convlstm-digits", "predrnn-digits", "phydnet-digits")  # published sizes
SRVP = {name: own for name, own in CONFIGURATIONS.items() if name.startswith("srvp")}
RUN = ("-c", "import sys; from statecast.cli.main import main; sys.exit(main(sys.argv[1:]))")
STARTS = {
    "import": ("import statecast", ("-c", "import statecast")),
    "help": ("statecast --help", (*RUN, "--help")),
    "train-help": ("statecast train --help", (*RUN, "train", "--help")),
    "list": ("statecast list", (*RUN, "list")),
}


def timed_rows() -> dict[str, Row]:
    """Rows whose two sides take turns."""
    rows = {
        f"train-{name}": Row(f"training step: {own.title}", partial(training.build, own.recipe))
        for name, own in CONFIGURATIONS.items()
    }
    for name, own in SRVP.items():
        best = partial(forecasting.best_of_n, own.recipe)
        rows[f"best-of-n-{name}"] = Row(f"best of N and scores: {own.title}", best)
    rows["scores"] = Row(
        "PSNR and SSIM alone", partial(forecasting.scoring, "srvp-digits-stochastic")
    )
    for name, own in CONFIGURATIONS.items():
        build = partial(forecasting.forecast, own.recipe)
        rows[f"forecast-{name}"] = Row(f"forecast: {own.title}", build)
    for name, own in CONFIGURATIONS.items():
        build = partial(forecasting.latency, own.recipe)
        rows[f"latency-{name}"] = Row(f"one future of one window: {own.title}", build)
    for name, recipe in [*SMALL.items(), *zip(LARGE, LARGE, strict=True)]:
        rows[f"train-{name}"] = Row(f"training step: {recipe}", partial(systems.training, recipe))
        rows[f"forecast-{name}"] = Row(f"forecast: {recipe}", partial(systems.forecast, recipe))
    return rows | {
        "data-digits": Row("data: stochastic digits", generation.moving_digits),
        "data-waves-lines": Row(
            "data: waves, plain by lines", partial(generation.wave_sequences, "lines")
        ),
        "data-waves": Row(
            "data: waves, plain by frames", partial(generation.wave_sequences, "slices")
        ),
    }


TIMED = timed_rows()
MEASURED_MEMORY = (
    "train-srvp-digits", "train-srvp-kth", "train-separable-wave", "best-of-n-srvp-digits",
    "best-of-n-srvp-kth",
)  # fmt: skip
MEASURED_APART = ("train-srvp-digits", "train-srvp-kth", "train-separable-wave-100")
ROWS: dict[str, Row] = {
    **TIMED,
    **{
        f"apart-{name}": Row(
            f"in processes of their own, {TIMED[name].title}", TIMED[name].build, "apart", name
        )
        for name in MEASURED_APART
    },
    **{
        f"memory-{name}": Row(f"memory, {TIMED[name].title}", TIMED[name].build, "memory", name)
        for name in MEASURED_MEMORY
    },
    **{
        f"start-{name}": Row(f"start: {title}", kind="start", command=command)
        for name, (title, command) in STARTS.items()
    },
}
