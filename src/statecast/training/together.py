"""Training shared by processes: each has a part of the batch, and all take the same step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from statecast.distributed import answered, copy_from_main, new_group, size, summed
from statecast.errors import InputError
from statecast.models.base import Losses
from statecast.nn.batch_norm import synchronised
from statecast.nn.random import PartGenerator
from statecast.sharing import part_of, shared

BUCKET_BYTES = 25 * 2**20  # of gradients that travel at once: few messages, and soon the first


class Team:
    """One of several processes that train a model together.

    The loss of the whole batch is the mean of the losses of its parts, weighted by their numbers
    of windows, and so is its gradient. Weights are equal at the start, gradients are the same bits
    for every process, and so weights stay equal.

    Gradients travel in buckets while others are still being computed. `DistributedDataParallel`
    does the same for a module's `forward` and for parts of equal size.

    Args:
        model: the model; its weights and buffers become those of the main process.
        batch_size: windows per step, of all processes.

    Errors:
        InputError: there are fewer windows than processes.
    """

    def __init__(self, model: nn.Module, batch_size: int) -> None:
        if batch_size < size():
            raise InputError(
                f"A batch of {batch_size} cannot be shared by {size()} processes. Raise "
                "train.batch_size, or launch fewer."
            )
        self.model, self.part = model, part_of(batch_size)
        for tensor in model.state_dict().values():
            copy_from_main(tensor)
        # Gradients come from the last layer to the first.
        weights = [weight for weight in model.parameters() if weight.requires_grad][::-1]
        # In a group of their own, because a bucket may be ready now or later.
        group = new_group()
        self.buckets = [Bucket(part, group) for part in in_buckets(weights)]
        self.sent, self.listening = 0, False

    @contextmanager
    def training(self) -> Iterator[None]:
        """Context of the whole training: gradients are listened to, batch norms synchronised."""
        with ExitStack() as stack:
            stack.enter_context(synchronised(self.model))
            for bucket in self.buckets:
                for weight in bucket.weights:
                    hook = weight.register_post_accumulate_grad_hook(partial(self.take, bucket))
                    stack.callback(hook.remove)
            yield

    def sharing(self) -> AbstractContextManager[None]:
        """Context in which losses are computed of this process's part."""
        return shared(self.part)

    def generator(self, whole: torch.Generator) -> PartGenerator:
        """The generator of this process's part, where `whole` is that of the batch."""
        return PartGenerator(whole, self.part)

    def backward(self, terms: Losses) -> Losses:
        """Set the gradients of the whole batch, from the loss of each part; its terms, detached."""
        for bucket in self.buckets:
            bucket.clear()
        self.sent = 0
        self.listening = True
        try:
            (terms["total"] * self.part.share).backward()
        finally:
            self.listening = False
        for bucket in self.buckets[self.sent :]:
            bucket.send()
        values = torch.stack([term.detach() for term in terms.values()]) * self.part.share
        values = summed(values)
        for bucket in self.buckets:
            bucket.receive()
        return dict(zip(terms, values.unbind(), strict=True))

    def take(self, bucket: Bucket, weight: nn.Parameter) -> None:
        """Put a gradient into its bucket; send those that are full, always in the same order."""
        if not self.listening:  # but to a step that is timed, say
            return
        bucket.take(weight)
        while self.sent < len(self.buckets) and self.buckets[self.sent].full:
            self.buckets[self.sent].send()
            self.sent += 1


class Bucket:
    """Some weights, whose gradients travel as one tensor."""

    def __init__(self, weights: Sequence[nn.Parameter], group: Any) -> None:
        self.weights, self.group = list(weights), group
        sizes = [weight.numel() for weight in weights]
        self.flat = weights[0].new_zeros(sum(sizes) + len(sizes))
        *parts, self.reached = self.flat.detach().split([*sizes, len(sizes)])
        self.views = {w: part.view_as(w) for w, part in zip(weights, parts, strict=True)}
        self.clear()

    def clear(self) -> None:
        """Begin a step."""
        self.taken: set[nn.Parameter] = set()
        self.work: Any = None

    @property
    def full(self) -> bool:
        """Whether all gradients are there."""
        return len(self.taken) == len(self.weights)

    def take(self, weight: nn.Parameter) -> None:
        """Put a gradient in; it lives here from now on."""
        assert weight.grad is not None
        self.views[weight].copy_(weight.grad)
        weight.grad = self.views[weight]
        self.taken.add(weight)

    def send(self) -> None:
        """Begin to add up the gradients of all processes; those of weights not reached are 0."""
        from torch import distributed

        self.reached.fill_(1)
        for index, weight in enumerate(self.weights):
            if weight not in self.taken:
                self.views[weight].zero_()
                self.reached[index] = 0
        with answered():
            self.work = distributed.all_reduce(self.flat, group=self.group, async_op=True)

    def receive(self) -> None:
        """Wait for the sums. A weight that no process reached has no gradient, as in one."""
        with answered():
            self.work.wait()
        for index, weight in enumerate(self.weights):
            if weight not in self.taken and float(self.reached[index]) > 0:
                weight.grad = self.views[weight]


def in_buckets(weights: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Weights in order, in groups of one type of at most so many bytes, or of one."""
    groups: list[list[nn.Parameter]] = []
    room = 0
    for weight in weights:
        needed = weight.numel() * weight.element_size()
        fits = groups and weight.dtype == groups[-1][0].dtype and needed <= room
        if not fits:
            groups.append([])
            room = BUCKET_BYTES
        groups[-1].append(weight)
        room -= needed
    return groups
