"""Batch: context and target of a batch of windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statecast.checks import is_whole
from statecast.errors import InputError
from statecast.frames.frames import Frames
from statecast.frames.tensors import is_dense


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Context and target of a batch of windows.

    Attributes:
        context: the observed frames, times `1 - n … 0`.
        target: the frames to forecast, times `1 … horizon`.
        latents: true latent variables, if the data set knows them, each
            (batch, time, …) over context and target, or (batch, …) if constant in time.
    """

    context: Frames
    target: Frames
    latents: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.context, Frames) or not isinstance(self.target, Frames):
            raise InputError(
                f"Context and target must be Frames, got {type(self.context).__name__} and "
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
                f"A context must have at least 1 frame and fewer than its window of {length} "
                f"frames (batch, time, …), got {context!r:.40}."
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
        """Masks of context and target in one tensor; None if every value is known."""
        if self.context.mask is None and self.target.mask is None:
            return None
        return torch.cat([self.context.known, self.target.known], dim=1)

    @property
    def actions(self) -> Float[Tensor, "batch step action"] | None:
        """Actions between the frames of context and target; None if nobody acts."""
        steps = len(self.context) + len(self.target) - 1
        return None if self.context.actions is None else self.context.actions[:, :steps]

    @property
    def agent_states(self) -> Float[Tensor, "batch time agent_state"] | None:
        """States of the agent in context and target; None if they are not measured."""
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
        return replace(
            self,
            context=self.context.to(device, non_blocking=non_blocking),
            target=self.target.to(device, non_blocking=non_blocking),
        )

    def select(self, windows: slice) -> Batch:
        """A batch of some of these windows."""
        return Batch(
            context=self.context.select(windows),
            target=self.target.select(windows),
            latents={name: values[windows] for name, values in self.latents.items()},
        )
