"""The updates of a training step: the weights, optimiser and loss of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from statecast.distributed import process_errors
from statecast.frames import Batch
from statecast.models.base import Forecaster, Losses, Update
from statecast.training.adam import InnerEpsilonAdam
from statecast.training.options import TrainingOptions


class UpdateLoss(nn.Module):
    """The loss of one update as a module, so that processes can average its gradients.

    Args:
        model: the model.
        update: name of the update.
    """

    def __init__(self, model: Forecaster, update: str) -> None:
        super().__init__()
        self.model, self.update = model, update

    def forward(self, batch: Batch, step: int, generator: torch.Generator) -> Losses:
        """Named terms of the loss; the training minimises `"total"`."""
        return self.model.update_loss(self.update, batch, step=step, generator=generator)


class Updater(NamedTuple):
    """One of the updates of a step."""

    update: Update
    weights: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    loss: nn.Module
    stream: int  # of its random numbers


def make_updaters(
    model: Forecaster,
    weights: Mapping[str, nn.Parameter],
    options: TrainingOptions,
    *,
    device: torch.device,
    shared: bool,
) -> list[Updater]:
    """The updates of a step; updates that share weights share an optimiser and a stream.

    Args:
        model: the model.
        weights: its parameters by name.
        options: how to train.
        device: the device of the model.
        shared: whether several processes share each batch.
    """
    updaters: list[Updater] = []
    for update in model.updates:
        own = [weight for name, weight in weights.items() if name.startswith(update.parameters)]
        first = next((known for known in updaters if known.update.name == update.shares), None)
        optimizer = optimizer_of(update, own, options) if first is None else first.optimizer
        stream = len(updaters) if first is None else first.stream
        loss: nn.Module = UpdateLoss(model, update.name)
        if shared:
            others = [f"model.{name}" for name in weights if not name.startswith(update.parameters)]
            loss = averaged(loss, others, device, has_phases=bool(options.phases))
        updaters.append(Updater(update, own, optimizer, loss, stream))
    return updaters


def optimizer_of(
    update: Update, weights: list[nn.Parameter], options: TrainingOptions
) -> torch.optim.Optimizer:
    """Adam for the weights of an update."""
    rate, betas = options.learning_rate, update.adam_betas or options.adam_betas
    if options.adam_epsilon_inside_root:
        return InnerEpsilonAdam(weights, lr=rate, betas=betas)
    return torch.optim.Adam(
        weights, lr=rate, betas=betas, weight_decay=options.weight_decay, fused=True
    )


def averaged(
    loss: nn.Module, others: list[str], device: torch.device, *, has_phases: bool
) -> nn.Module:
    """A loss whose gradients are averaged over all processes.

    Args:
        loss: the loss.
        others: names of weights that the update does not train.
        device: the device of the model.
        has_phases: whether weights may have no gradient at times.
    """
    ids = None if device.type == "cpu" else [device]
    if device.type == "cuda":
        loss = nn.SyncBatchNorm.convert_sync_batchnorm(loss)
    # A weight that only another update trains would break the reducer.
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(loss, others)
    with process_errors():
        return DistributedDataParallel(loss, ids, find_unused_parameters=has_phases)
