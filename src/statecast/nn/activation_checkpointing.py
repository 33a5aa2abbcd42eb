"""Gradient checkpointing: recompute activations of a stage in the backward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Staged(nn.Module):
    """A network that may recompute its stages: a third more arithmetic, for less memory.

    Only the input of each stage is kept. Gradients and statistics do not change by a bit.
    """

    recompute = False

    def stage(self, function: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
        """Apply one stage of this network to its inputs."""
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return function(*inputs)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), unchanged_statistics(self)

        result: Tensor = checkpoint(
            function, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts
        )
        return result


def recompute_stages(model: nn.Module, on: bool) -> None:
    """Set whether all networks in a model recompute their stages in training."""
    for network in model.modules():
        if isinstance(network, Staged):
            network.recompute = on


@contextmanager
def unchanged_statistics(network: nn.Module) -> Iterator[None]:
    """Context in which batch normalisation does not change its running statistics."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    kept = [dict(layer.named_buffers(recurse=False)) for layer in layers]
    for layer, buffers in zip(layers, kept, strict=True):
        for name, buffer in buffers.items():
            setattr(layer, name, buffer.clone())  # a copy that may change
    try:
        yield
    finally:
        for layer, buffers in zip(layers, kept, strict=True):
            for name, buffer in buffers.items():
                setattr(layer, name, buffer)
