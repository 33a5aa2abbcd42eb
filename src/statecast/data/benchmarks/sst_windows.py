"""Windows of sea-surface temperature: normalised for models, scored in °C."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from statecast.data.base import CutWindows
from statecast.data.benchmarks.sst_files import Zone
from statecast.frames import Batch, Forecast, Frames, FrameSpec

Array = np.ndarray[Any, np.dtype[Any]]
Protocol = Literal["honest", "paper"]

SMALLEST_STD = 1e-6  # frames with less contrast are not scaled
CHANNELS = ("temperature",)


class SeaWindows(CutWindows):
    """Windows of zones, normalised; scored in °C.

    Args:
        zones: the zones of the split.
        starts: (window, 2), place of the zone in `zones` and first day of each window.
        context: days observed.
        length: context and target days together.
        protocol: see `SeaSurfaceTemperature`.
        value_range: of the scores.
    """

    def __init__(
        self,
        zones: list[Zone],
        starts: Array,
        *,
        context: int,
        length: int,
        protocol: Protocol,
        value_range: tuple[float, float],
    ) -> None:
        super().__init__(starts, context=context, length=length, channels=CHANNELS)
        self.zones, self.protocol, self.value_range = zones, protocol, value_range

    def batch(self, indices: Tensor) -> Batch:
        frames: list[Tensor] = []
        locations: list[Tensor] = []
        scales: list[Tensor] = []
        starts = self.starts[indices.numpy()]
        for place, first in starts:
            days = slice(first, first + self.length)
            values = self.zones[place].temperature.values(days)
            past = self.context if self.protocol == "honest" else None
            for part, found in zip(
                (frames, locations, scales),
                normalised(values, self.zones[place], days, past),
                strict=True,
            ):
                part.append(torch.from_numpy(found))
        values = torch.stack(frames)[:, :, None]
        known = values.isfinite()
        numbers = torch.tensor([self.zones[place].number for place in starts[:, 0]])
        return Batch.of(
            values,
            self.context,
            channels=CHANNELS,
            mask=None if bool(known.all()) else known,
            latents={
                "zone": numbers,
                "day": torch.from_numpy(starts[:, 1:] + np.arange(self.length)),
                "location": torch.stack(locations),
                "scale": torch.stack(scales),
            },
        )

    def to_score_units(self, forecast: Forecast, batch: Batch) -> tuple[Forecast, Frames]:
        """Forecast and target in °C."""
        factor, offset = self.affine(batch, len(batch.target))
        celsius = Forecast(
            samples=forecast.samples * factor + offset,
            times=forecast.times,
            channels=forecast.channels,
        )
        target = Frames(
            values=batch.target.values * factor + offset,
            times=batch.target.times,
            channels=CHANNELS,
            mask=batch.target.mask,
        )
        return celsius, target

    def affine(self, batch: Batch, horizon: int) -> tuple[Tensor, Tensor]:
        """Factor and offset to °C on the target's days, (window, time, 1, y, x)."""
        by_number = {zone.number: zone for zone in self.zones}
        means, stds = [], []
        for number, days in zip(
            batch.latents["zone"].tolist(), batch.latents["day"][:, -horizon:], strict=True
        ):
            zone = by_number[number]
            rows = zone.rows[days.numpy()]
            means.append(torch.from_numpy(zone.mean[rows]))
            stds.append(torch.from_numpy(zone.std[rows]))
        mean, std = torch.stack(means)[:, :, None], torch.stack(stds)[:, :, None]
        location, scale = (
            batch.latents[name][:, -horizon:, None, None, None] for name in ("location", "scale")
        )
        return scale * std, location * std + mean

    def scored_spec(self, spec: FrameSpec) -> FrameSpec:
        return FrameSpec(
            channels=spec.channels,
            space=spec.space,
            context=spec.context,
            horizon=spec.horizon,
            value_range=self.value_range,
            unit="degrees_C",
        )

    @cached_property
    def digest(self) -> str:
        """Digest of the zones that windows are cut from, and of where they are cut."""
        digest = hashlib.sha256(repr((self.context, self.length, self.protocol)).encode())
        digest.update(np.ascontiguousarray(self.starts, dtype=np.int64).tobytes())
        for zone in self.zones:
            packed = zone.temperature
            digest.update(repr((zone.number, packed.scale, packed.offset)).encode())
            for array in (packed.stored, zone.mean, zone.std, zone.rows):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()


def normalised(
    values: Array, zone: Zone, days: slice, context: int | None
) -> tuple[Array, Array, Array]:
    """Frames of a zone, normalised by its climatology, then by their own mean and spread.

    Args:
        values: °C, (time, y, x), NaN where unknown.
        zone: the zone.
        days: the days of the frames.
        context: number of the first frames, whose mean and spread normalise all frames; None
            normalises each frame by its own.

    Returns:
        Frames, and the location and scale of each, (time,); all float32.
    """
    rows = zone.rows[days]
    anomaly = (values - zone.mean[rows]) / zone.std[rows]
    axes = (1, 2) if context is None else (0, 1, 2)
    sample = anomaly[:context]
    location = np.nanmean(sample, axis=axes, dtype=np.float64)
    spread = np.nanstd(sample, axis=axes, dtype=np.float64)
    scale = np.where(spread > SMALLEST_STD, spread, 1.0)
    shift, factor = (
        np.broadcast_to(statistic, len(values)).astype(np.float32)
        for statistic in (location, scale)
    )
    return (anomaly - shift[:, None, None]) / factor[:, None, None], shift, factor
