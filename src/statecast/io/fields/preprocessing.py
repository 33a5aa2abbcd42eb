"""Preparation: what happens to a labelled field before a model sees it, and its inverse."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from statecast.errors import CorruptionError, InputError
from statecast.io.atomic_files import write_bytes
from statecast.io.fields.climatology import Climatology
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.field import Field
from statecast.io.fields.orientation import same_grid, turned
from statecast.io.fields.regions import dimension_of
from statecast.io.fields.source import FieldOptions, Source
from statecast.io.fields.time_steps import Step, continued
from statecast.io.json_yaml import check_link

if TYPE_CHECKING:
    from xarray import Dataset

Array = np.ndarray[Any, np.dtype[Any]]

FILE_NAME = "preparation.safetensors"
TEXTS = ("group", "time", "y", "x", "sequences", "channels", "time_step", "time_units")
FEWEST_FRAMES = 8  # last frames of a series, at least, whose step is compared with that of training
SAME_UNITS = (
    {
        "degc",
        "celsius",
        "degrees_celsius",
        "degree_celsius",
        "deg_c",
        "°c",
        "degrees_c",
    },
    {"k", "kelvin", "degk", "degree_kelvin", "degrees_kelvin"},
    {"1", "", "dimensionless", "none", "-"},
    {"m s-1", "m/s", "m s**-1", "m.s-1", "meter second-1", "m s^-1", "meters/second"},
)


class Observed(NamedTuple):
    """Context frames, ready for a model."""

    values: Tensor  # (1, time, channel, *space), NaN where unknown
    mask: Tensor | None  # True where known; None if all values are
    coordinates: Coordinates


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How fields are read, and put into the form that a model was trained on.

    Attributes:
        options: how a data set is read; its variables are the model's channels.
        space: points along each dimension of space, as read.
        padded: points along each dimension, including unknown points added at the end.
        channels: names of the model's channels; empty if any names will do.
        units: unit of each channel, empty if not known.
        step: time between frames; None if any step will do.
        grid: coordinates of the dimensions of space, if all data lie in one place.
        climatology: what is subtracted from frames, and added to forecasts.
    """

    options: FieldOptions
    space: tuple[int, ...]
    padded: tuple[int, ...]
    channels: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    step: Step | None = None
    grid: Mapping[str, Array] = field(default_factory=dict)
    climatology: Climatology | None = None

    @property
    def inner(self) -> Any:
        """Index of the points of the field, without added points."""
        return (..., *(slice(0, size) for size in self.space))

    def prepare(self, values: Array, times: Array) -> Array:
        """Anomalies of frames (time, channel, *space), with unknown points added at the end."""
        if self.climatology is not None:
            values = values - self.climatology.at(times)
        added = [(0, after - now) for now, after in zip(self.space, self.padded, strict=True)]
        if any(after for _, after in added):
            values = np.pad(values, [(0, 0), (0, 0), *added], constant_values=np.nan)
        return values

    def restore(self, samples: Tensor, coordinates: Coordinates, lead_times: Tensor) -> Tensor:
        """Turn samples (sample, batch, time, channel, *space) back into fields.

        Added points are cut off, the climatology of the forecast's dates is added, and points that
        were unknown in all context frames become NaN.
        """
        samples = samples[self.inner]
        if self.climatology is not None:
            times = continued(coordinates.times[-1], coordinates.step, lead_times.tolist())
            usual = torch.from_numpy(self.climatology.at(times)).to(samples.device)
            samples = samples + usual
        if coordinates.known is not None:
            known = torch.from_numpy(coordinates.known).to(samples.device)
            samples = samples.masked_fill(~known, torch.nan)
        return samples

    def restored_context(self, values: Tensor, coordinates: Coordinates) -> Tensor:
        """Turn prepared context frames (batch, time, channel, *space) back into fields."""
        values = values[self.inner]
        if self.climatology is None:
            return values
        return values + torch.from_numpy(self.climatology.at(coordinates.times)).to(values.device)

    def observed(
        self,
        labelled: Any,
        count: int,
        *,
        origin: str = "The context",
        reading: Mapping[str, Any] | None = None,
    ) -> Observed:
        """The last frames of a labelled array or data set, ready for the model.

        Args:
            labelled: `xarray.DataArray` or `Dataset`, or a dict of data sets that are one series.
            count: frames wanted; if there are fewer, all are taken.
            origin: named in errors.
            reading: options of `FieldOptions` that replace those of training.

        Errors:
            InputError: the data differ from what the model was trained on.
        """
        field = self.open(labelled, origin, reading=reading, last=max(count, FEWEST_FRAMES))
        start = max(len(field) - count, 0)
        series = [field.of_member(member) for member in range(field.first.members)]
        values = np.stack([one.read(start, len(field)) for one in series])
        known = np.asarray(~np.isnan(values).all(axis=(0, 1)))
        if not known.any():
            raise InputError(f"{origin} has no known value in its last {count} frames.")
        coordinates = field.coordinates(start, len(field), None if known.all() else known)
        if self.step is not None and len(field) == 1:
            coordinates = replace(coordinates, step=self.step)
        ready = [self.prepare(frames, coordinates.times) for frames in values]
        prepared = torch.from_numpy(np.stack(ready))
        mask = ~prepared.isnan()
        return Observed(prepared, None if bool(mask.all()) else mask, coordinates)

    def open(
        self,
        labelled: Any,
        origin: str,
        *,
        reading: Mapping[str, Any] | None = None,
        last: int | None = None,
    ) -> Field:
        """Labelled data as a `Field`, checked against what the model knows; see `observed`."""
        changes = dict(reading or {})
        changes["crop"] = {**self.options.crop, **changes.get("crop", {})}
        options = replace(self.options, **changes)
        several = isinstance(labelled, dict)
        found = labelled if several else {origin: self.as_dataset(labelled, origin)}
        sources = [
            Source(turned(dataset, self.grid), options, name) for name, dataset in found.items()
        ]
        field = Field(
            sources, options, known_step=self.step, last=None if self.step is None else last
        )
        for source in sources:
            self.check(source)
        step = field.frames.step
        if self.step is not None and len(field) > 1 and not step.matches(self.step):
            way = (
                f"Average them: --data.time_step {self.step.option}"
                if self.step.holds(step)
                else "Give it frames of that step"
            )
            raise InputError(
                f"The model was trained on frames {self.step} apart. {origin} has frames {step} "
                f"apart. {way}."
            )
        field.check_missing()
        return field

    def check(self, found: Source) -> None:
        """Raise `InputError` unless a source has the channels, units and grid of training."""
        if found.space != self.space:
            raise InputError(
                f"The model works on {self.space} points of {found.axes.space}. {found.origin} has "
                f"{found.space}. Regrid it, or crop it to the same region."
            )
        if self.channels and found.channels != self.channels:
            raise InputError(
                f"The model works on the channels {list(self.channels)}. {found.origin} has "
                f"{list(found.channels)}."
            )
        check_units(found.channels, self.units, found.units, found.origin)
        for name, expected in self.grid.items():
            dim = dimension_of(found.source, name)
            if dim in found.coordinates:
                check_grid(name, expected, found.coordinates[dim].values, found.origin)

    def as_dataset(self, labelled: Any, origin: str) -> Dataset:
        """A labelled array as a data set of its channel."""
        import xarray

        if isinstance(labelled, xarray.Dataset):
            return labelled
        channels = self.options.variables
        if len(channels) > 1:
            raise InputError(
                f"The model works on the variables {channels}; give an xarray.Dataset with them, "
                "not a DataArray."
            )
        if channels and self.units and labelled.name not in (None, channels[0]):
            raise InputError(
                f"The model was trained on {channels[0]!r}. {origin} is named {labelled.name!r}. "
                "Rename it if it is the same quantity."
            )
        name = channels[0] if channels else str(labelled.name or "values")
        return labelled.to_dataset(name=name)


