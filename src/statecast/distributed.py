"""Processes that share the work of one command, as `torchrun` starts them; one by default."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from statecast.errors import InputError, ProcessError, StatecastError

if TYPE_CHECKING:
    from torch import Tensor

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
Found = TypeVar("Found")
PATIENCE = timedelta(hours=4)  # how long a process waits for one that is alive
PROMPT = timedelta(minutes=10)  # the same, where all have as much to do
PATIENCE_NAME = "STATECAST_PATIENCE"  # environment variable that says otherwise, in seconds
SPOKEN = 3.0  # seconds that others wait for the main process to name their error
SAID = "statecast/said"  # where it is named
OUTLIVING = "TORCHELASTIC_USE_AGENT_STORE"  # set by torchrun, whose store outlives processes


class _Meeting:
    """Where processes meet: the group that they wait in, and the store beside it."""

    group: Any = None  # None for the group of all
    store: Any = None


def asked_for() -> int:
    """How many processes were launched for this command, joined or not."""
    if not all(os.environ.get(name) for name in LAUNCHED):
        return 1
    return int(os.environ["WORLD_SIZE"])


def number_of_this() -> int:
    """Rank of this process among those that were launched for this command, joined or not."""
    return 0 if asked_for() == 1 else int(os.environ["RANK"])


@contextmanager
def joined() -> Iterator[None]:
    """Work together with the other processes of the command, inside the block.

    Does nothing in a process that was launched alone, or that has joined already. Tensors of the
    processor pass by gloo, those of GPUs by NCCL; each process takes a GPU of its own as `cuda`.
    An error that the main process meets as well is marked as told by it.

    Errors:
        ProcessError: the processes do not find each other.
    """
    if asked_for() == 1 or size() > 1:
        yield
        return
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    backend = "gloo"
    if torch.cuda.is_available():
        local = int(os.environ.get("LOCAL_RANK") or os.environ["RANK"])
        torch.cuda.set_device(local % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    try:
        store, number, count = next(rendezvous("env://", timeout=PROMPT))
        distributed.init_process_group(
            backend, store=store, rank=number, world_size=count, timeout=PATIENCE
        )
    except (RuntimeError, ValueError) as error:
        raise ProcessError(
            f"{asked_for()} processes should work together and do not find each other: "
            f"{first_line(error)} Start them with torchrun."
        ) from error
    _Meeting.store = store
    try:
        yield
    except StatecastError as error:
        error.told = _told_by_main(error) if error.told is None else error.told
        raise
    finally:
        _Meeting.store = None
        distributed.destroy_process_group()


@contextmanager
def prompt() -> Iterator[None]:
    """Wait for other processes no longer than `patience()` inside the block.

    For work that all of them have as much of, such as the steps of a training.
    """
    if size() == 1:
        yield
        return
    before, _Meeting.group = _Meeting.group, new_group()
    try:
        yield
    finally:
        _Meeting.group = before


def patience() -> timedelta:
    """How long a process waits for another that has as much to do: 10 minutes by default.

    Errors:
        InputError: the environment variable `STATECAST_PATIENCE` is no number of seconds.
    """
    given = os.environ.get(PATIENCE_NAME)
    if not given:
        return PROMPT
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"{PATIENCE_NAME} must be a positive number of seconds, got {given!r}.")
    return timedelta(seconds=seconds)


def new_group() -> Any:
    """A group of all processes, whose collectives are apart from those of others, and prompt."""
    from torch import distributed

    with answered():
        return distributed.new_group(timeout=patience())


def size() -> int:
    """Number of processes that work together."""
    from torch import distributed

    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    from torch import distributed

    return distributed.get_rank() if size() > 1 else 0


def is_main() -> bool:
    """Whether this process writes what all of them found."""
    return rank() == 0


def is_first() -> bool:
    """Whether this process is the main one of its command, joined with the others or not yet."""
    return asked_for() == 1 or os.environ["RANK"] == "0"


def share(items: Tensor) -> Tensor:
    """The consecutive part of the items that falls to this process; parts differ by one at most."""
    return items.tensor_split(size())[rank()]


def gathered(own: Found) -> list[Found]:
    """What each process has found, in the order of their ranks, for every one of them.

    All processes must call it equally often.

    Errors:
        ProcessError: another process has ended.
    """
    if size() == 1:
        return [own]
    from torch import distributed

    found: list[Found | None] = [None] * size()
    with answered():
        distributed.all_gather_object(found, own, group=_Meeting.group)
    return cast("list[Found]", found)


def from_main(act: Callable[[], Found]) -> Found:
    """What the main process alone does, for every one of them: its result, or its error.

    Errors:
        ProcessError: another process has ended.
    """
    if size() == 1:
        return act()
    from torch import distributed

    outcome: list[Any] = [None]
    if is_main():
        try:
            outcome = [act()]
        except StatecastError as error:
            outcome = [_Failed(error)]
    with answered():
        distributed.broadcast_object_list(outcome, src=0, group=_Meeting.group)
    if isinstance(outcome[0], _Failed):
        outcome[0].error.told = not is_main()
        raise outcome[0].error
    return cast("Found", outcome[0])


class _Failed(NamedTuple):
    """An error instead of a result."""

    error: StatecastError


def summed(tensor: Tensor) -> Tensor:
    """The sum of a tensor over processes, in its place; the same bits for every one of them."""
    if size() > 1:
        from torch import distributed

        with answered():
            distributed.all_reduce(tensor, group=_Meeting.group)
    return tensor


def copy_from_main(tensor: Tensor) -> None:
    """Give a tensor the values that it has in the main process."""
    if size() > 1:
        from torch import distributed

        with answered():
            distributed.broadcast(tensor, src=0, group=_Meeting.group)


def largest(own: int) -> int:
    """The largest number that any process has."""
    if size() == 1:
        return own
    import torch
    from torch import distributed

    found = torch.tensor(own)
    with answered():
        distributed.all_reduce(found, distributed.ReduceOp.MAX, group=_Meeting.group)
    return int(found)


@contextmanager
def answered() -> Iterator[None]:
    """Context of a collective: where another process does not answer, `ProcessError`."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, StatecastError):
            raise
        line = first_line(error)
        if "timed out" in line.lower() or "timeout" in line.lower():
            seconds = (PATIENCE if _Meeting.group is None else patience()).total_seconds()
            raise ProcessError(
                f"Process {rank()} of {size()} has waited {seconds:g} s for another one, which "
                f"hangs or is slow. {PATIENCE_NAME}=SECONDS waits longer in training."
            ) from error
        # Of a connection that broke there is nothing else to say, and gloo says much.
        detail = "." if "peer" in line or "onnection" in line else f": {line}"
        raise ProcessError(
            f"Process {rank()} of {size()} lost another one, whose error says why unless it was "
            f"killed{detail}"
        ) from error


def _told_by_main(error: StatecastError) -> bool:
    """Whether the main process says what this error says, so that it is said once."""
    lost = isinstance(error, ProcessError)
    if lost and not os.environ.get(OUTLIVING):
        return False  # the store may have gone with the process that was lost
    said = f"{type(error).__name__}: {error}"
    store = _Meeting.store
    try:
        if is_main():
            store.set(SAID, said)
            if not os.environ.get(OUTLIVING):  # until others have heard it
                _appear([f"{SAID}/{other}" for other in range(1, size())])
            return False
        if not _appear([SAID]):
            return False
        by_main = store.get(SAID).decode()
        store.set(f"{SAID}/{rank()}", "")
    except RuntimeError:  # the main process is no more
        return False
    return said == by_main or (lost and by_main.startswith(ProcessError.__name__))


def _appear(keys: list[str]) -> bool:
    """Whether all keys appear in the store before long."""
    end = time.monotonic() + SPOKEN
    while not _Meeting.store.check(keys):  # its own `wait` complains on standard error
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def first_line(error: Exception) -> str:
    """The first line of an error's message, as a sentence."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
    return f"{line}."
