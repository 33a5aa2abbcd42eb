"""PairEncoder: the posterior of the latent between two frames."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from statecast.nn.blocks import LEAK, beside
from statecast.nn.conv_lstm import instance_norm
from statecast.nn.gaussian import DiagonalGaussian, widened

LOG_VARIANCES = (-10.0, 10.0)  # bounds of log-variances of the posterior, as published


class PairEncoder(nn.Module):
    """The posterior of the latent between two frames, given both.

    Args:
        channels: channels of a frame.
        actions: numbers in the action between two frames, which is also an input; 0 without.
        width: channels of the first convolution.
        noise_size: size of the latent.
        epsilon: epsilon of instance normalisation.
    """

    def __init__(
        self, channels: int, actions: int, width: int, noise_size: int, epsilon: float
    ) -> None:
        super().__init__()
        self.actions = actions
        sizes = [2 * channels + actions, width, 2 * width, 4 * width]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 4, 2, 1) for before, after in pairwise(sizes)
        )
        self.norms = nn.ModuleList(instance_norm(size, epsilon) for size in sizes[2:])
        self.mean = nn.Linear(sizes[-1], noise_size)
        self.log_variance = nn.Linear(sizes[-1], noise_size)

    def forward(
        self,
        frames: Float[Tensor, "batch time channel y x"],
        conditions: Float[Tensor, "batch step condition"] | None = None,
    ) -> DiagonalGaussian:
        """The distributions between successive frames, (batch, time − 1, noise).

        Conditions begin with actions; the network sees only these.
        """
        pairs = torch.cat([frames[:, :-1], frames[:, 1:]], dim=2)
        maps = pairs.flatten(0, 1)
        if conditions is not None:
            maps = beside(maps, conditions[:, : pairs.shape[1], : self.actions].flatten(0, 1))
        for index, convolution in enumerate(self.convolutions):
            maps = convolution(maps)
            if index > 0:
                maps = self.norms[index - 1](maps)
            maps = functional.leaky_relu(maps, LEAK)
        code = widened(maps.mean(dim=(2, 3))).unflatten(0, pairs.shape[:2])
        log_variance = widened(self.log_variance(code)).clamp(*LOG_VARIANCES)
        return DiagonalGaussian(widened(self.mean(code)), torch.exp(0.5 * log_variance))
