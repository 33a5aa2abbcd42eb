"""A synthetic ocean: zones simulated once, in files like the published ones."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from statecast.data.base import seeded_generator
from statecast.data.benchmarks.sst_files import DAYS_OF_YEAR, PURPOSE, write_zone
from statecast.data.cache.entries import folder_or_make
from statecast.data.progress import progress_bar
from statecast.data.synthetic.ocean_simulation import (
    DOMAIN,
    SIDE,
    OceanPhysics,
    SmoothFields,
    simulate,
    white_noise,
)
from statecast.errors import require

VERSION = 1  # changes when the same options give other files
START = "2006-01-01"
AT_ONCE = 8  # zones simulated together
STREAM = 7  # random stream, not shared with windows
SPACING = 1 / 12  # degrees of a cell
WARMEST_DAY = 240  # of the year; the sea lags behind the sun
NOISE = 0.03  # standard deviation of observations, °C
LAND_LEVEL = 1.0  # standard deviations of a smooth random field above which there is land
SHELF = 0.7  # standard deviations below that level over which the flow comes to rest
LAND_SIZE = 40.0  # wavelength in cells where the spectrum of the land bends


class Ocean(NamedTuple):
    """Options that determine the files of an ocean.

    Args:
        zones: number of zones.
        days: days of each zone.
        land_zones: number of zones, the first ones, that have coasts and islands.
        trained: number of days, the first ones, for the standard deviation of the climatology.
        seed: seed of all zones.
    """

    zones: int
    days: int
    land_zones: int
    trained: int
    seed: int


def ocean_folder(ocean: Ocean) -> Path:
    """Folder of the zones of an ocean, from the cache or simulated.

    Errors:
        MissingExtraError: netCDF4 is not installed.
        CorruptionError, FileError: as `folder_or_make`.
    """
    require("netCDF4", "fields", PURPOSE)
    return folder_or_make(
        "ocean", {**ocean._asdict(), "v": VERSION}, lambda folder: write_ocean(ocean, folder)
    )


def write_ocean(ocean: Ocean, folder: Path) -> None:
    """Simulate all zones and write a file for each."""
    with progress_bar("simulating an ocean", ocean.zones, unit="zone") as bar:
        for first in range(0, ocean.zones, AT_ONCE):
            numbers = range(first, min(first + AT_ONCE, ocean.zones))
            generators = [seeded_generator(ocean.seed, STREAM, number) for number in numbers]
            land = torch.stack([land_of(ocean, number) for number in numbers])
            coast = ((LAND_LEVEL - land) / SHELF).clamp(0, 1) if land.isfinite().any() else None
            anomalies = torch.stack(list(simulate(ocean.days, generators, coast=coast)), dim=1)
            for index, number in enumerate(numbers):
                noise = NOISE * torch.randn(anomalies[index].shape, generator=generators[index])
                dry = land[index, :SIDE, :SIDE] > LAND_LEVEL
                write_one(ocean, folder, number, anomalies[index] + noise, dry)
                bar.update()


def write_one(ocean: Ocean, folder: Path, number: int, anomaly: Tensor, dry: Tensor) -> None:
    """Write one zone: climatology and anomaly together, NaN on land."""
    latitude, longitude, warmth, season = place_of(ocean, number)
    mean = climatology(warmth, season)
    dates = np.datetime64(START, "D") + np.arange(ocean.days)
    rows = (dates - dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(int)
    # The standard deviation of each cell over the days of training, the same all year.
    std = anomaly[: ocean.trained].std(dim=0).clamp_min(NOISE).expand(DAYS_OF_YEAR, -1, -1)
    fields = [mean[rows] + anomaly, mean, std]
    temperature, mean, std = (torch.where(dry, torch.nan, field) for field in fields)
    write_zone(
        folder / f"data_{number + 1}.nc",
        temperature.numpy(),
        mean.numpy(),
        std.numpy(),
        latitude=latitude + SPACING * np.arange(SIDE),
        longitude=longitude + SPACING * np.arange(SIDE),
        start=START,
        title=f"Synthetic sea-surface temperature, zone {number + 1}",
    )


def place_of(ocean: Ocean, number: int) -> tuple[float, float, float, float]:
    """Latitude and longitude of a zone's first cell, its mean temperature and season in °C."""
    drawn = torch.rand(3, generator=seeded_generator(ocean.seed, STREAM, number, 1)).tolist()
    latitude, longitude = 25 + 25 * drawn[0], -65 + 45 * drawn[1]
    return latitude, longitude, 24 - 0.55 * (latitude - 25), 2 + 2.5 * drawn[2]


def climatology(warmth: float, season: float) -> Tensor:
    """Mean temperature of each day of the year, colder northwards, (day, y, x), °C."""
    phase = 2 * math.pi * (torch.arange(DAYS_OF_YEAR) + 1 - WARMEST_DAY) / 365.25
    northwards = OceanPhysics().gradient * (torch.arange(SIDE) - (SIDE - 1) / 2)
    field = warmth + season * phase.cos()[:, None, None] + northwards[:, None]
    return field.expand(-1, -1, SIDE)


def land_of(ocean: Ocean, number: int) -> Tensor:
    """Height of the land, in standard deviations, (y, x); −∞ in zones without any."""
    if number >= ocean.land_zones:
        return torch.full((DOMAIN, DOMAIN), -torch.inf)
    generator = seeded_generator(ocean.seed, STREAM, number, 2)
    spectrum = SmoothFields(LAND_SIZE).spectrum(white_noise([generator]))
    return torch.fft.irfft2(spectrum, s=(DOMAIN, DOMAIN))[0]


def card_of(ocean: Ocean) -> dict[str, Any]:
    """Entries of the ocean in the card of a data set."""
    return {**ocean._asdict(), "version": VERSION}
