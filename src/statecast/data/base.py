"""Data sources: each provides a spec, a card, and the windows of three disjoint splits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import Dataset
from torch.utils.data._utils.collate import default_collate_fn_map

from statecast.checks import typed
from statecast.distributed import Part
from statecast.errors import InputError
from statecast.frames import Batch, Forecast, Frames, FrameSpec
from statecast.io.fields.coordinates import Coordinates
from statecast.io.fields.preprocessing import Preparation
from statecast.nn.random import Streams

Array = np.ndarray[Any, np.dtype[Any]]
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


class InferredOption(NamedTuple):
    """A choice that a data set made from its data."""

    what: str  # for people
    chosen: str  # for people
    option: str | None = None  # the option that was left open, to be written into the recipe
    value: Any = None  # of the option


class Windows(Dataset[Batch], ABC):
    """The windows of one split: sequences cut into context and target.

    A window is addressed by its index and is the same each time it is asked for. Windows are a
    data set of PyTorch: `DataLoader(windows, batch_size=8)` gives a `Batch` of 8 windows at a time.

    Class attributes:
        repeats: whether windows repeat in a training batch that is larger than the split, as suits
            small data sets of one's own; otherwise such a batch is an error.
    """

    repeats: ClassVar[bool] = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} windows)"

    @abstractmethod
    def __len__(self) -> int:
        """Number of windows."""

    @abstractmethod
    def batch(self, indices: Tensor) -> Batch:
        """The windows of these indices (a 1-D integer tensor), in this order."""

    @property
    @abstractmethod
    def digest(self) -> str:
        """Hexadecimal sha256 of the content: equal digests mean equal windows."""

    @property
    def sequence_numbers(self) -> Int[Tensor, " window"]:
        """The sequence that each window is cut from: windows of one sequence are not independent.

        By default, each window is a sequence of its own.
        """
        return torch.arange(len(self))

    def to_score_units(self, forecast: Forecast, batch: Batch) -> tuple[Forecast, Frames]:
        """A forecast of a batch of these windows, and its target, in the units of the scores.

        By default, nothing changes. Windows of normalised frames override this and `scored_spec`.
        """
        return forecast, batch.target

    def coordinates(self, window: int) -> Coordinates | None:
        """Labels of a window's context frames; None if they have none."""
        return None

    def scored_spec(self, spec: FrameSpec) -> FrameSpec:
        """The spec of the windows, with range and unit of what `to_score_units` returns."""
        return spec

    def __getitem__(self, index: int) -> Batch:
        """One window, as a batch of its own.

        Errors:
            IndexError: the index is out of range, which ends an iteration over the windows.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"There are {len(self)} windows; the index {index} is out of range.")
        return self.batch(torch.tensor([index % len(self)]))

    def __getitems__(self, indices: Sequence[int]) -> list[Batch]:
        """The windows of a batch of PyTorch's `DataLoader`, read at once."""
        return [self.batch(torch.tensor(indices))]

    def training_batch(self, step: int, count: int, *, seed: int) -> Batch:
        """The batch of a training step: a function of (seed, step) alone, not of earlier batches.

        Sources that generate fresh windows override this, and return None as `training_indices`.
        """
        numbers = self.training_indices(step, count, seed=seed)
        assert numbers is not None
        return self.batch(numbers)

    def training_batch_part(self, step: int, count: int, part: Part, *, seed: int) -> Batch:
        """One process's share of the windows of `training_batch`.

        Sources that override `training_batch` may override this too, to make only this share.
        """
        numbers = self.training_indices(step, count, seed=seed)
        if numbers is None or type(self).training_batch is not Windows.training_batch:
            return self.training_batch(step, count, seed=seed).select(part.rows)
        return self.batch(numbers[part.rows])

    def training_indices(self, step: int, count: int, *, seed: int) -> Tensor | None:
        """Numbers of the windows in the batch of a training step, (count,); None for fresh ones.

        By default, an epoch is a random permutation of the windows and ends with its last
        complete batch. If the split is smaller than a batch, its windows repeat.

        Errors:
            InputError: the split is smaller than a batch, and `repeats` is false.
        """
        if count > len(self) and self.repeats:
            generator = seeded_generator(seed, step)
            times = -(-count // len(self))
            orders = [torch.randperm(len(self), generator=generator) for _ in range(times)]
            return torch.cat(orders)[:count]
        if count > len(self):
            raise InputError(
                f"A batch of {count} needs at least {count} windows, but this split has "
                f"{len(self)}. Lower train.batch_size."
            )
        epoch, position = divmod(step, len(self) // count)
        order = torch.randperm(len(self), generator=seeded_generator(seed, epoch))
        return order[position * count : (position + 1) * count]


class CutWindows(Windows):
    """Windows that are cut from sequences.

    Args:
        starts: (window, 2), the sequence and the first frame of each window.
        context: frames observed.
        length: context and target frames together.
        channels: names of the channels.
    """

    def __init__(
        self, starts: Array, *, context: int, length: int, channels: tuple[str, ...]
    ) -> None:
        self.starts, self.context, self.length, self.channels = starts, context, length, channels

    def __len__(self) -> int:
        return len(self.starts)

    def read_each(self, indices: Tensor, read: Callable[[int, int, int], Array]) -> Array:
        """Windows, each read from a sequence, from a first frame up to a last one."""
        starts = self.starts[indices.numpy()].tolist()
        return np.stack([read(sequence, first, first + self.length) for sequence, first in starts])

    @property
    def sequence_numbers(self) -> Int[Tensor, " window"]:
        """The sequence that each window is cut from."""
        return torch.as_tensor(self.starts[:, 0], dtype=torch.int64)


def collate_batches(batches: Sequence[Batch], **options: object) -> Batch:
    """Join batches into one, for PyTorch's `DataLoader`."""
    first = batches[0]
    if len(batches) == 1:
        return first
    masked = any(batch.mask is not None for batch in batches)
    known = [torch.cat([batch.context.known, batch.target.known], dim=1) for batch in batches]

    def together(series: list[Tensor | None]) -> Tensor | None:
        return None if series[0] is None else torch.cat([one for one in series if one is not None])

    return Batch.of(
        torch.cat([batch.values for batch in batches]),
        len(first.context),
        channels=first.context.channels,
        latents={
            name: torch.cat([batch.latents[name] for batch in batches]) for name in first.latents
        },
        mask=torch.cat(known) if masked else None,
        actions=together([batch.context.actions for batch in batches]),
        agent_states=together([batch.agent_states for batch in batches]),
    )


default_collate_fn_map[Batch] = collate_batches


class DataSource(ABC):
    """A data set: where its frames come from and how they are split.

    Sequences are split first and cut into windows afterwards, so that no frame of a
    validation or test sequence is ever seen in training.
    """

    def __init_subclass__(cls) -> None:
        """Check the options of every data set against its signature."""
        super().__init_subclass__()
        if "__init__" in vars(cls):
            cls.__init__ = typed(cls.__init__)  # type: ignore[method-assign]

    @property
    @abstractmethod
    def spec(self) -> FrameSpec:
        """Shape, channels, range and unit of a training window."""

    @abstractmethod
    def windows(self, split: Split) -> Windows:
        """The windows of a split; training windows have the horizon of `spec`."""

    @property
    @abstractmethod
    def card(self) -> dict[str, Any]:
        """Facts about the data for a reader: source, licence, sizes, protocol (JSON values)."""

    @property
    def has_training_windows(self) -> bool:
        """Whether there is a training split; data that only verify forecasts may lack one."""
        return True

    @property
    def inferred_options(self) -> Sequence[InferredOption]:
        """Choices made by looking at the data, where options left them open."""
        return ()

    @property
    def preparation(self) -> Preparation | None:
        """Preprocessing of labelled fields, which a run keeps; None for other data."""
        return None


def horizons_of(
    context: int, horizon: int, test_horizon: int, validation_horizon: int | None
) -> dict[Split, int]:
    """Frames to forecast in each split; by default as many in validation as in training.

    Errors:
        InputError: a length is below 1.
    """
    found: dict[Split, int] = {
        "train": horizon,
        "validation": horizon if validation_horizon is None else validation_horizon,
        "test": test_horizon,
    }
    if min(context, *found.values()) < 1:
        raise InputError(
            f"Context and horizons must be at least 1 frame, got {context} and {found}."
        )
    return found


def seeded_generator(*numbers: int) -> torch.Generator:
    """A CPU generator whose stream depends on all the numbers, in order."""
    # Mixed by SplitMix64's finaliser, so that (1, 2) and (2, 1), or neighbours, share no stream.
    mask = (1 << 64) - 1
    state = 0
    for number in numbers:
        state = (state + (number & mask) + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return torch.Generator().manual_seed(state >> 1)


def window_generators(numbers: Tensor, *seed: int) -> Streams:
    """A random stream for each window; it follows from the seed and the window's number alone.

    Args:
        numbers: of the windows in their split, (window,).
        seed: numbers that tell these streams from others.
    """
    return Streams(seeded_generator(*seed, number) for number in numbers.tolist())
