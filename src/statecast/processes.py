"""Processes that share the work of one command, as `torchrun` starts them; one by default."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

from statecast.errors import ProcessError

if TYPE_CHECKING:
    from torch import Tensor

LAUNCHED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
Found = TypeVar("Found")
PATIENCE = timedelta(hours=4)  # how long a process waits for one that is alive


def asked_for() -> int:
    """How many processes were launched for this command, joined or not."""
    if not all(os.environ.get(name) for name in LAUNCHED):
        return 1
    return int(os.environ["WORLD_SIZE"])


@contextmanager
def joined() -> Iterator[None]:
    """Work together with the other processes of the command, inside the block.

    Does nothing in a process that was launched alone, or that has joined already. Tensors of the
    processor pass by gloo, those of GPUs by NCCL; each process takes a GPU of its own as `cuda`.

    Errors:
        ProcessError: the processes do not find each other.
    """
    if asked_for() == 1 or size() > 1:
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
        distributed.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise ProcessError(
            f"{asked_for()} processes should work together and do not find each other: "
            f"{first_line(error)} Start them with torchrun."
        ) from error
    try:
        yield
    finally:
        distributed.destroy_process_group()


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
    try:
        distributed.all_gather_object(found, own)
    except RuntimeError as error:
        raise ProcessError(
            f"Process {rank()} of {size()} lost another one, whose error says why: "
            f"{first_line(error)}"
        ) from error
    return cast("list[Found]", found)


def first_line(error: Exception) -> str:
    """The first line of an error's message, as a sentence."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(". ")
    return f"{line}."
