"""Encoder, decoder and mixing network of the Kalman variational auto-encoder."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.nn.blocks import mlp
from statecast.nn.codecs.base import grid_of
from statecast.nn.gaussian import DiagonalGaussian, widened

Architecture = Literal["convolutional", "mlp"]
MLP_HIDDEN = 25  # units of each of two hidden layers, as published


class CodeEncoder(nn.Module):
    """Encoder from frames to means and variances of their codes.

    Args:
        frame_shape: (channel, *space).
        code_size: size of a code.
        architecture: `convolutional`, with strided 3×3 convolutions, or `mlp`.
        filters: channels of each convolution; each halves the sides.
        largest_variance: upper bound of the variances.

    Errors:
        InputError: the sides are not divisible, or frames are points.
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        code_size: int,
        *,
        architecture: Architecture,
        filters: tuple[int, ...],
        largest_variance: float,
    ) -> None:
        super().__init__()
        self.largest_variance = largest_variance
        self.layers = nn.Sequential()
        if architecture == "mlp":
            features = MLP_HIDDEN
            inputs = math.prod(frame_shape)
            self.layers.extend(
                [nn.Flatten(), *mlp(inputs, MLP_HIDDEN, MLP_HIDDEN, layers=2), nn.ReLU()]
            )
        else:
            grid = grid_of(frame_shape, 2 ** len(filters), "convolutional")
            features = filters[-1] * grid[0] * grid[1]
            for before, after in pairwise((frame_shape[0], *filters)):
                # TensorFlow pads even sides by nothing before and one pixel after.
                pad = nn.ZeroPad2d((0, 1, 0, 1))
                self.layers.extend([pad, nn.Conv2d(before, after, 3, 2), nn.ReLU()])
            self.layers.append(nn.Flatten())
        self.mean = nn.Linear(features, code_size)
        self.variance = nn.Linear(features, code_size)

    def forward(
        self, frames: Float[Tensor, "*batch channel *space"], axes: int
    ) -> DiagonalGaussian:
        """The distribution of each frame's code.

        Args:
            frames: frames with any number of batch axes.
            axes: number of batch axes.
        """
        features = self.layers(frames.flatten(0, axes - 1))
        shape = frames.shape[:axes]
        mean, raw = (
            widened(head(features)).unflatten(0, shape) for head in (self.mean, self.variance)
        )
        return DiagonalGaussian(mean, (self.largest_variance * raw.sigmoid()).sqrt())


class CodeDecoder(nn.Module):
    """Decoder from codes to frames, before the output function.

    The convolutional decoder doubles the sides by convolutions to four times the channels, which
    become neighbouring pixels (Shi et al., 2016, https://arxiv.org/abs/1609.05158).

    Args:
        frame_shape: (channel, *space).
        code_size: size of a code.
        architecture: as for `CodeEncoder`.
        filters: channels of each convolution of the encoder.
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        code_size: int,
        *,
        architecture: Architecture,
        filters: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.frame_shape = frame_shape
        if architecture == "mlp":
            self.layers: nn.Module = mlp(code_size, MLP_HIDDEN, math.prod(frame_shape), layers=3)
            return
        grid = grid_of(frame_shape, 2 ** len(filters), "convolutional")
        layers = [
            nn.Linear(code_size, filters[-1] * grid[0] * grid[1]),
            nn.Unflatten(1, (filters[-1], *grid)),
        ]
        for before, after in pairwise((filters[-1], *reversed(filters))):
            layers += [nn.Conv2d(before, 4 * after, 3, padding=1), nn.ReLU(), nn.PixelShuffle(2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(filters[0], frame_shape[0], 1))

    def forward(
        self, codes: Float[Tensor, "*batch code"]
    ) -> Float[Tensor, "*batch channel *space"]:
        """Frames of codes with any number of batch axes."""
        frames = self.layers(codes.flatten(0, -2))
        return widened(frames).view(*codes.shape[:-1], *self.frame_shape)


class Memory(NamedTuple):
    """State of the mixing network."""

    hidden: Float[Tensor, "row unit"]
    cell: Float[Tensor, "row unit"]


class Mixing(nn.Module):
    """Weights of the matrices of a step, from all codes so far.

    Args:
        code_size: size of a code.
        hidden: units of the LSTM.
        matrices: number of matrices that are mixed.
    """

    def __init__(self, code_size: int, hidden: int, matrices: int) -> None:
        super().__init__()
        self.lstm = nn.LSTMCell(code_size, hidden)
        self.weights = nn.Linear(hidden, matrices)
        self.first = nn.Parameter(torch.zeros(code_size))  # the code before the first frame

    def forward(
        self, codes: Float[Tensor, "row code"], memory: Memory | None
    ) -> tuple[Float[Tensor, "row matrix"], Memory]:
        """Weights after a frame with this code, and the new state."""
        memory = Memory(*self.lstm(codes, memory))
        return widened(self.weights(memory.hidden)).softmax(dim=-1), memory


def initialise_glorot(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw weights uniformly in ±√(6 / (inputs + outputs)); biases are zero.

    The bias of an LSTM's forget gate is 1, so that the LSTM remembers at first.

    Reference: Glorot and Bengio (2010), https://proceedings.mlr.press/v9/glorot10a.html.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LSTMCell):
            whole = torch.empty(4 * layer.hidden_size, layer.input_size + layer.hidden_size)
            nn.init.xavier_uniform_(whole, generator=generator)
            with torch.no_grad():
                layer.weight_ih.copy_(whole[:, : layer.input_size])
                layer.weight_hh.copy_(whole[:, layer.input_size :])
                layer.bias_ih.zero_()
                layer.bias_hh.zero_()
                layer.bias_ih[layer.hidden_size : 2 * layer.hidden_size] = 1.0
