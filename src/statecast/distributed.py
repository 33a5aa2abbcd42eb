"""Processes that share the work of one command, as `torchrun` starts them; one by default."""

from __future__ import annotations

import math
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from statecast.errors import InputError, ProcessError, StatecastError

if TYPE_CHECKING:
    from torch import Tensor

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # set by torchrun
PATIENCE = timedelta(minutes=30)  # how long a process waits for another one
PATIENCE_NAME = "STATECAST_PATIENCE"  # environment variable that changes it, in seconds
# Signals that ask a process to stop; schedulers send the last two, which Windows lacks.
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)
Found = TypeVar("Found")


@dataclass(frozen=True)
class Part:
    """The consecutive windows of a batch that one process handles."""

    start: int
    stop: int
    whole: int  # windows of the batch

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """Place of these windows in the batch."""
        return slice(self.start, self.stop)


def launched_processes() -> int:
    """Number of processes launched for this command, whether they have joined a group or not."""
    if not all(os.environ.get(name) for name in LAUNCHED):
        return 1
    return int(os.environ["WORLD_SIZE"])


def launched_rank() -> int:
    """Rank of this process among those launched for this command, in a group or not."""
    return 0 if launched_processes() == 1 else int(os.environ["RANK"])


@contextmanager
def process_group() -> Iterator[None]:
    """Join the other processes of the command, inside the block.

    Does nothing in a process that was launched alone, or that has joined the group already. Gloo
    exchanges CPU tensors, NCCL GPU tensors; each process takes a GPU of its own as `cuda`.

    Errors:
        ProcessError: the processes do not find each other.
        InputError: the environment variable `STATECAST_PATIENCE` is not a number of seconds.
    """
    if launched_processes() == 1 or world_size() > 1:
        yield
        return
    import torch
    from torch import distributed

    backend = "gloo"
    if torch.cuda.is_available():
        local = int(os.environ.get("LOCAL_RANK") or os.environ["RANK"])
        torch.cuda.set_device(local % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    try:
        distributed.init_process_group(backend, timeout=patience())
    except (RuntimeError, ValueError) as error:
        if isinstance(error, StatecastError):
            raise
        raise ProcessError(
            f"{launched_processes()} processes should work together but cannot find each other: "
            f"{first_line(error)} Start them with torchrun."
        ) from error
    try:
        yield
    except BaseException as error:
        if isinstance(error, StatecastError):
            error.told = bool(error.told)  # unless the main process reports it, this one does
        forget_locals(error)
        raise
    finally:
        distributed.destroy_process_group()


def forget_locals(error: BaseException) -> None:
    """Release the local variables of the functions that an error has ended.

    One of them is the reducer of `DistributedDataParallel`. If it is the last to hold the process
    group, its destruction waits for a thread of gloo while holding the lock that this thread may
    need.
    """
    found: BaseException | None = error
    while found is not None:
        traceback.clear_frames(found.__traceback__)
        found = found.__context__


def patience() -> timedelta:
    """How long a process waits for another one: 30 minutes by default.

    Errors:
        InputError: the environment variable `STATECAST_PATIENCE` is not a number of seconds.
    """
    given = os.environ.get(PATIENCE_NAME)
    if not given:
        return PATIENCE
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"{PATIENCE_NAME} must be a positive number of seconds, got {given!r}.")
    return timedelta(seconds=seconds)


def world_size() -> int:
    """Number of processes that work together."""
    from torch import distributed

    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def rank() -> int:
    """Number of this process among those that work together, from 0."""
    from torch import distributed

    return distributed.get_rank() if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this is the main process, which writes the results of all."""
    return rank() == 0


def share(items: Tensor) -> Tensor:
    """This process's consecutive part of the items; parts differ by at most one item."""
    return items.tensor_split(world_size())[rank()]


def part_of_batch(count: int) -> Part:
    """This process's share of a batch: equal shares for all processes.

    Errors:
        InputError: the batch does not divide equally among the processes.
    """
    each, rest = divmod(count, world_size())
    if rest:
        raise InputError(
            f"A batch of {count} windows does not divide equally among {world_size()} processes. "
            "Change train.batch_size, or launch another number of processes."
        )
    return Part(rank() * each, (rank() + 1) * each, count)


def all_gather(own: Found) -> list[Found]:
    """The objects of all processes, in the order of their ranks.

    All processes must make the same calls.

    Errors:
        ProcessError: another process has ended.
    """
    if world_size() == 1:
        return [own]
    from torch import distributed

    found: list[Found | None] = [None] * world_size()
    with process_errors():
        distributed.all_gather_object(found, own)
    return cast("list[Found]", found)


def run_on_main(act: Callable[[], Found]) -> Found:
    """Call a function in the main process alone; all processes get its result, or its error.

    Errors:
        ProcessError: another process has ended.
    """
    if world_size() == 1:
        return act()
    from torch import distributed

    outcome: list[Any] = [None]
    if is_main():
        try:
            outcome = [act()]
        except StatecastError as error:
            outcome = [_Failed(error)]
    with process_errors():
        distributed.broadcast_object_list(outcome, src=0)
    if isinstance(outcome[0], _Failed):
        outcome[0].error.told = not is_main()
        raise outcome[0].error
    return cast("Found", outcome[0])


class _Failed(NamedTuple):
    """An error instead of a result."""

    error: StatecastError


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum a tensor over processes, in place; the result has the same bits in every process."""
    if world_size() > 1:
        from torch import distributed

        with process_errors():
            distributed.all_reduce(tensor)
    return tensor


def all_reduce_max(own: int) -> int:
    """The largest number that any process has."""
    return max(all_gather(own))


@contextmanager
def process_errors() -> Iterator[None]:
    """Turn the errors of a collective call into `ProcessError` if another process has failed."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, StatecastError) or world_size() == 1:
            raise
        line = first_line(error)
        who = f"Process {rank()} of {world_size()}"
        if "timed out" in line.lower() or "timeout" in line.lower():
            raise ProcessError(
                f"{who} has waited {patience().total_seconds():g} s for another process, which "
                f"hangs or is slow. To wait longer, set {PATIENCE_NAME} to a number of seconds."
            ) from error
        if "peer" not in line and "onnection" not in line:  # an error of this process
            raise
        raise ProcessError(
            f"{who} lost another process. The error of that process says why, unless it was killed."
        ) from error


def first_line(error: Exception) -> str:
    """The first line of an error's message, as a sentence."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
    return f"{line}."