def check_units(
    channels: Sequence[str], known: Sequence[str], found: Sequence[str], origin: str
) -> None:
    """Raise `InputError` if a unit differs from that of training; a missing unit passes."""
    for channel, ours, theirs in zip(channels, known, found, strict=False):
        if ours and theirs and not same_unit(ours, theirs):
            raise InputError(
                f"The model was trained on {channel} in {ours!r}. {origin} has it in {theirs!r}. "
                "Convert it first."
            )


def same_unit(left: str, right: str) -> bool:
    """Whether two spellings mean one unit."""
    a, b = (" ".join(unit.lower().split()) for unit in (left, right))
    return a == b or any(a in names and b in names for names in SAME_UNITS)


def check_grid(name: str, expected: Array, found: Array, origin: str) -> None:
    """Raise `InputError` if coordinates of a dimension differ from those of training."""
    if same_grid(expected, found):
        return
    if found.dtype.kind not in "fiu" or not len(found):
        raise InputError(f"{origin} has a different {name} from the training data.")
    raise InputError(
        f"The model was trained on {name} from {expected[0]:g} to {expected[-1]:g}. {origin} "
        f"has it from {found[0]:g} to {found[-1]:g}. Regrid it, or crop it to that region."
    )


def plain_preparation(channels: tuple[str, ...], space: tuple[int, ...]) -> Preparation:
    """The preparation for a model that was trained on bare arrays: it changes nothing."""
    named = () if len(channels) == 1 else channels
    return Preparation(options=FieldOptions(variables=named), space=space, padded=space)


