"""A training batch that several processes share: what one of them must know of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from statecast.distributed import rank, size, summed

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Part:
    """Consecutive items out of a whole, that fall to one process."""

    start: int
    stop: int
    whole: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def share(self) -> float:
        """How much of the whole it is."""
        return len(self) / self.whole


def part_of(whole: int) -> Part:
    """The part of so many items that falls to this process, as `processes.share` cuts them."""
    each, more = divmod(whole, size())
    start = rank() * each + min(rank(), more)
    return Part(start, start + each + (rank() < more), whole)


class _Shared:
    """The part of the batch that a loss is being computed of."""

    part: Part | None = None


@contextmanager
def shared(part: Part) -> Iterator[None]:
    """Context in which losses are of this part of a batch, and all processes compute theirs."""
    before, _Shared.part = _Shared.part, part
    try:
        yield
    finally:
        _Shared.part = before


def is_shared() -> bool:
    """Whether the batch of the loss that is being computed is shared."""
    return _Shared.part is not None


def in_whole(count: Tensor) -> Tensor:
    """A number of this part, such as one to divide by, as it is in the whole batch on average.

    That is, the sum over processes times the part's share of the windows; the number itself where
    no batch is shared. All processes must call it equally often.
    """
    if _Shared.part is None:
        return count
    return (summed(count.double()) * _Shared.part.share).float()
