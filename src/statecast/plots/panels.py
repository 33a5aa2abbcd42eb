"""Panels of pictures and animations: images of each variable, and their colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Forecast, Frames
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.time_steps import DAY, continued, text_of

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable

Array = np.ndarray[Any, np.dtype[Any]]

OBSERVED, FORECAST = "#117733", "#AA4499"  # borders of context and forecast, colour-blind safe
MISSING = "#EE3377"  # NaN at points that the data observe
LAND = "#BBB9B4"  # points that are never observed
FIELD_MAP, GREY_MAP, SPREAD_MAP, ANOMALY_MAP = "viridis", "gray", "magma", "RdBu_r"
MAGNITUDES = ("spread", "error")  # rows drawn from 0 to their own largest value
COLOURS = ("red", "green", "blue")
GREY = "intensity"
WIDE = 30.0  # degrees from which ticks are at multiples of 15, 30, 45, …
ANGLES = [1, 1.5, 2, 3, 4.5, 6, 9, 10]  # times a power of ten, of ticks then


class Scale(NamedTuple):
    """How values become colours; red, green and blue are used as they are."""

    low: float
    high: float
    colours: str = FIELD_MAP  # a colour map of matplotlib

    def mappable(self) -> ScalarMappable:
        """Mapping from values to colours, for a colour bar."""
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        return ScalarMappable(Normalize(self.low, self.high), self.colours)


class Panels(NamedTuple):
    """Images of one variable of one sequence, north up."""

    label: str  # name and unit of the variable; empty if there is only one without labels
    observed: Array  # (time, y, x), (time, y, x, 3) or (time, point)
    rows: dict[str, Array]  # truth, mean, samples, spread or error, over the forecast's times
    scale: Scale
    land: Array  # points without any known value, in the shape of one image without colours
    order: Array | None = None  # order in which points are drawn

    def colours(self, name: str, time: int) -> Array:
        """Colours (y, x, 3), 0 to 1, of a frame of a row."""
        observed = name == "truth"
        image, scale = self.rows[name][time], self.scale_of(name)
        return coloured(image, scale, self.land, missing=LAND if observed else MISSING)

    def scale_of(self, name: str) -> Scale:
        """Scale of a row, the same for all its frames."""
        if name not in MAGNITUDES:
            return self.scale
        values = self.rows[name][np.isfinite(self.rows[name])]
        return Scale(0.0, float(values.max(initial=0.0)) or 1.0, SPREAD_MAP)


def panels_of(
    context: Frames,
    forecast: Forecast,
    target: Frames | None,
    sequence: int,
    samples: int,
    *,
    centred: bool = False,
) -> list[Panels]:
    """Panels of each variable of a sequence; red, green and blue are one variable.

    Colours are centred on 0 on request, as for anomalies.

    Equal samples, as of a deterministic model, are drawn as one forecast. Points that are known in
    no frame of context and target, as on land, are masked in forecasts.

    Errors:
        InputError: the sequence does not exist.
    """
    if not 0 <= sequence < len(context.values):
        raise InputError(
            f"The batch has sequences 0 to {len(context.values) - 1}, got sequence={sequence}."
        )
    labels = context.coordinates or forecast.coordinates
    flip = len(context.space) == 2 and south_first(labels)
    order = point_order(context, sequence) if len(context.space) == 1 else None
    draw = partial(arranged, flip=flip, order=order)
    found = []
    for label, channels in variables_of(context.channels, labels):
        seen = draw(context.values[sequence], channels)
        rows = {}
        if target is not None:
            rows["truth"] = draw(target.values[sequence], channels)
        known = np.isfinite(np.concatenate([seen, *rows.values()])).any(axis=0)
        rows |= forecast_rows(
            forecast, target, draw, sequence=sequence, samples=samples, channels=channels
        )
        land = ~(known.any(axis=-1) if len(channels) == len(COLOURS) else known)
        for name in MAGNITUDES:
            if name in rows:
                rows[name][:, land] = np.nan
        scale = scale_of(context.channels, [seen, next(iter(rows.values()))], centred=centred)
        found.append(Panels(label, seen, rows, scale, land, order))
    return found


def forecast_rows(
    forecast: Forecast,
    target: Frames | None,
    draw: Callable[[Tensor, Sequence[int]], Array],
    *,
    sequence: int,
    samples: int,
    channels: Sequence[int],
) -> dict[str, Array]:
    """Mean, samples and spread; or a single forecast, with its error if the truth is known."""
    drawn, mean = forecast.samples[:, sequence], forecast.mean[sequence]

    def magnitude(values: Tensor) -> Array:
        return draw(values[:, channels].mean(dim=1, keepdim=True), [0])

    if (drawn.amax(dim=0) > drawn.amin(dim=0)).any():
        rows = {"mean": draw(mean, channels)}
        for index, sample in enumerate(drawn[:samples]):
            rows[f"sample {index + 1}"] = draw(sample, channels)
        return rows | {"spread": magnitude(forecast.std[sequence])}
    rows = {"forecast": draw(mean, channels)}
    if target is not None:
        rows["error"] = magnitude((mean - target.values[sequence]).abs())
    return rows


def variables_of(
    channels: Sequence[str], labels: Coordinates | None
) -> list[tuple[str, list[int]]]:
    """Groups of channels that are drawn together: label, with its unit if known, and indices."""
    if tuple(channels) == COLOURS:
        return [("", [0, 1, 2])]
    units = {} if labels is None else labels.channels
    named = [
        f"{name} / {unit}" if (unit := units.get(name, {}).get("units")) else name
        for name in channels
    ]
    plain = len(channels) == 1 and labels is None
    return [("" if plain else name, [index]) for index, name in enumerate(named)]


def arranged(
    values: Any, channels: Sequence[int], *, flip: bool = False, order: Array | None = None
) -> Array:
    """Channels of frames (time, channel, *space) as images (time, y, x), in colour, or points.

    Args:
        values: the frames.
        channels: indices of three channels for colours, or of one.
        flip: whether to reverse the rows.
        order: order in which points are drawn; None for their own.
    """
    array: Array = values.detach().cpu().float().numpy()[:, list(channels)]
    array = array[..., ::-1, :] if flip else array
    array = array if order is None else array[..., order]
    if len(channels) == len(COLOURS) and array.ndim == 4:
        return array.transpose(0, 2, 3, 1)
    return array[:, 0].copy()


def images(values: Any, channels: Sequence[str]) -> Array:
    """Images of the first variable of frames (time, channel, *space)."""
    return arranged(values, variables_of(channels, None)[0][1])


def point_order(context: Frames, sequence: int) -> Array:
    """Order in which points are drawn: their own if they form a line through space.

    Scattered points, whose neighbours are hardly more alike than any two points, are sorted by
    their last observed value. The sum of squared differences between neighbours is about twice
    the sum of squared anomalies for scattered points, and nearly 0 on a smooth line.
    """
    last = context.values[sequence, -1, 0].detach().cpu().float().numpy()
    known = last[np.isfinite(last)]
    labelled = axis_values(context.coordinates, 0)[1] is not None
    squares = ((known - known.mean()) ** 2).sum() if len(known) else 0.0
    scattered = not labelled and (np.diff(known) ** 2).sum() > squares
    return np.argsort(last) if scattered else np.arange(len(last))


def south_first(labels: Coordinates | None) -> bool:
    """Whether the first rows of fields are the southern ones, or have the smallest y."""
    if labels is None:
        return False
    for name, variable in labels.variables.items():
        vertical = name == labels.space[0] or "north" in str(variable.attributes.get("units"))
        if (
            vertical
            and variable.dims[:1] == labels.space[:1]
            and variable.values.dtype.kind in "fiu"
        ):
            return bool(variable.values[0].mean() < variable.values[-1].mean())
    return False


def axis_values(labels: Coordinates | None, dimension: int) -> tuple[str, Array | None]:
    """Name of a dimension of space with its unit, and its numeric coordinate if it has one."""
    if labels is None:
        return "", None
    name = labels.space[dimension]
    variable = labels.variables.get(name)
    if variable is None or variable.values.ndim != 1 or variable.values.dtype.kind not in "fiu":
        return name, None
    unit = str(variable.attributes.get("units", ""))
    shown = {"degrees_north": "°N", "degrees_east": "°E"}.get(unit, unit)
    return f"{name} / {shown}" if shown else name, variable.values


def round_ticks(values: Array, *, degrees: bool) -> tuple[Array, list[str]]:
    """Positions of round values of a coordinate along its axis, and their labels.

    If the coordinate is not monotonic, as longitudes across the date line, three of its points.
    """
    from matplotlib.ticker import MaxNLocator

    count = len(values)
    rising = values if values[0] <= values[-1] else values[::-1]
    if count < 2 or not (np.diff(rising) > 0).all():
        places = np.linspace(0, count - 1, min(count, 3)).round()
        return places, [f"{value:.4g}" for value in values[places.astype(int)]]
    low, high = rising[0], rising[-1]
    few, many = MaxNLocator(3, steps=[1, 2, 5, 10]), MaxNLocator(4, steps=ANGLES)
    ticks = (many if degrees and high - low > WIDE else few).tick_values(low, high)
    ticks = ticks[(ticks >= low) & (ticks <= high)]
    places = np.interp(ticks, rising, np.arange(count))
    return places if rising is values else count - 1 - places, [f"{t + 0.0:.10g}" for t in ticks]


def scale_of(channels: Sequence[str], shown: Sequence[Array], *, centred: bool = False) -> Scale:
    """Colour scale of observed frames and forecast; values beyond it are drawn in its end colours.

    Grey levels are drawn from 0 to 1, however dark or pale the images are.
    """
    values = np.concatenate([row[np.isfinite(row)].ravel() for row in shown])
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if centred:
        largest = max(-low, high) or 1.0
        return Scale(-largest, largest, ANOMALY_MAP)
    if tuple(channels) in ((GREY,), COLOURS) and low >= 0 and high <= 1:
        return Scale(0.0, 1.0, GREY_MAP)
    return Scale(low, high if high > low else low + 1)


def has_bar(variable: Panels) -> bool:
    """Whether a colour bar is needed; grey levels and colour images need none."""
    return variable.scale.colours != GREY_MAP and variable.observed.ndim == 3


def coloured(
    image: Array, scale: Scale, land: Array | None = None, *, missing: str = MISSING
) -> Array:
    """Colours (…, 3), 0 to 1, of an image: land in grey, other NaN in the colour `missing`."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    fraction = np.clip((image - scale.low) / (scale.high - scale.low), 0, 1)
    filled = np.nan_to_num(fraction)
    unknown: Array = np.isnan(fraction)
    if image.ndim == 3:
        colours, unknown = filled, np.asarray(unknown.any(axis=-1))
    else:
        colours = np.asarray(colormaps[scale.colours](filled))[..., :3]
    colours[unknown] = to_rgb(missing)
    if land is not None:
        colours[land] = to_rgb(LAND)
    return colours


