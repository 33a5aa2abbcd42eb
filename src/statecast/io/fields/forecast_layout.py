"""Layout: dimensions, variables and attributes of a labelled forecast (CF conventions)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from statecast.errors import InputError
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.time_steps import continued
from statecast.io.paths import is_remote
from statecast.version import __version__

if TYPE_CHECKING:
    from xarray import Dataset

Array = np.ndarray[Any, np.dtype[Any]]

CONVENTIONS = "CF-1.11"
LISTED = 3  # files that a history names
SPACE_NAMES = {1: ("point",), 2: ("y", "x")}  # of dimensions without labels


class Planned(NamedTuple):
    """A variable to be written."""

    channel: int
    statistic: str  # `samples`, `mean`, `std` or `quantiles`
    dims: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Variables and coordinates of a labelled forecast.

    Attributes:
        channels: one name per channel.
        shape: of the samples, (sample, batch, time, channel, *space).
        lead_times: in frame intervals after the last observed frame.
        coordinates: labels of the observed frames; None for bare arrays.
        statistics: whether to add mean and standard deviation to the samples.
        quantiles: probabilities of the quantiles to add.
        model: title of the model, and a fingerprint of its weights; None if unknown.
        history: how the forecast was made, with its date; None if unknown.
    """

    channels: tuple[str, ...]
    shape: tuple[int, ...]
    lead_times: tuple[float, ...]
    coordinates: Coordinates | None = None
    statistics: bool = False
    quantiles: tuple[float, ...] = ()
    model: str | None = None
    history: str | None = None

    def __post_init__(self) -> None:
        if not all(0 <= p <= 1 for p in self.quantiles):
            raise InputError(
                f"Probabilities of quantiles must lie in [0, 1], got {self.quantiles}."
            )
        if list(self.quantiles) != sorted(set(self.quantiles)):
            raise InputError(f"Probabilities of quantiles must increase, got {self.quantiles}.")
        added = (["mean", "std"] if self.statistics else []) + ["quantiles"] * bool(self.quantiles)
        clashes = {f"{n}_{end}" for n in self.channels for end in added} & set(self.channels)
        if clashes:
            raise InputError(
                f"The statistics {sorted(clashes)} clash with the names of channels. Rename the "
                "channels, or write samples only."
            )

    @property
    def space(self) -> tuple[str, ...]:
        """Names of the dimensions of space."""
        if self.coordinates is None:
            return SPACE_NAMES[len(self.shape) - 4]
        return self.coordinates.space

    @property
    def batched(self) -> bool:
        """Whether there is a dimension of several sequences."""
        return self.coordinates is None or self.shape[1] > 1

    @property
    def sizes(self) -> dict[str, int]:
        """Dimensions and their sizes, in order."""
        sizes = {"realization": self.shape[0]}
        if self.batched:
            sizes["batch"] = self.shape[1]
        sizes["lead_time"] = self.shape[2]
        if self.quantiles:
            sizes["quantile"] = len(self.quantiles)
        return sizes | dict(zip(self.space, self.shape[4:], strict=True))

    def variables(self) -> dict[str, Planned]:
        """Every variable by name: the samples of each channel, and their statistics."""
        batch = ("batch",) if self.batched else ()
        rest = (*batch, "lead_time", *self.space)
        plan: dict[str, Planned] = {}
        for index, name in enumerate(self.channels):
            attributes = {} if self.coordinates is None else self.coordinates.channels.get(name, {})
            long = attributes.get("long_name", attributes.get("standard_name", name))

            def named(what: str, method: str, known: Any = attributes, of: Any = long) -> Any:
                return {**known, "long_name": f"{what} of {of}", "cell_methods": method}

            plan[name] = Planned(index, "samples", ("realization", *rest), dict(attributes))
            if self.statistics:
                mean = named("mean over samples", "realization: mean")
                std = named("standard deviation over samples", "realization: standard_deviation")
                plan[f"{name}_mean"] = Planned(index, "mean", rest, mean)
                plan[f"{name}_std"] = Planned(index, "std", rest, std)
            if self.quantiles:
                what = named("quantiles over samples", "realization: quantile")
                dims = (*batch, "lead_time", "quantile", *self.space)
                plan[f"{name}_quantiles"] = Planned(index, "quantiles", dims, what)
        return plan

    def skeleton(self) -> Dataset:
        """Coordinates and attributes, without any data."""
        import xarray

        coords: dict[str, Any] = {
            "realization": (
                "realization",
                np.arange(self.shape[0]),
                {"standard_name": "realization", "long_name": "number of the sample", "units": "1"},
            ),
            "lead_time": self.lead(),
        }
        if self.quantiles:
            long = {"long_name": "probability of the quantile", "units": "1"}
            coords["quantile"] = ("quantile", np.array(self.quantiles), long)
        if self.coordinates is not None:
            for name, (dims, values, attributes) in self.coordinates.variables.items():
                coords[name] = (dims, values, dict(attributes))
            coords |= self.dates(self.coordinates)
        source = f"statecast {__version__}" + (f", {self.model}" if self.model else "")
        attributes = {"Conventions": CONVENTIONS, "source": source}
        if self.history:
            attributes["history"] = self.history
        return xarray.Dataset(coords=coords, attrs=attributes)

    def lead(self) -> tuple[str, Array, dict[str, str]]:
        """Lead times: durations, numbers of months or years, or numbers of frames without dates."""
        frames = np.array(self.lead_times, dtype=np.float32)
        step = None if self.coordinates is None else self.coordinates.step
        if step is None or step.unit == "numbers":
            return "lead_time", frames, {"long_name": "frames after the last observed"}
        names = {"standard_name": "forecast_period", "long_name": "time since the last observed"}
        if step.unit == "months":
            years = step.size % 12 == 0
            size = np.float32(step.size / 12 if years else step.size)
            return "lead_time", frames * size, {**names, "units": "years" if years else "months"}
        nanoseconds = np.rint(np.array(self.lead_times) * step.size * 1e9).astype(np.int64)
        return "lead_time", nanoseconds.astype("timedelta64[ns]"), names

    def dates(self, coordinates: Coordinates) -> dict[str, Any]:
        """Times of the last observed frame and of every forecast frame."""
        last = coordinates.times[-1]
        valid = continued(last, coordinates.step, self.lead_times)
        kept = {k: v for k, v in coordinates.time_attributes.items() if k not in NOT_OF_DATES}
        if not coordinates.dated:
            kept = dict(coordinates.time_attributes)
        first = np.empty((), dtype=coordinates.times.dtype)
        first[()] = last
        initial = {**kept, "standard_name": "forecast_reference_time"}
        return {
            "init_time": ((), first, {**initial, "long_name": "last observed time"}),
            "valid_time": ("lead_time", valid, {"standard_name": "time", **kept}),
        }


