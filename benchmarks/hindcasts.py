"""Cost of a hindcast: processor seconds and memory for each start, and for its scores.

    python benchmarks/hindcasts.py --side 64 --starts 16

Forecasts with an untrained model of the recipe `fields-srvp`, which takes as long as a trained one,
and scores the store. Times are those of the processor, so that busy neighbours matter little.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from statecast.evaluation.score_archive import score_archive
from statecast.forecasting.hindcast import Hindcast, write_hindcast
from statecast.runs.create import create_run
from statecast.runs.load import load
from statecast.runs.run import train_run

DAYS = 400
SHORT = ["--train.steps=1", "--train.warmup=0", "--train.validate_every=0", "--data.context=8",
         "--data.horizon=12", "--model.reference=none"]  # fmt: skip


def write_series(path: Path, side: int) -> Path:
    """Noise on a grid, for it takes as long as weather."""
    noise = np.random.default_rng(0).standard_normal((DAYS, side, side), dtype=np.float32)
    days = np.datetime64("2001-01-01", "ns") + np.arange(DAYS) * np.timedelta64(1, "D")
    along = np.arange(side) / 4
    coordinates = {"time": days, "lat": along, "lon": along}
    series = xarray.Dataset({"t": (("time", "lat", "lon"), noise)}, coords=coordinates)
    series.to_zarr(path, encoding={"t": {"chunks": (8, side, side)}}, zarr_format=2)
    return path


def seconds_of(work: Callable[[], Any]) -> float:
    """Seconds of all processors that a call takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=64, help="points a side")
    parser.add_argument("--starts", type=int, default=16)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--horizon", type=int, default=30)
    known = parser.parse_args()
    starts, samples, horizon = known.starts, known.samples, known.horizon
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series = write_series(folder / "series.zarr", known.side)
        run = create_run("fields-srvp", folder / "run", [*SHORT, f"--data.path={series}"])
        train_run(run)
        last = np.datetime64("2001-12-01") + starts - 1
        hindcast = Hindcast(
            predictor=load(run.folder, "last"), source=(str(series),), start="2001-12-01",
            end=str(last), horizon=horizon, samples=samples,
        )  # fmt: skip
        store = folder / "hindcast.zarr"
        forecast = seconds_of(lambda: write_hindcast(hindcast, store)) / starts
        size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file()) / starts
        metrics = ("rmse", "bias", "crps", "spread_skill")
        score = seconds_of(lambda: score_archive(store, str(series), metrics=metrics, baselines=()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    values = samples * horizon * known.side**2
    print("| a start | values | MB stored | forecast and written / s | scored / s |")
    print("|---|---|---|---|---|")
    print(
        f"| {samples} × {horizon} × {known.side}×{known.side} | {values / 1e6:.2f} million | "
        f"{size / 1e6:.1f} | {forecast:.2f} | {score / starts:.2f} |"
    )
    print(f"\nPeak memory of all of it: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
