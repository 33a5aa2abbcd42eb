"""VideoDiscriminator: tells real clips from generated ones."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from statecast.errors import InputError
from statecast.nn.gaussian import widened

LEAK = 0.1  # negative slope of the rectifiers
SHORTEST = 4  # fewest frames that the convolutions need
Stride = tuple[int, int, int]  # in time, height and width
LAYERS: tuple[tuple[int, int, Stride], ...] = (  # multiple of the width, kernel, stride
    (1, 3, (1, 1, 1)),
    (2, 4, (1, 2, 2)),
    (2, 3, (1, 1, 1)),
    (4, 4, (1, 2, 2)),
    (4, 3, (1, 1, 1)),
    (8, 4, (2, 2, 2)),
    (8, 3, (1, 1, 1)),
)


class Judgement(NamedTuple):
    """Output of a discriminator for clips."""

    logits: Float[Tensor, " batch"]
    features: list[Float[Tensor, "batch channel time y x"]]  # of each convolution


class SpectralWeight(nn.Module):
    r"""A weight and a bias; the weight is divided by an estimate of its largest singular value.

    $$v = \frac{W^T u}{|W^T u|}, \quad u' = \frac{W v}{|W v|}, \quad \sigma = u'^T W v$$

    This is one iteration of the power method from the vector u, which `advance` replaces by u'.
    Gradients flow through u' and v, as in the published code.

    Reference: Miyato et al. (2018), https://arxiv.org/abs/1802.05957.
    """

    u: Tensor

    def __init__(self, outputs: int, *inputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, *inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("u", torch.empty(outputs, 1))

    def iterate(self) -> tuple[Float[Tensor, "output one"], Float[Tensor, ""]]:
        """The vector u' and the singular value σ."""
        matrix = self.weight.flatten(1)
        with torch.autocast(matrix.device.type, enabled=False):
            v = functional.normalize(matrix.T @ self.u.clone(), dim=0)  # `advance` writes to u
            u = functional.normalize(matrix @ v, dim=0)
            return u, (u.T @ matrix @ v).squeeze()

    def normalised(self) -> Tensor:
        """The weight divided by σ."""
        return self.weight / self.iterate()[1]

    @torch.no_grad()
    def advance(self) -> None:
        """Replace u by u'."""
        self.u.copy_(self.iterate()[0])


class VideoDiscriminator(nn.Module):
    """Seven convolutions in time and space with normalised weights, then a linear layer.

    Args:
        frame_shape: (channel, height, width) of the frames.
        clip_length: frames of a clip.
        width: channels of the first convolution.

    Errors:
        InputError: clips are too short.
    """

    def __init__(self, frame_shape: tuple[int, ...], clip_length: int, width: int) -> None:
        super().__init__()
        if clip_length < SHORTEST:
            raise InputError(
                f"Discriminators of SAVP need clips of at least {SHORTEST} frames, got "
                f"{clip_length}. Train on windows of at least {SHORTEST + 1} frames, or set "
                "gan_weight and vae_gan_weight to 0."
            )
        channels, *space = frame_shape
        size = [clip_length, *space]
        self.convolutions = nn.ModuleList()
        for multiple, kernel, stride in LAYERS:
            outputs = multiple * width
            self.convolutions.append(SpectralWeight(outputs, channels, kernel, kernel, kernel))
            pairs = zip(size, stride, strict=True)
            size = [(side + 2 - kernel) // step + 1 for side, step in pairs]
            channels = outputs
        self.output = SpectralWeight(1, math.prod(size) * channels)

    def forward(self, clips: Float[Tensor, "batch time channel y x"]) -> Judgement:
        """Logit and features of each clip."""
        maps, features = clips.transpose(1, 2), []
        for layer, (_, _, stride) in zip(self.convolutions, LAYERS, strict=True):
            assert isinstance(layer, SpectralWeight)
            maps = functional.conv3d(maps, layer.normalised(), layer.bias, stride, padding=1)
            maps = functional.leaky_relu(maps, LEAK)
            features.append(maps)
        flat = maps.permute(0, 2, 3, 4, 1).flatten(1)  # channels last, as in published weights
        logits = functional.linear(flat, self.output.normalised(), self.output.bias)
        return Judgement(widened(logits).squeeze(1), features)

    def advance(self) -> None:
        """Advance the singular vectors of all weights by one iteration."""
        for layer in self.modules():
            if isinstance(layer, SpectralWeight):
                layer.advance()


def feature_distance(one: Judgement, other: Judgement) -> Float[Tensor, ""]:
    """Half the squared distance between the directions of features of two sets of clips.

    A feature is a vector over channels. Distances are averaged over points, times and batch, and
    summed over layers.
    """
    distances = [
        0.5 * (direction(a) - direction(b)).square().sum(dim=1).mean()
        for a, b in zip(one.features, other.features, strict=True)
    ]
    return torch.stack(distances).sum()


def direction(features: Float[Tensor, "batch channel *place"]) -> Tensor:
    """Features, normalised to length 1 along the channels."""
    features = widened(features)
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)
