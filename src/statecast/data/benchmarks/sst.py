"""Sea-surface temperature: zones from NetCDF files, or a synthetic ocean."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np

from statecast.data.base import DataSource, Split, Windows, horizons_of
from statecast.data.benchmarks.sst_files import Zone, read_zones
from statecast.data.benchmarks.sst_windows import CHANNELS, Protocol, SeaWindows, normalised
from statecast.data.synthetic.synthetic_ocean import Ocean, card_of, ocean_folder
from statecast.data.windows import all_starts
from statecast.errors import InputError
from statecast.frames import FrameSpec

TRAIN_SHARE = 0.8  # of the days, in order; the rest is for tests, as published
VALIDATION_SHARE = 0.1  # of the training days, the last ones
TEST_ZONES = (17, 18, 19, 20)  # as published


class SeaSurfaceTemperature(DataSource):
    """Daily sea-surface temperature of several zones, as anomalies from a climatology.

    Windows are normalised: by the climatology's mean and standard deviation of each day and
    pixel, then to mean 0 and standard deviation 1 over space. Scores are in °C.

    Each window carries its latents: the number of its `zone`, the `day` of each frame, counted
    from the first day of the file, and the `location` and `scale` by which its frames were
    normalised, each (window, time).

    Data, splits and normalisation: de Bézenac et al. (2018), https://arxiv.org/abs/1711.07970, as
    used by Donà et al. (2021), https://arxiv.org/abs/2008.01352.

    Args:
        context: days observed.
        horizon: days forecast in training.
        test_horizon: days forecast in tests.
        validation_horizon: days forecast in validation; by default as in training.
        folder: folder of the zones' files `data_1.nc`, …; by default a synthetic ocean, simulated
            on first use.
        protocol: `honest` normalises a window by the context's mean and standard deviation over
            space and time; `paper` normalises each frame by its own, so that a forecast is given
            the mean and standard deviation of its target.
        test_zones: zones of the test split; by default 17 to 20 as published, or all zones if one
            of these is missing.
        split_gap: days left out between two splits.
        zones: zones of the synthetic ocean.
        days: days of the synthetic ocean.
        land_zones: number of zones of the synthetic ocean that have coasts and islands.
        seed: seed of the synthetic ocean.
    """

    def __init__(
        self,
        *,
        context: int = 4,
        horizon: int = 6,
        test_horizon: int = 10,
        validation_horizon: int | None = None,
        folder: str | None = None,
        protocol: Protocol = "honest",
        test_zones: tuple[int, ...] | None = None,
        split_gap: int = 10,
        zones: int = 29,
        days: int = 730,
        land_zones: int = 0,
        seed: int = 42,
    ) -> None:
        self.context, self.folder, self.protocol = context, folder, protocol
        self.test_zones, self.split_gap = test_zones, split_gap
        self.horizons = horizons_of(context, horizon, test_horizon, validation_horizon)
        if split_gap < 0:
            raise InputError(f"split_gap must be at least 0, got {split_gap}.")
        if min(zones, days) < 1 or not 0 <= land_zones <= zones:
            raise InputError(
                "A synthetic ocean needs at least 1 zone and 1 day, and at most all zones with "
                f"land, got zones {zones}, days {days} and land_zones {land_zones}."
            )
        self.ocean = Ocean(zones, days, land_zones, math.floor(TRAIN_SHARE * days), seed)
        if folder is None:
            self.ranges(days)  # refuses windows that do not fit before the simulation

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(
            channels=CHANNELS,
            space=self.zones[0].space,
            context=self.context,
            horizon=self.horizons["train"],
        )

    def windows(self, split: Split) -> Windows:
        chosen = self.zones
        if split == "test":
            wanted = self.chosen_test_zones
            chosen = [zone for zone in self.zones if zone.number in wanted]
        days = self.ranges(len(self.zones[0]))[split]
        length = self.context + self.horizons[split]
        starts = all_starts(range(len(chosen)), len(days), length)
        starts[:, 1] += days.start
        return SeaWindows(
            chosen,
            starts,
            context=self.context,
            length=length,
            protocol=self.protocol,
            value_range=self.value_range,
        )

    def ranges(self, days: int) -> dict[Split, range]:
        """Days of each split.

        Errors:
            InputError: a split is too short for a window.
        """
        trained = math.floor(TRAIN_SHARE * days)
        held_out = max(
            round(VALIDATION_SHARE * trained),
            self.context + self.horizons["validation"] + self.split_gap,
        )
        ranges: dict[Split, range] = {
            "train": range(trained - held_out - self.split_gap),
            "validation": range(trained - held_out, trained - self.split_gap),
            "test": range(trained, days),
        }
        for name, part in ranges.items():
            length = self.context + self.horizons[name]
            if len(part) < length:
                raise InputError(
                    f"{days} days leave {len(part)} for the {name} split, whose windows have "
                    f"{length}. Shorten context, horizon or split_gap, or give more days."
                )
        return ranges

    @cached_property
    def zones(self) -> list[Zone]:
        """All zones, read once."""
        return read_zones(ocean_folder(self.ocean) if self.folder is None else self.folder)

    @cached_property
    def chosen_test_zones(self) -> tuple[int, ...]:
        """Numbers of the zones of the test split.

        Errors:
            InputError: no zone has one of these numbers.
        """
        numbers = [zone.number for zone in self.zones]
        if self.test_zones is None:
            published = set(TEST_ZONES) <= set(numbers)
            return TEST_ZONES if published else tuple(numbers)
        unknown = [number for number in self.test_zones if number not in numbers]
        if unknown or not self.test_zones:
            raise InputError(f"test_zones must be some of {numbers}, got {list(self.test_zones)}.")
        return tuple(self.test_zones)

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """Extremes over the training days, in °C; for the protocol `paper`, of normalised frames.

        The published code computes the SSIM of °C with the range of normalised frames.
        """
        days = self.ranges(len(self.zones[0]))["train"]
        found = []
        for zone in self.zones:
            values = zone.temperature.values(slice(days.start, days.stop))
            if self.protocol == "paper":
                values, _, _ = normalised(values, zone, slice(days.start, days.stop), None)
            found.append((np.nanmin(values), np.nanmax(values)))
        low, high = np.array(found).T
        return float(low.min()), float(high.max())

    @property
    def card(self) -> dict[str, Any]:
        synthetic = self.folder is None
        return {
            "name": "sst",
            "source": "simulated by statecast" if synthetic else "NetCDF files",
            "licence": "Apache-2.0" if synthetic else "see the folder's owner",
            "ocean": card_of(self.ocean) if synthetic else None,
            "context": self.context,
            "horizons": self.horizons,
            "protocol": self.protocol,
            "test_zones": None if self.test_zones is None else list(self.test_zones),
            "split_gap": self.split_gap,
        }
