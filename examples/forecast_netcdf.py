"""From a NetCDF file to a NetCDF file of forecasts: train, forecast a later file, open the result.

    python examples/forecast_netcdf.py

takes a minute or two on two cores. Everything is written to the folder `netcdf-example`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import xarray

import statecast
from statecast.runs.run import train_run


def sea(days: int, start: int) -> xarray.Dataset:
    """Temperatures of a sea with an island: a wave that travels east, and noise."""
    lat, lon = np.linspace(30, 45, 16), np.linspace(-30, -6, 25)
    day = start + np.arange(days)
    wave = np.sin(2 * np.pi * (lon[None, None] / 12 - day[:, None, None] / 15))
    noise = 0.2 * np.random.default_rng(0).standard_normal((start + days, 16, 25))[start:]
    values = 18 - 0.3 * (lat - 30)[None, :, None] + 1.5 * wave + noise
    values[:, 4:8, 9:13] = np.nan
    return xarray.Dataset(
        {"sst": (("time", "lat", "lon"), values.astype(np.float32), {"units": "degC"})},
        coords={
            "time": np.datetime64("2020-01-01", "ns") + day * np.timedelta64(1, "D"),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )


def main() -> None:
    """Train on 500 days, forecast the 20 that follow 30 later ones."""
    parser = argparse.ArgumentParser(description="Train on a NetCDF file and forecast a later one.")
    parser.add_argument("--folder", type=Path, default=Path("netcdf-example"))
    parser.add_argument("--steps", type=int, default=600)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    sea(500, start=0).to_netcdf(options.folder / "past.nc")
    sea(30, start=500).to_netcdf(options.folder / "recent.nc")

    # As `statecast train fields --data.path past.nc --data.variables sst` does.
    run = statecast.create_run(
        "fields",
        options.folder / "run",
        [
            f"--data.path={options.folder / 'past.nc'}",
            "--data.variables=sst",
            f"--train.steps={options.steps}",
        ],
    )
    for choice in run.inferred_options:
        print(f"{choice.what}: {choice.chosen}")
    train_run(run)

    # As `statecast forecast RUN recent.nc --horizon 20 --samples 30 --output future.nc` does.
    predictor = run.predictor("last")
    future = options.folder / "future.nc"
    statecast.forecast_file(predictor, options.folder / "recent.nc", future, horizon=20, samples=30)
    with xarray.open_dataset(future, decode_timedelta=True) as found:
        print(found)

    # Or without files, from one labelled array to another.
    recent = xarray.load_dataset(options.folder / "recent.nc")
    forecast = predictor.forecast(recent["sst"], 20, samples=30).to_xarray()
    truth = sea(20, start=530)["sst"]
    mean = forecast["sst"].mean("realization").values
    error = float(np.nanmean(np.abs(mean - truth.values)))  # without the island
    still = float(np.nanmean(np.abs(recent["sst"].values[-1] - truth.values)))
    print(f"Mean absolute error {error:.2f} degC; of the last observed frame {still:.2f} degC.")


if __name__ == "__main__":
    main()
