"""Subsets of the data with scores of their own: variables, regions and seasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.data.base import Windows
from statecast.errors import InputError
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.time_steps import continued, months
from statecast.metrics.base import MetricSettings

COLOURS = {"red", "green", "blue"}
SEASONS = {"DJF": (12, 1, 2), "MAM": (3, 4, 5), "JJA": (6, 7, 8), "SON": (9, 10, 11)}


class Subset(NamedTuple):
    """A variable, a region or a season; values outside it are not scored."""

    kind: Literal["variable", "region", "season"]
    name: str
    channel: int | None = None
    inside: Bool[Tensor, " *space"] | None = None
    months: tuple[int, ...] = ()  # months of its frames, 1 to 12

    def spec(self, spec: FrameSpec) -> FrameSpec:
        """Shape, range and unit of the part of frames that it covers."""
        if self.channel is None:
            return spec
        names, units = (spec.channels[self.channel],), spec.units[self.channel]
        return replace(spec, channels=names, unit=units)

    def settings(self, settings: MetricSettings) -> MetricSettings:
        """Settings for the metrics of this subset."""
        if self.channel is None or settings.climatology is None:
            return settings
        one = settings.climatology[self.channel : self.channel + 1]
        return replace(settings, climatology=one)

    def of(
        self, forecast: Forecast, target: Frames, calendar: Tensor | None
    ) -> tuple[Forecast, Frames]:
        """The part of a forecast and of its target that it covers.

        Args:
            forecast: forecast of a batch of windows.
            target: the observations.
            calendar: month of each frame (batch, time); only seasons need it.
        """
        if self.channel is not None:
            one = slice(self.channel, self.channel + 1)
            mask = None if target.mask is None else target.mask[:, :, one]
            names = target.channels[one]
            return (
                replace(forecast, samples=forecast.samples[:, :, :, one], channels=names),
                replace(target, values=target.values[:, :, one], mask=mask, channels=names),
            )
        known = target.known
        if self.inside is not None:
            known = known & self.inside
        if self.months:
            assert calendar is not None
            within = torch.isin(calendar, torch.tensor(self.months))
            known = known & within.view(*within.shape, *[1] * (known.ndim - 2))
        return forecast, replace(
            target, values=target.values.masked_fill(~known, torch.nan), mask=known
        )


def subsets_of(
    windows: Windows,
    spec: FrameSpec,
    *,
    regions: Mapping[str, Mapping[str, tuple[float, float]]],
    seasons: bool,
) -> list[Subset]:
    """Subsets of windows: each variable if there are several, and the regions and seasons.

    The colour channels of images are not variables.

    Args:
        windows: the windows to score.
        spec: shape, channels and units of the scored frames.
        regions: bounds of space coordinates by region, such as
            `{"tropics": {"lat": (-20, 20)}}`.
        seasons: whether to score three-month seasons.

    Errors:
        InputError: the frames lack the coordinates or dates that regions or seasons need, or a
            region is empty.
    """
    found: list[Subset] = []
    if len(spec.channels) > 1 and set(spec.channels) != COLOURS:
        found += [Subset("variable", name, channel=i) for i, name in enumerate(spec.channels)]
    if not regions and not seasons:
        return found
    labels = windows.coordinates(0)
    if labels is None or (seasons and not labels.dated):
        raise InputError(
            "Regions need coordinates and seasons need dates; these windows lack them. Remove "
            "evaluate.regions and evaluate.seasons."
        )
    found += [
        Subset("region", name, inside=inside(labels, name, ends, spec.space))
        for name, ends in regions.items()
    ]
    if seasons:
        found += [Subset("season", name, months=held) for name, held in SEASONS.items()]
    return found


def inside(
    labels: Coordinates,
    region: str,
    ends: Mapping[str, Sequence[float]],
    space: tuple[int, ...],
) -> Bool[Tensor, " *space"]:
    """Mask of the points in a region.

    Errors:
        InputError: a coordinate is unknown, or the region holds no point.
    """
    found = np.ones(space, dtype=bool)
    for name, (low, high) in ends.items():
        variable = labels.variables.get(name)
        if variable is None or not set(variable.dims) <= set(labels.space):
            raise InputError(
                f"The region {region} is bounded by {name!r}; the coordinates of space are "
                f"{', '.join(labels.variables)}."
            )
        within = (variable.values >= low) & (variable.values <= high)
        held = np.zeros(space, dtype=bool)  # padding at the edges belongs to no region
        put(held, within, variable.dims, labels)
        found &= held
    if not found.any():
        raise InputError(f"The region {region} holds no point: {dict(ends)}.")
    return torch.from_numpy(found)


def area_weights(windows: Windows, space: tuple[int, ...]) -> Float[Tensor, " *space"]:
    """Weights of the points of labelled fields: cell areas, or else the cosine of latitude.

    Padding at the edges has weight 0.

    Errors:
        InputError: the frames have no coordinates, or neither cell areas nor latitudes.
    """
    labels = windows.coordinates(0)
    for wanted, is_area in ((("cell_area",), True), (("latitude", "lat"), False)):
        for name, variable in {} if labels is None else labels.variables.items():
            if variable.attributes.get("standard_name", name) not in wanted and name not in wanted:
                continue
            assert labels is not None
            values = np.asarray(variable.values, dtype=np.float64)
            values = values if is_area else np.cos(np.deg2rad(values)).clip(0)
            found = np.zeros(space)
            put(found, values, variable.dims, labels)
            return torch.from_numpy(found)
    raise InputError(
        "Area weights need cell_area or latitude among the coordinates of the fields. Remove "
        "evaluate.area_weights."
    )


def put(
    grid: np.ndarray[Any, Any],
    values: np.ndarray[Any, Any],
    dims: Sequence[str],
    labels: Coordinates,
) -> None:
    """Fill the labelled points of a grid with values that vary along some of its dimensions."""
    sizes = dict(zip(dims, values.shape, strict=True))
    for variable in labels.variables.values():
        sizes |= dict(zip(variable.dims, variable.values.shape, strict=True))
    along = values.transpose([list(dims).index(d) for d in labels.space if d in dims])
    shape = [sizes[dim] if dim in dims else 1 for dim in labels.space]
    grid[tuple(slice(sizes.get(dim)) for dim in labels.space)] = along.reshape(shape)


def calendar_of(windows: Windows, numbers: Tensor, times: Tensor) -> Tensor:
    """Month (1 to 12) of each frame (window, time) at these lead times."""
    found = []
    for number in numbers.tolist():
        labels = windows.coordinates(number)
        assert labels is not None
        dates = continued(labels.times[-1], labels.step, times.tolist())
        found.append(months(dates) % 12 + 1)
    return torch.from_numpy(np.stack(found))
