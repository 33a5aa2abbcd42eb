"""Batch normalisation as published for SVG, with statistics of few frames at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.nn.activation_checkpointing import unchanged_statistics
from statecast.nn.fast.switches import without


def precise_statistics(device: torch.device) -> AbstractContextManager[None]:
    """Context in which batch normalisation computes statistics precisely enough for few frames.

    On CPUs, PyTorch sums channels-last maps in single precision, and others in double.
    """
    return without("channels_last") if device.type == "cpu" else nullcontext()


@contextmanager
def batch_statistics(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Context in which batch normalisation uses the current batch, and keeps no statistics."""
    training = network.training
    network.train()
    try:
        with unchanged_statistics(network), precise_statistics(device):
            yield
    finally:
        network.train(training)


@contextmanager
def repeated_updates(network: nn.Module, times: int) -> Iterator[None]:
    """Context in which one pass updates running statistics like `times` equal passes.

    With momentum m, a statistic r becomes (1 − m) r + m s; two equal updates are one of momentum
    1 − (1 − m)².
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    kept = [layer.momentum for layer in layers]
    for layer in layers:
        assert layer.momentum is not None
        layer.momentum = 1 - (1 - layer.momentum) ** times
    try:
        yield
    finally:
        for layer, momentum in zip(layers, kept, strict=True):
            layer.momentum = momentum


def check_batch(frames: Tensor) -> None:
    """Raise `InputError` for a single sequence, which cannot give statistics of a batch."""
    if len(frames) < 2:
        raise InputError(
            "Batch statistics, as published, need at least 2 sequences at once, got 1. Give more, "
            "or set model.forecast_statistics: running to forecast, and model.published: false "
            "to train."
        )
