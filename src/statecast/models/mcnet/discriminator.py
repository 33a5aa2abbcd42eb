"""Discriminator of MCnet: tells true frames after a context from forecast ones."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEAK = 0.2  # negative slope of the rectifiers
EPSILON = 1e-3  # epsilon of batch normalisation
LAYERS = 4  # number of convolutions; each halves the sides


class BatchStatistics(nn.Module):
    """Batch normalisation that always uses statistics of the current batch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Float[Tensor, "batch channel y x"]) -> Tensor:
        """The normalised maps."""
        return nn.functional.batch_norm(
            maps, None, None, self.weight, self.bias, training=True, eps=EPSILON
        )


class Discriminator(nn.Module):
    """Strided convolutions of all frames at once, and a linear layer.

    Args:
        channels: total channels of all frames of a window.
        width: channels of the first convolution; each next one has twice as many.
        space: height and width of the frames.
    """

    def __init__(self, channels: int, width: int, space: tuple[int, int]) -> None:
        super().__init__()
        sizes = [channels, *(width * 2**layer for layer in range(LAYERS))]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 5, stride=2) for before, after in pairwise(sizes)
        )
        self.norms = nn.ModuleList(BatchStatistics(size) for size in sizes[2:])
        sides = [math.ceil(side / 2**LAYERS) for side in space]
        self.head = nn.Linear(math.prod(sides) * sizes[-1], 1)

    def forward(self, window: Float[Tensor, "batch channel y x"]) -> Float[Tensor, "batch 1"]:
        """Logit of the probability that the frames are true."""
        for index, convolution in enumerate(self.convolutions):
            window = convolution(padded(window))
            if index:
                window = self.norms[index - 1](window)
            window = nn.functional.leaky_relu(window, LEAK)
        logits: Tensor = self.head(window.movedim(1, -1).flatten(1))
        return logits


def padded(maps: Float[Tensor, "batch channel y x"]) -> Float[Tensor, "batch channel *padded"]:
    """Maps padded with zeros so that a 5×5 convolution of stride 2 halves sides, rounded up.

    As in TensorFlow, an even side gets one pixel before and two after.
    """
    around = []
    for side in reversed(maps.shape[2:]):
        total = 3 if side % 2 == 0 else 4
        around += [total // 2, total - total // 2]
    return nn.functional.pad(maps, around)
