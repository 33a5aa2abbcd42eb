"""Frames, Batch, Forecast and FrameSpec: the only types that cross a layer."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from operator import lt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.checks import MOST, is_number, is_whole, typed
from statecast.errors import InputError
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.forecast_layout import SPACE_NAMES, Layout

if TYPE_CHECKING:
    import xarray


PICTURES = {
    **dict.fromkeys((".gif", ".webp", ".mp4"), "animations"),
    **dict.fromkeys((".png", ".pdf", ".svg"), "forecasts"),
}  # who draws them
PREVIEW = 192  # pixels: width of a forecast in a notebook


@dataclass(frozen=True, kw_only=True)
class FrameSpec:
    """Shape, channels and units of the windows of a data set: enough to size a model.

    Attributes:
        channels: one name per channel, in order.
        space: number of points along each space dimension: `(height, width)` of an image,
            `(points,)` of point observations.
        context: frames observed before a forecast.
        horizon: frames forecast in training.
        value_range: smallest and largest value that the data can take, or None where unbounded.
        unit: unit of the values, `"1"` where they have none; of channels in different units,
            that of each, separated by commas.
        actions: numbers in the action between two frames; 0 where frames come without.
        agent_states: numbers in the state of the agent that acts; 0 where it is not measured.
    """

    channels: tuple[str, ...]
    space: tuple[int, ...]
    context: int
    horizon: int
    value_range: tuple[float, float] | None = None
    unit: str = "1"
    actions: int = 0
    agent_states: int = 0

    def __post_init__(self) -> None:
        names = as_names(self.channels)
        if not names or len(set(names)) != len(names):
            raise InputError(f"A frame needs distinct channel names, got {self.channels!r:.80}.")
        sizes = tuple(self.space) if isinstance(self.space, list | tuple) else ()
        fitting = len(sizes) in SPACE_NAMES and all(map(is_whole, sizes))
        if not fitting or min(sizes) < 1 or math.prod(sizes) >= MOST:
            raise InputError(f"Space must be (points,) or (height, width), got {self.space!r:.80}.")
        lengths = (self.context, self.horizon)
        if not all(map(is_whole, lengths)) or min(lengths) < 1:
            raise InputError(
                f"Context and horizon must be at least 1 frame, got {self.context!r:.40} and "
                f"{self.horizon!r:.40}."
            )
        if self.value_range is not None and not is_range(self.value_range):
            raise InputError(
                "A value_range is the smallest and the largest value, both finite, got "
                f"{self.value_range!r:.80}."
            )
        if not isinstance(self.unit, str):
            raise InputError(f"A unit is a text, got {self.unit!r:.40}.")
        numbers = (self.actions, self.agent_states)
        if not all(map(is_whole, numbers)) or min(numbers) < 0 or numbers[1] > numbers[0] == 0:
            raise InputError(
                "Numbers of actions and agent_states are at least 0, and states need actions, got "
                f"{self.actions!r:.40} numbers of actions and {self.agent_states!r:.40} of states."
            )
        object.__setattr__(self, "channels", names)
        object.__setattr__(self, "space", tuple(map(int, sizes)))

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame: (channel, *space)."""
        return (len(self.channels), *self.space)

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each channel: those of `unit`, separated by commas, or one shared by all."""
        named = tuple(self.unit.split(", "))
        return named if len(named) == len(self.channels) else (self.unit,) * len(self.channels)

    @property
    def length(self) -> int:
        """Frames in one training window: context and horizon together."""
        return self.context + self.horizon


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Consecutive frames of a batch of sequences, in the units of the data set.

    Attributes:
        values: floating point, `(batch, time, channel, *space)`.
        times: time of each frame relative to the last observed one, in frame intervals.
            Context frames have times `1 - n … 0`, target frames `1 … horizon`.
        channels: one name per channel.
        mask: True where a value is known, in the shape of `values`; None where all are. Unknown
            values (land, gaps) are NaN.
        coordinates: labels that the frames came with; None for bare arrays.
        actions: what an agent does between these frames and after them; the first leads from the
            first frame to the second; None where nobody acts. Those of a context extend as far as
            they are planned: a forecast of h frames after n needs n + h − 1 of them.
        agent_states: state of that agent at each frame; None where it is not measured.
    """

    values: Float[Tensor, "batch time channel *space"]
    times: Float[Tensor, " time"]
    channels: tuple[str, ...]
    mask: Bool[Tensor, "batch time channel *space"] | None = None
    coordinates: Coordinates | None = None
    actions: Float[Tensor, "batch step action"] | None = None
    agent_states: Float[Tensor, "batch time agent_state"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", as_names(self.channels))
        check_layout(self.values, ("batch", "time", "channel"), self.channels)
        check_times(self.times, self.values.shape[1])
        if self.mask is not None:
            check_mask(self.mask, self.values)
        check_series(self.actions, "actions", self.values.shape[:1])
        check_series(self.agent_states, "agent_states", self.values.shape[:2])

    @classmethod
    def context_of(
        cls,
        values: Any,
        channels: tuple[str, ...] | None = None,
        *,
        mask: Any = None,
        actions: Any = None,
        agent_states: Any = None,
    ) -> Frames:
        """Frames that end at time 0, from an array or tensor (batch, time, channel, *space)."""
        tensor = as_tensor(values)
        channels = channels or default_channels(tensor)
        length = tensor.shape[1] if tensor.ndim > 1 else 0
        return cls(
            values=tensor,
            times=torch.arange(1.0 - length, 1.0),
            channels=channels,
            mask=None if mask is None else torch.as_tensor(mask),
            actions=as_series(actions, "actions"),
            agent_states=as_series(agent_states, "agent_states"),
        )

    @classmethod
    def target_of(
        cls,
        values: Any,
        channels: tuple[str, ...] | None = None,
        *,
        mask: Any = None,
        agent_states: Any = None,
    ) -> Frames:
        """Frames at times 1, 2, …, from an array or tensor (batch, time, channel, *space)."""
        tensor = as_tensor(values)
        channels = channels or default_channels(tensor)
        length = tensor.shape[1] if tensor.ndim > 1 else 0
        return cls(
            values=tensor,
            times=torch.arange(1.0, length + 1.0),
            channels=channels,
            mask=None if mask is None else torch.as_tensor(mask),
            agent_states=as_series(agent_states, "agent_states"),
        )

    def __repr__(self) -> str:
        sizes = sizes_of(self.values, ("batch", "time", "channel"))
        unknown = (
            "" if self.mask is None else f", {1 - float(self.known.float().mean()):.0%} unknown"
        )
        return f"Frames({sizes}, {', '.join(self.channels):.80}, {span_of(self.times)}{unknown})"

    def _repr_html_(self) -> str:
        """A moving preview in notebooks: the first sequence."""
        shown = Forecast(
            samples=self.values[None],
            times=self.times,
            channels=self.channels,
            coordinates=self.coordinates,
        )
        return preview(repr(self), shown)

    @property
    def space(self) -> tuple[int, ...]:
        """Number of points along each space dimension."""
        return tuple(self.values.shape[3:])

    @property
    def known(self) -> Bool[Tensor, "batch time channel *space"]:
        """The mask, or one that is True everywhere."""
        return torch.ones_like(self.values, dtype=torch.bool) if self.mask is None else self.mask

    def __len__(self) -> int:
        """Number of frames in each sequence."""
        return self.values.shape[1]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Frames:
        """The same frames with their values on `device`."""
        if self.values.device == torch.device(device):
            return self
        return self._changed(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def select(self, sequences: slice) -> Frames:
        """The frames of some of the sequences."""
        return self._changed(lambda tensor: tensor[sequences])

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Frames:
        def each(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else change(tensor)

        return replace(
            self,
            values=change(self.values),
            mask=each(self.mask),
            actions=each(self.actions),
            agent_states=each(self.agent_states),
        )

    def at(self, places: slice | Sequence[int]) -> Frames:
        """Some of the frames of each sequence, and the actions from the first of them on."""
        rows = places if isinstance(places, slice) else list(places)
        numbers = range(len(self))[rows] if isinstance(rows, slice) else rows
        first = next(iter(numbers), 0)
        return replace(
            self,
            values=self.values[:, rows],
            times=self.times[rows],
            mask=None if self.mask is None else self.mask[:, rows],
            actions=None if self.actions is None else self.actions[:, first:],
            agent_states=None if self.agent_states is None else self.agent_states[:, rows],
        )

    def first(self, count: int) -> Frames:
        """At most the first `count` frames of each sequence."""
        return self.at(slice(count))

    def require_finite(self, what: str = "frames") -> Frames:
        """Return self, or raise `InputError` naming the first known value that is not finite."""
        finite = torch.isfinite(self.values)
        if self.mask is not None:
            finite = finite | ~self.mask
        if bool(finite.all()):
            return self
        bad = int((~finite).sum())
        first = tuple(int(i) for i in (~finite).nonzero()[0])
        remedy = "Fill the gaps or leave these frames out."
        if bool(self.values.isnan().any()):
            remedy = (
                "Where NaN means unknown, as on land, say so: "
                "Frames.context_of(values, mask=~numpy.isnan(values)). Otherwise fill the gaps."
            )
        raise InputError(
            f"The {what} must be finite, got {bad} NaN or infinite value(s), the first at "
            f"(batch, time, channel, *space) = {first}. {remedy}"
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Context and target of a batch of windows.

    Attributes:
        context: the observed frames, times `1 - n … 0`.
        target: the frames to forecast, times `1 … horizon`.
        latents: true latent variables where the data set knows them, each
            (batch, time, …) over context and target, or (batch, …) where constant in time.
    """

    context: Frames
    target: Frames
    latents: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.context, Frames) or not isinstance(self.target, Frames):
            raise InputError(
                f"Context and target are Frames, got {type(self.context).__name__} and "
                f"{type(self.target).__name__}."
            )
        shapes = [
            tuple(f.values.shape[:1] + f.values.shape[2:]) for f in (self.context, self.target)
        ]
        if shapes[0] != shapes[1] or self.context.channels != self.target.channels:
            raise InputError(
                "Context and target must share batch, channels and space, got "
                f"{shapes[0]} {self.context.channels} and {shapes[1]} {self.target.channels}."
            )

    @classmethod
    def of(
        cls,
        values: Float[Tensor, "batch time channel *space"],
        context: int,
        *,
        channels: tuple[str, ...] | None = None,
        latents: Mapping[str, Tensor] | None = None,
        mask: Bool[Tensor, "batch time channel *space"] | None = None,
        actions: Float[Tensor, "batch step action"] | None = None,
        agent_states: Float[Tensor, "batch time agent_state"] | None = None,
    ) -> Batch:
        """Cut sequences into their first `context` frames and the rest."""
        length = values.shape[1] if is_dense(values) and values.ndim > 1 else 0
        if not is_whole(context) or not 1 <= context < length:
            raise InputError(
                f"A window (batch, time, …) of {length} frames cannot be cut after "
                f"{context!r:.40} of them."
            )

        def cut(whole: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
            return (None, None) if whole is None else (whole[:, :context], whole[:, context:])

        masks, states = cut(mask), cut(agent_states)
        return cls(
            context=Frames.context_of(
                values[:, :context],
                channels,
                mask=masks[0],
                actions=actions,
                agent_states=states[0],
            ),
            target=Frames.target_of(
                values[:, context:], channels, mask=masks[1], agent_states=states[1]
            ),
            latents=latents or {},
        )

    @property
    def values(self) -> Float[Tensor, "batch time channel *space"]:
        """Context and target frames in one tensor."""
        return torch.cat([self.context.values, self.target.values], dim=1)

    @property
    def mask(self) -> Bool[Tensor, "batch time channel *space"] | None:
        """Masks of context and target in one tensor; None where every value is known."""
        if self.context.mask is None and self.target.mask is None:
            return None
        return torch.cat([self.context.known, self.target.known], dim=1)

    @property
    def actions(self) -> Float[Tensor, "batch step action"] | None:
        """Actions between the frames of context and target; None where nobody acts."""
        steps = len(self.context) + len(self.target) - 1
        return None if self.context.actions is None else self.context.actions[:, :steps]

    @property
    def agent_states(self) -> Float[Tensor, "batch time agent_state"] | None:
        """States of the agent in context and target; None where they are not measured."""
        before, after = self.context.agent_states, self.target.agent_states
        return None if before is None or after is None else torch.cat([before, after], dim=1)

    def __repr__(self) -> str:
        known = f", {', '.join(self.latents)}" if self.latents else ""
        return f"Batch({self.context!r}, {self.target!r}{known})"

    def __len__(self) -> int:
        """Number of windows in the batch."""
        return self.context.values.shape[0]

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """The same batch on `device`; the true latents stay where they are."""
        return Batch(
            context=self.context.to(device, non_blocking=non_blocking),
            target=self.target.to(device, non_blocking=non_blocking),
            latents=self.latents,
        )

    def select(self, windows: slice) -> Batch:
        """Some of the windows."""
        return Batch(
            context=self.context.select(windows),
            target=self.target.select(windows),
            latents={name: values[windows] for name, values in self.latents.items()},
        )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Samples of the future of a batch of sequences, in the units of the data set.

    Attributes:
        samples: `(sample, batch, time, channel, *space)`; deterministic models give equal ones.
        times: lead time of each frame, in frame intervals after the last observed frame.
        channels: one name per channel.
        coordinates: labels of the observed frames; None where those were bare arrays. Points
            that no labelled frame knew, as on land, are NaN.
    """

    samples: Float[Tensor, "sample batch time channel *space"]
    times: Float[Tensor, " time"]
    channels: tuple[str, ...]
    coordinates: Coordinates | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", as_names(self.channels))
        check_layout(self.samples, ("sample", "batch", "time", "channel"), self.channels)
        check_times(self.times, self.samples.shape[2])

    def __repr__(self) -> str:
        sizes = sizes_of(self.samples, ("sample", "batch", "time", "channel"))
        labels = "" if self.coordinates is None else ", labelled"
        return f"Forecast({sizes}, {', '.join(self.channels):.80}, {span_of(self.times)}{labels})"

    def _repr_html_(self) -> str:
        """A moving preview in notebooks: the mean of the first sequence."""
        return preview(repr(self), self)

    @property
    def mean(self) -> Float[Tensor, "batch time channel *space"]:
        """Mean over samples."""
        return self.samples.mean(dim=0)

    @property
    def std(self) -> Float[Tensor, "batch time channel *space"]:
        """Standard deviation over samples (unbiased); zero for a single sample."""
        if len(self.samples) == 1:
            return torch.zeros_like(self.samples[0])
        return self.samples.std(dim=0)

    @typed
    def quantile(self, probability: float) -> Float[Tensor, "batch time channel *space"]:
        """Quantile over samples, interpolated linearly, at a probability in [0, 1]."""
        if not 0 <= probability <= 1:
            raise InputError(f"A quantile's probability lies in [0, 1], got {probability}.")
        # By sorting: torch.quantile refuses more than 2**24 values.
        ordered = self.samples.sort(dim=0).values
        position = probability * (len(ordered) - 1)
        low = math.floor(position)
        high = min(low + 1, len(ordered) - 1)
        return torch.lerp(ordered[low], ordered[high], position - low)

    def to(self, device: torch.device | str) -> Forecast:
        """The same forecast with its samples on `device`."""
        return replace(self, samples=self.samples.to(device))

    def layout(self, *, statistics: bool = False, quantiles: Sequence[float] = ()) -> Layout:
        """Variables and coordinates of the forecast as a labelled data set; see `to_xarray`."""
        return Layout(
            channels=self.channels,
            shape=tuple(self.samples.shape),
            lead_times=tuple(self.times.tolist()),
            coordinates=self.coordinates,
            statistics=statistics,
            quantiles=tuple(quantiles),
        )

    @typed
    def to_xarray(
        self, *, statistics: bool = False, quantiles: Sequence[float] = ()
    ) -> xarray.Dataset:
        """One variable per channel, dimensions (realization, batch, lead_time, y, x) or points.

        Frames that came with labels keep them: names of dimensions, coordinates, units, and the
        calendar, in `init_time` and `valid_time`; `batch` is left out of a single sequence.

        Args:
            statistics: whether to add `NAME_mean` and `NAME_std` over samples.
            quantiles: probabilities of `NAME_quantiles`, along a dimension `quantile`.

        Errors:
            InputError: a probability outside [0, 1].
            MissingExtraError: xarray is not installed.
        """
        from statecast.errors import require
        from statecast.io.fields.forecast_layout import statistics_of

        require("xarray", "fields", "export a forecast as a labelled data set")
        layout = self.layout(statistics=statistics, quantiles=quantiles)
        values = self.samples.detach().cpu().numpy()
        dataset = layout.skeleton()
        for name, planned in layout.variables().items():
            found = values[:, :, :, planned.channel]
            axis = 1  # of the batch
            if planned.statistic != "samples":
                found, axis = statistics_of(found, planned.statistic, layout.quantiles), 0
            found = found if layout.batched else found.take(0, axis)
            dataset[name] = (planned.dims, found, dict(planned.attributes))
        return dataset

    @typed
    def save(self, path: str | Path, *, context: Frames | None = None) -> Path:
        """Write a new file by the ending of its name, whole or not at all.

        `.nc` and `.zarr` hold what `to_xarray` gives; `.npz` holds `samples`, `times`, `channels`;
        `.gif`, `.webp` and `.mp4` show the mean of the first sequence, or with `context` what
        `animate_forecast` draws; `.png`, `.pdf` and `.svg` are what `plot_forecast` draws of
        `context`.

        Args:
            path: the file.
            context: the observed frames, for pictures.

        Errors:
            InputError: a picture without its context.
            FileError: an ending that is not in this list, or a file that cannot be written.
        """
        from importlib import import_module

        from statecast.errors import FileError
        from statecast.io.atomic_files import write_npz
        from statecast.io.fields.writers import SINKS, write_labelled

        ending = Path(path).suffix.lower()
        samples = self.samples.detach().cpu().numpy()
        if ending in SINKS:
            return write_labelled(path, self.layout(), [samples])
        if ending == ".npz":
            return write_npz(
                path, samples=samples, times=self.times.numpy(), channels=np.array(self.channels)
            )
        if ending not in PICTURES:
            endings = (*SINKS, ".npz", *PICTURES)
            raise FileError(f"A forecast is written as {', '.join(endings)}, got {path}.")
        # By name: plots see frames, and frames do not see plots.
        animated = PICTURES[ending] == "animations"
        plots = import_module(f"statecast.plots.{PICTURES[ending]}")
        found = self.to("cpu")
        if animated and context is None:
            plots.animate_frames(found, path)
        elif context is None:
            raise InputError(f"A {ending} shows observed frames as well: pass them as context.")
        else:
            draw = plots.animate_forecast if animated else plots.plot_forecast
            draw(context.to("cpu"), found, path)
        return Path(path)


def preview(text: str, shown: Forecast) -> str:
    """HTML of a line of text, with the mean of the first sequence moving beneath."""
    from statecast.errors import StatecastError

    line = f"<p><code>{escape(text)}</code></p>"
    with TemporaryDirectory() as folder:
        try:
            picture = shown.save(Path(folder) / "preview.gif").read_bytes()
        except StatecastError as error:
            return f"{line}<p>No preview: {escape(str(error))}</p>"
    data = b64encode(picture).decode()
    return f'{line}<img width="{PREVIEW}" src="data:image/gif;base64,{data}"/>'


def sizes_of(values: Tensor, leading: tuple[str, ...]) -> str:
    """Sizes of the axes of frames in words: `batch 4, time 5, channel 1, space 32×32`."""
    sizes = [f"{name} {size}" for name, size in zip(leading, values.shape, strict=False)]
    return f"{', '.join(sizes)}, space {'×'.join(map(str, values.shape[len(leading) :]))}"


def span_of(times: Tensor) -> str:
    """First and last of some times."""
    return f"times {float(times[0]):g} … {float(times[-1]):g}"


def as_tensor(values: Any) -> Tensor:
    """A floating-point tensor from an array or tensor of numbers; integers are refused.

    Whether the integer 255 means 255 or 1 is for the caller to say.
    """
    if not isinstance(values, Tensor):
        if np.ma.isMaskedArray(values):
            raise InputError(
                "A masked array's unknown values would be lost: pass values.filled(np.nan), and "
                "`mask` to Frames."
            )
        try:
            array = np.asarray(values)
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:
            raise InputError(f"Frames must be an array of numbers: {error}.") from error
        if array.dtype.kind not in "fiub":
            raise InputError(f"Frames must be an array of numbers, got dtype {array.dtype}.")
        if array.dtype.newbyteorder("=") != array.dtype or not array.flags.writeable:
            array = array.astype(array.dtype.newbyteorder("="))
        if array.dtype.kind == "f" and array.itemsize > 8:  # torch has no longer ones
            array = array.astype(np.float64)
        if array.dtype.kind == "u" and array.itemsize > 1:  # nor these, everywhere
            array = array.astype(np.int64)
        # NumPy keeps the negative stride of a single number, which torch refuses.
        array = np.ascontiguousarray(array)
        values = torch.from_numpy(array.copy() if min(array.strides, default=0) < 0 else array)
    if not is_dense(values):
        raise InputError("Frames must be a dense tensor, got a sparse one, or one without numbers.")
    if not values.is_floating_point():
        raise InputError(
            f"Frames must be floating point, got {values.dtype}. "
            "For 8-bit images in [0, 1], pass values / 255."
        )
    return values if values.dtype == torch.float32 else values.float()


def as_series(values: Any, what: str) -> Tensor | None:
    """Actions or states of an agent as a tensor (batch, time, number); None without any.

    Those of one sequence, (time, number), need no batch axis.
    """
    if values is None:
        return None
    try:
        tensor = torch.as_tensor(values).float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} must be an array of numbers: {error}.") from error
    return tensor[None] if tensor.ndim == 2 else tensor


def default_channels(values: Tensor) -> tuple[str, ...]:
    """Names channel_0, channel_1, … for values (batch, time, channel, *space)."""
    count = values.shape[2] if values.ndim > 2 else 0
    return tuple(f"channel_{i}" for i in range(count))


def as_names(channels: object) -> tuple[str, ...]:
    """Names of channels as a tuple.

    Errors:
        InputError: they are not a list of texts.
    """
    if not isinstance(channels, list | tuple) or not all(isinstance(n, str) for n in channels):
        raise InputError(f"Channels are a tuple of names, got {channels!r:.80}.")
    return tuple(channels)


def is_dense(values: object) -> TypeGuard[Tensor]:
    """Whether something is a dense tensor that holds its numbers."""
    return isinstance(values, Tensor) and values.layout == torch.strided and not values.is_meta


def is_range(found: object) -> bool:
    """Whether something is a pair of finite numbers, the smaller one first."""
    if not isinstance(found, list | tuple) or len(found) != 2 or not all(map(is_number, found)):
        return False
    return -math.inf < found[0] < found[1] < math.inf


def check_layout(values: Tensor, leading: tuple[str, ...], channels: tuple[str, ...]) -> None:
    """Raise `InputError` unless `values` is (…leading, *space) with as many channels as named."""
    layout = f"({', '.join(leading)}, *space)"
    if not is_dense(values):
        raise InputError(f"Frames must be a dense tensor {layout}, got {type(values).__name__}.")
    if not values.is_floating_point():
        raise InputError(f"Frames must be floating point {layout}, got {values.dtype}.")
    if values.ndim - len(leading) not in SPACE_NAMES:
        raise InputError(
            f"Frames must have shape {layout} with 1 or 2 space dimensions, "
            f"got {tuple(values.shape)}."
        )
    if 0 in values.shape:
        raise InputError(f"Frames must not be empty, got shape {tuple(values.shape)} = {layout}.")
    if values.shape[len(leading) - 1] != len(channels):
        raise InputError(
            f"Frames of shape {tuple(values.shape)} = {layout} have "
            f"{values.shape[len(leading) - 1]} channel(s), but {len(channels)} are named: "
            f"{channels}."
        )


def check_mask(mask: Tensor, values: Tensor) -> None:
    """Raise `InputError` unless `mask` is boolean, of the shape of `values`, NaN where False."""
    found = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != values.shape:
        raise InputError(
            f"A mask is boolean, of the shape of its values, {tuple(values.shape)}, got {found}."
        )
    if not bool(values[~mask].isnan().all()):
        raise InputError("Values that a mask calls unknown must be NaN; set them so.")


def check_series(series: Tensor | None, what: str, leading: tuple[int, ...]) -> None:
    """Raise `InputError` unless a series is None, or of three axes that begin with these sizes."""
    if series is None:
        return
    if not is_dense(series) or not series.is_floating_point():
        raise InputError(f"{what} are a dense tensor of floating-point numbers.")
    if series.ndim != 3 or tuple(series.shape[: len(leading)]) != tuple(leading):
        raise InputError(
            f"{what} of these frames are (batch, time, number) and begin with {tuple(leading)}, "
            f"got {tuple(series.shape)}."
        )


def check_times(times: Tensor, length: int) -> None:
    """Raise `InputError` unless `times` holds `length` increasing finite values."""
    if not isinstance(times, Tensor) or not times.is_floating_point():
        found = times.dtype if isinstance(times, Tensor) else type(times).__name__
        raise InputError(f"Times are a tensor of floating-point numbers, got {found}.")
    if times.shape != (length,):
        raise InputError(f"{length} frames need {length} times, got shape {tuple(times.shape)}.")
    listed = times.tolist()
    if not all(map(math.isfinite, listed)) or not all(map(lt, listed, listed[1:])):
        raise InputError(f"Times must be finite and increase, got {listed}.")