NOT_OF_DATES = ("units", "calendar", "axis", "long_name", "standard_name", "dtype")


def statistics_of(samples: Array, statistic: str, quantiles: Sequence[float]) -> Array:
    """A statistic over the first axis of samples; quantiles lie along the axis before space.

    Args:
        samples: (sample, batch, time, *space).
        statistic: `mean`, `std` (unbiased; 0 for a single sample) or `quantiles`.
        quantiles: probabilities.
    """
    if statistic == "mean":
        return samples.mean(axis=0, dtype=np.float64).astype(np.float32)
    if statistic == "std":
        if len(samples) == 1:
            return samples[0] * 0  # keeps NaN
        return samples.std(axis=0, ddof=1, dtype=np.float64).astype(np.float32)
    found = np.quantile(samples, quantiles, axis=0)
    return np.moveaxis(found, 0, 2).astype(np.float32)


def history_line(made: str, **settings: Any) -> str:
    """A line for the attribute `history` of the CF conventions: the date, and what was made.

    Args:
        made: such as `forecast of FILE`.
        settings: what was asked for; those that are None are left out.
    """
    asked = [f"{name} {value}" for name, value in settings.items() if value is not None]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return f"{date} statecast: {', '.join([made, *asked])}"


def names_of(sources: Sequence[str | Path]) -> str:
    """Names of files without their folders; the first and last of more than three."""
    names = [str(item) if is_remote(item) else Path(item).resolve().name for item in sources]
    if len(names) > LISTED:
        return f"{names[0]} … {names[-1]} ({len(names)} files)"
    return ", ".join(names)