def write_preparation(preparation: Preparation, folder: Path) -> Path:
    """Write a preparation into a run folder, as a file of safetensors with JSON in it."""
    from safetensors.numpy import save

    described = {
        "options": asdict(preparation.options),
        "space": preparation.space,
        "padded": preparation.padded,
        "channels": preparation.channels,
        "units": preparation.units,
        "step": preparation.step,
        "daily": 0 if preparation.climatology is None else preparation.climatology.daily,
        "names": {k: v.tolist() for k, v in preparation.grid.items() if v.dtype.kind == "U"},
    }
    arrays = {
        f"grid.{name}": np.ascontiguousarray(values, dtype=np.float64)
        for name, values in preparation.grid.items()
        if values.dtype.kind != "U"
    }
    if preparation.climatology is not None:
        arrays["climatology"] = np.ascontiguousarray(preparation.climatology.coefficients)
    content = save(arrays or {"none": np.zeros(1)}, {"preparation": json.dumps(described)})
    return write_bytes(folder / FILE_NAME, content)


def check_described(
    found: Mapping[str, Any], options: FieldOptions, grid: Mapping[str, Array]
) -> None:
    """Raise `TypeError` for values that `write_preparation` would not have written."""
    sizes = [*found["space"], *found["padded"]]
    fits = {
        "texts": all(type(text) is str for text in (*found["units"], *found["channels"])),
        "sizes": all(type(size) is int and size > 0 for size in sizes) and options.coarsen > 0,
        "space": 1 <= len(found["space"]) <= 2 and len(found["padded"]) == len(found["space"]),
        "daily": found.get("daily", 0) in (0, 1, 2),
        "grid": all(values.ndim <= 2 for values in grid.values()),
    }
    wrong = [name for name, fitting in fits.items() if not fitting]
    if wrong:
        raise TypeError(f"{', '.join(wrong)} are not what was written")


def plain_options(table: Mapping[str, Any]) -> dict[str, Any]:
    """Options of JSON or YAML, with the types that `FieldOptions` takes, such as tuples."""
    options = dict(table)
    missing = options.get("missing")
    if missing is not None:  # YAML reads 1e+20 as text
        several = missing if isinstance(missing, list | tuple) else [missing]
        with suppress(TypeError, ValueError):
            options["missing"] = tuple(float(value) for value in several)
    for name in TEXTS:  # YAML reads some names of groups, and some steps, as numbers
        if isinstance(options.get(name), int | float):
            options[name] = str(options[name])
    if isinstance(options.get("variables"), list):
        options["variables"] = tuple(options["variables"])
    if isinstance(options.get("crop"), Mapping):
        options["crop"] = {
            str(name): tuple(end if isinstance(end, int | float) else str(end) for end in ends)
            if isinstance(ends, list | tuple) else ends
            for name, ends in options["crop"].items()
        }  # fmt: skip
    return options


def read_preparation(folder: Path) -> Preparation | None:
    """The preparation of a run folder; None if it has none.

    Errors:
        CorruptionError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE_NAME
    check_link(path)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as stream:
            found = json.loads(stream.metadata()["preparation"])
            arrays = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        options = FieldOptions(**plain_options(found["options"]))
        grid = {name: np.array(values, dtype=str) for name, values in found["names"].items()}
        grid |= {n.removeprefix("grid."): a for n, a in arrays.items() if n.startswith("grid.")}
        check_described(found, options, grid)
        usual = arrays.get("climatology")
        if usual is not None and usual.ndim != 2 + len(found["space"]):
            raise ValueError(f"a climatology of shape {usual.shape}")
        return Preparation(
            options=options,
            space=tuple(found["space"]),
            channels=tuple(found["channels"]),
            padded=tuple(found["padded"]),
            units=tuple(found["units"]),
            step=None if found["step"] is None else Step(*found["step"]),
            grid=grid,
            climatology=None if usual is None else Climatology(usual, found.get("daily", 0)),
        )
    except (
        OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise CorruptionError(f"{path} cannot be read: {reason}") from error