def strided(length: int, count: int) -> list[int]:
    """Indices of at most `count` equally spaced frames out of `length`, starting with the first."""
    return list(range(0, length, -(-length // count)))


def lead_of(labels: Coordinates | None, time: float) -> str:
    """A time after the last observed frame, in the unit of its dates if there are any."""
    if labels is None or not labels.dated or time == 0:
        return f"{time:+g}" if time else "0"
    return f"{'+' if time > 0 else '-'}{labels.step._replace(size=labels.step.size * abs(time))}"


def region_of(labels: Coordinates | None) -> str:
    """Ranges of the coordinates along a map; empty if they are not known."""
    found = [axis_values(labels, dimension) for dimension in range(2 if labels else 0)]
    return ", ".join(
        f"{values.min():.5g} to {values.max():.5g} {name.partition(' / ')[2] or name}"
        for name, values in found
        if values is not None
    )


def dates_of(labels: Coordinates | None, times: Sequence[float]) -> list[str]:
    """Dates of frames at times relative to the last observed frame; empty if unknown.

    Whole steps of days or longer show no time of day.
    """
    if labels is None or not labels.dated:
        return []
    step = labels.step
    dates = [text_of(date) for date in continued(labels.times[-1], step, times)]
    daily = step.unit == "months" or step.size % DAY == 0
    return [
        date.partition("T")[0] if daily and float(time).is_integer() else date
        for date, time in zip(dates, times, strict=True)
    ]
