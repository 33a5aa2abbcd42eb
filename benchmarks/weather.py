"""Three years of a daily sea-surface field with weather noise, and the best forecast there can be.

The anomaly is carried by a steady flow, spreads, decays and is heated at random:

    θ_{t+1} = D(θ_t ∘ a) + G·a_y + ξ_t

(a the departure points of a day, D diffusion and decay, ξ white in time). The flow never changes,
so the expectation of the future is the same step without ξ, started from the present state of the
whole domain: no forecast has a lower RMSE. What is written is a part of the domain, in blocks of
cells, with a seasonal cycle, land, and noise of observation.

    python benchmarks/weather.py weather.nc
    statecast train fields --data.path weather.nc --data.variables sst --data.context 8 \
        --data.horizon 12 --data.test_horizon 12 --output RUN
    python benchmarks/weather.py weather.nc --limit RUN
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import xarray
from torch import Tensor

from statecast.data.synthetic.ocean_simulation import (
    DOMAIN,
    SIDE,
    Flow,
    OceanPhysics,
    SmoothFields,
    decay_of,
    departure,
    interpolate,
    white_noise,
)

DAYS, SPIN_UP = 1096, 100
BLOCK = 2  # cells of a side that are averaged
NOISE = 0.05  # standard deviation of an observation, °C
PHYSICS = OceanPhysics(speed=3.0, steady_share=1.0, relaxation=1 / 20, forcing=0.2, gradient=-0.05)
WARMEST_DAY = 240
START = "2001-01-01"


class Weather:
    """The simulation: one step of the anomaly, with and without its random heating.

    Args:
        seed: of everything that is drawn.
    """

    def __init__(self, seed: int) -> None:
        self.generators = [torch.Generator().manual_seed(seed)]
        displacement = departure(Flow(PHYSICS, self.generators).velocity())
        self.displacement, self.decay = displacement, decay_of(PHYSICS)
        self.heating = SmoothFields(PHYSICS.forcing_size)

    def expected(self, anomaly: Tensor) -> Tensor:
        """The anomaly (state, y, x) a day later, without heating."""
        displacement = self.displacement.expand(len(anomaly), -1, -1, -1)
        moved = interpolate(anomaly, displacement) + PHYSICS.gradient * displacement[:, 1]
        return torch.fft.irfft2(torch.fft.rfft2(moved) * self.decay, s=(DOMAIN, DOMAIN))

    def states(self, days: int) -> Tensor:
        """The anomaly of the whole domain, (day, y, x)."""
        anomaly, kept = torch.zeros(1, DOMAIN, DOMAIN), []
        for day in range(SPIN_UP + days):
            if day >= SPIN_UP:
                kept.append(anomaly[0])
            heat = PHYSICS.forcing * self.heating.spectrum(white_noise(self.generators))
            anomaly = self.expected(anomaly) + torch.fft.irfft2(heat, s=(DOMAIN, DOMAIN))
        return torch.stack(kept)


def seen(anomaly: Tensor) -> Tensor:
    """The observed part of the domain, averaged over blocks, (…, y, x)."""
    corner = anomaly[..., :SIDE, :SIDE]
    return corner.unflatten(-2, (-1, BLOCK)).unflatten(-1, (-1, BLOCK)).mean(dim=(-3, -1))


def land(seed: int) -> Tensor:
    """Where there is land: a fifth of the blocks."""
    generator = torch.Generator().manual_seed(seed + 1)
    height = torch.fft.irfft2(
        SmoothFields(40.0).spectrum(white_noise([generator])), s=(DOMAIN, DOMAIN)
    )
    blocks = seen(height)[0]
    return blocks > blocks.quantile(0.8)


def write(path: Path, seed: int) -> None:
    """Simulate, and write the file."""
    observed = seen(Weather(seed).states(DAYS))
    generator = torch.Generator().manual_seed(seed + 2)
    observed = observed + NOISE * torch.randn(observed.shape, generator=generator)
    days = np.arange(DAYS)
    season = 4 * np.cos(2 * np.pi * (days - WARMEST_DAY) / 365.25)
    values = 15 + season[:, None, None] + torch.where(land(seed), torch.nan, observed).numpy()
    side = values.shape[1]
    field = xarray.DataArray(
        values.astype(np.float32),
        dims=("time", "lat", "lon"),
        coords={
            "time": np.datetime64(START, "ns") + days * np.timedelta64(1, "D"),
            "lat": ("lat", 30 + np.arange(side) / 6, {"units": "degrees_north"}),
            "lon": ("lon", -50 + np.arange(side) / 6, {"units": "degrees_east"}),
        },
        attrs={"units": "degC", "long_name": "sea-surface temperature with weather noise"},
    )
    field.to_dataset(name="sst").to_netcdf(path)


def limit(run: Path, seed: int) -> None:
    """Print the lowest RMSE and CRPS that a forecast of the run's test windows can have."""
    from statecast.runs.run import open_run

    data = open_run(run).data()
    windows = data.windows("test")
    starts = windows.starts[:, 1] + windows.context - 1  # type: ignore[attr-defined]
    horizon = windows.length - windows.context  # type: ignore[attr-defined]
    weather = Weather(seed)
    states = weather.states(DAYS)
    wet = ~land(seed)
    forecast = states[starts]
    for lead in range(1, horizon + 1):
        forecast = weather.expected(forecast)
        error = (seen(forecast - states[starts + lead]))[:, wet]
        variance = error.square().mean(dim=0) + NOISE**2
        crps = (variance / np.pi).sqrt().mean()  # of a normal distribution of the right spread
        print(f"lead {lead:2}: RMSE at least {variance.mean().sqrt():.4f}, CRPS {crps:.4f}")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--limit", type=Path, metavar="RUN", help="a run trained on the file")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.limit is None:
        write(options.path, options.seed)
    else:
        limit(options.limit, options.seed)


if __name__ == "__main__":
    main()
