"""FrameSpec: shape, channels and units of the windows of a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass

from statecast.checks import MOST, is_number, is_whole
from statecast.errors import InputError
from statecast.frames.tensors import as_names
from statecast.io.fields.forecast_layout import SPACE_NAMES


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
        unit: unit of the values, `"1"` if they have none; where channels differ, the unit of
            each, separated by commas.
        actions: numbers per action between two frames; 0 for frames without actions.
        agent_states: numbers per state of the acting agent; 0 if its state is not measured.
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
                "A value_range is a pair of finite numbers, the smaller one first, got "
                f"{self.value_range!r:.80}."
            )
        if not isinstance(self.unit, str):
            raise InputError(f"A unit must be text, got {self.unit!r:.40}.")
        numbers = (self.actions, self.agent_states)
        if not all(map(is_whole, numbers)) or min(numbers) < 0 or numbers[1] > numbers[0] == 0:
            raise InputError(
                "actions and agent_states must be whole numbers of at least 0, and agent_states "
                f"need actions, got {self.actions!r:.40} actions and {self.agent_states!r:.40} "
                "agent_states."
            )
        object.__setattr__(self, "channels", names)
        object.__setattr__(self, "space", tuple(map(int, sizes)))

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one frame: (channel, *space)."""
        return (len(self.channels), *self.space)

    @property
    def units(self) -> tuple[str, ...]:
        """Unit of each channel: `unit` names one for each, or one for all."""
        named = tuple(self.unit.split(", "))
        return named if len(named) == len(self.channels) else (self.unit,) * len(self.channels)

    @property
    def length(self) -> int:
        """Frames in one training window: context and horizon together."""
        return self.context + self.horizon


def is_range(found: object) -> bool:
    """Whether something is a pair of finite numbers, the smaller one first."""
    if not isinstance(found, list | tuple) or len(found) != 2 or not all(map(is_number, found)):
        return False
    return -math.inf < found[0] < found[1] < math.inf
