"""Frames and Forecast: consecutive frames of a batch of sequences, and samples of their future."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.checks import typed
from statecast.errors import FileError, InputError, StatecastError, require
from statecast.frames.tensors import (
    as_names,
    as_series,
    as_tensor,
    check_layout,
    check_mask,
    check_series,
    check_times,
    default_channels,
    sizes_of,
    span_of,
)
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.forecast_layout import Layout, statistics_of

if TYPE_CHECKING:
    import xarray

PICTURES = {
    **dict.fromkeys((".gif", ".webp", ".mp4"), "animations"),
    **dict.fromkeys((".png", ".pdf", ".svg"), "forecasts"),
}  # module of `plots` that draws each
PREVIEW = 192  # pixels: width of a forecast in a notebook


@dataclass(frozen=True, kw_only=True)
class Frames:
    """Consecutive frames of a batch of sequences, in the units of the data set.

    Attributes:
        values: floating point, `(batch, time, channel, *space)`.
        times: time of each frame relative to the last observed one, in frame intervals.
            Context frames have times `1 - n … 0`, target frames `1 … horizon`.
        channels: one name per channel.
        mask: True where a value is known, in the shape of `values`; None if all are known.
            Unknown values (land, gaps) are NaN.
        coordinates: labels that the frames came with; None for bare arrays.
        actions: actions of an agent; the first one leads from the first frame to the second. None
            if nobody acts. A context also holds the actions planned after it: a forecast of h
            frames after n observed ones takes n + h − 1 actions.
        agent_states: state of that agent at each frame; None if it is not measured.
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
        length = tensor.shape[1] if tensor.ndim > 1 else 0
        return cls(
            values=tensor,
            times=torch.arange(1.0 - length, 1.0),
            channels=channels or default_channels(tensor),
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
        before = cls.context_of(values, channels, mask=mask, agent_states=agent_states)
        return replace(before, times=before.times + len(before))

    def __repr__(self) -> str:
        sizes = sizes_of(self.values, ("batch", "time", "channel"))
        unknown = (
            "" if self.mask is None else f", {1 - float(self.known.float().mean()):.0%} unknown"
        )
        return f"Frames({sizes}, {', '.join(self.channels):.80}, {span_of(self.times)}{unknown})"

    def _repr_html_(self) -> str:
        """A moving preview of the first sequence, for notebooks."""
        shown = Forecast(
            samples=self.values[None],
            times=self.times,
            channels=self.channels,
            coordinates=self.coordinates,
        )
        return preview(repr(self), shown, "Sequence")

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
        """The frames of some sequences."""
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
        """Some frames of each sequence, and the actions from the first of these frames on."""
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
                "If NaN means unknown, as on land, pass a mask: "
                "Frames.context_of(values, mask=~numpy.isnan(values)). Otherwise fill the gaps. "
                "Frames that are missing as a whole need a model that takes gaps, such as kvae."
            )
        raise InputError(
            f"The {what} must be finite, got {bad} NaN or infinite value(s), the first at "
            f"(batch, time, channel, *space) = {first}. {remedy}"
        )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Samples of the future of a batch of sequences, in the units of the data set.

    Attributes:
        samples: `(sample, batch, time, channel, *space)`; all equal from a deterministic model.
        times: lead time of each frame, in frame intervals after the last observed frame.
        channels: one name per channel.
        coordinates: labels of the observed frames; None for bare arrays. Points that were unknown
            in all labelled frames, as on land, are NaN.
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
        """A moving preview of the mean of the first sequence, for notebooks."""
        mean = f"Mean of {len(self.samples)} samples, sequence"
        return preview(repr(self), self, mean if len(self.samples) > 1 else "Sequence")

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
    def quantile(
        self, probability: float | Sequence[float]
    ) -> Float[Tensor, "*probability batch time channel *space"]:
        """Quantile over samples, interpolated linearly, at a probability in [0, 1].

        A list of probabilities gives as many quantiles, along a first axis.
        """
        several = isinstance(probability, Sequence)
        wanted = torch.tensor(probability if several else [probability], dtype=torch.float64)
        if not len(wanted) or not bool(((wanted >= 0) & (wanted <= 1)).all()):
            raise InputError(f"A quantile's probability must lie in [0, 1], got {probability}.")
        # By sorting: torch.quantile refuses more than 2**24 values.
        ordered = self.samples.sort(dim=0).values
        found = []
        for position in (wanted * (len(ordered) - 1)).tolist():
            low = math.floor(position)
            high = min(low + 1, len(ordered) - 1)
            found.append(torch.lerp(ordered[low], ordered[high], position - low))
        return torch.stack(found) if several else found[0]

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
        """One variable per channel, with dimensions (realization, batch, lead_time, y, x).

        Point observations have the dimension `point` in place of y and x. Labelled frames keep
        their labels: names of dimensions, coordinates, units, and the calendar, in `init_time`
        and `valid_time`; they have no `batch` if there is only one sequence.

        Args:
            statistics: whether to add `NAME_mean` and `NAME_std` over samples.
            quantiles: probabilities of `NAME_quantiles`, along a dimension `quantile`.

        Errors:
            InputError: a probability outside [0, 1].
            MissingExtraError: xarray is not installed.
        """
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
        """Write a file, whole or not at all. The ending of its name sets the format.

        `.nc` and `.zarr` hold what `to_xarray` gives. `.npz` holds `samples`, `times`, `channels`.
        `.gif`, `.webp` and `.mp4` show the mean of the first sequence, or with `context` what
        `animate_forecast` draws. `.png`, `.pdf` and `.svg` show what `plot_forecast` draws; they
        need `context`.

        Args:
            path: the file.
            context: the observed frames, for pictures.

        Errors:
            InputError: `.png`, `.pdf` or `.svg` without `context`.
            FileError: another ending, or the file cannot be written.
            MissingExtraError: a package that the format needs is not installed.
        """
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
        # Imported by name: plots import frames, so frames must not import plots.
        animated = PICTURES[ending] == "animations"
        plots = import_module(f"statecast.plots.{PICTURES[ending]}")
        found = self.to("cpu")
        if animated and context is None:
            plots.animate_frames(found, path)
        elif context is None:
            raise InputError(f"A {ending} also shows the observed frames: pass them as context.")
        else:
            draw = plots.animate_forecast if animated else plots.plot_forecast
            draw(context.to("cpu"), found, path)
        return Path(path)


def preview(text: str, shown: Forecast, what: str) -> str:
    """HTML: a line of text, and below it an animation of the mean of the first sequence."""
    line = f"<p><code>{escape(text)}</code></p>"
    with TemporaryDirectory() as folder:
        try:
            picture = shown.save(Path(folder) / "preview.gif").read_bytes()
        except StatecastError as error:
            return f"{line}<p>No preview: {escape(str(error))}</p>"
    data = b64encode(picture).decode()
    told = f"{what} 1 of {shown.samples.shape[1]}"
    return (
        f'{line}<img width="{PREVIEW}" style="image-rendering: pixelated" alt="{told}" '
        f'src="data:image/gif;base64,{data}"/><p>{told}</p>'
    )
