"""Frames: consecutive frames of a batch of sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.errors import InputError
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
        from statecast.frames.forecast import Forecast, preview

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
                "Frames.context_of(values, mask=~numpy.isnan(values)). Otherwise fill the gaps."
            )
        raise InputError(
            f"The {what} must be finite, got {bad} NaN or infinite value(s), the first at "
            f"(batch, time, channel, *space) = {first}. {remedy}"
        )
