"""Batch normalisation of SVG as published: by few frames at a time, in training and forecasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.nn.activation_checkpointing import unchanged_statistics
from statecast.nn.fast.switches import without


def precise_statistics(device: torch.device) -> AbstractContextManager[None]:
    """Context in which statistics of few frames are exact enough to normalise these.

    On processors, PyTorch sums channels-last maps in single precision, and others in double.
    """
    return without("channels_last") if device.type == "cpu" else nullcontext()


@contextmanager
def batch_statistics(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Context in which batch normalisation is by the batch at hand, and keeps no statistics."""
    training = network.training
    network.train()
    try:
        with unchanged_statistics(network), precise_statistics(device):
            yield
    finally:
        network.train(training)


@contextmanager
def repeated_updates(network: nn.Module, times: int) -> Iterator[None]:
    """Context in which a pass moves running statistics as that many equal passes would.

    A statistic r moves to (1 − m) r + m s with momentum m; twice, that is momentum 1 − (1 − m)².
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
    """Raise `InputError` for a single sequence where it is normalised by the batch."""
    if len(frames) < 2:
        raise InputError(
            "Batch statistics, as published, need at least 2 sequences at once, got 1. Give more; "
            "or set model.forecast_statistics: running to forecast, and model.published: false "
            "to train."
        )
