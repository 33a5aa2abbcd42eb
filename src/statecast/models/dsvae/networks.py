"""Networks of DSVAE: frame encoder and decoder, posteriors, and the prior of motion."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.nn.blocks import LEAK, ConvolutionUnit
from statecast.nn.codecs.base import grid_of
from statecast.nn.fast.transposed import UpsamplingConvolution
from statecast.nn.gaussian import DiagonalGaussian, widened

HALVINGS = 3  # number of times that a frame's sides are halved
CellState = tuple[Tensor, Tensor]  # hidden and cell state, (row, unit) each


class FrameEncoder(nn.Sequential):
    """Four 5×5 convolutions, three of them strided, then two linear layers; all normalised."""

    def __init__(self, frame_shape: tuple[int, ...], code_size: int, *, width: int) -> None:
        grid = grid_of(frame_shape, 2**HALVINGS, "DSVAE")
        strided = (ConvolutionUnit(nn.Conv2d(width, width, 5, 2, 2)) for _ in range(HALVINGS))
        super().__init__(
            ConvolutionUnit(nn.Conv2d(frame_shape[0], width, 5, 1, 2)),
            *strided,
            # Linear layers, written as convolutions over the whole grid.
            ConvolutionUnit(nn.Conv2d(width, 2 * code_size, grid)),
            ConvolutionUnit(nn.Conv2d(2 * code_size, code_size, 1)),
            nn.Flatten(),
        )


class FrameDecoder(nn.Module):
    """Two linear layers, then the mirror of the encoder's convolutions.

    With `bounded`, frames lie in [−1, 1]. With `normalise_frames`, as published, batch
    normalisation applies to frames too.
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        inputs: int,
        *,
        width: int,
        hidden: int,
        bounded: bool,
        normalise_frames: bool,
    ) -> None:
        super().__init__()
        self.grid = grid_of(frame_shape, 2**HALVINGS, "DSVAE")
        coarsest = width * self.grid[0] * self.grid[1]
        self.linear = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.LeakyReLU(LEAK),
            nn.Linear(hidden, coarsest),
            nn.LeakyReLU(LEAK),
        )
        layers: list[nn.Module] = []
        for _ in range(HALVINGS):
            doubled = UpsamplingConvolution(width, width, 5, stride=2, cut=2)
            layers += [doubled, nn.BatchNorm2d(width), nn.LeakyReLU(LEAK)]
        layers.append(nn.ConvTranspose2d(width, frame_shape[0], 5, 1, 2))
        if normalise_frames:
            layers.append(nn.BatchNorm2d(frame_shape[0]))
        self.convolutions = nn.Sequential(*layers)
        self.bounded = bounded

    def forward(self, codes: Float[Tensor, "many code"]) -> Float[Tensor, "many channel y x"]:
        """The frame of each code."""
        maps = self.linear(codes).unflatten(1, (-1, *self.grid))
        frames: Tensor = self.convolutions(maps)
        return frames.tanh() if self.bounded else frames


class GaussianHead(nn.Module):
    """A Gaussian with a linear mean and log-variance; `rectify` passes both through a rectifier."""

    def __init__(self, inputs: int, size: int, *, rectify: bool = False) -> None:
        super().__init__()
        self.mean, self.log_variance = nn.Linear(inputs, size), nn.Linear(inputs, size)
        self.rectify = rectify

    def forward(self, features: Float[Tensor, "*batch feature"]) -> DiagonalGaussian:
        """The Gaussian of each row."""
        mean, log_variance = widened(self.mean(features)), widened(self.log_variance(features))
        if self.rectify:
            mean, log_variance = (
                nn.functional.leaky_relu(output, LEAK) for output in (mean, log_variance)
            )
        return DiagonalGaussian(mean, torch.exp(0.5 * log_variance))


class ContentPosterior(nn.Module):
    """q(f | x): a bidirectional LSTM over codes of frames, read at the end of each direction."""

    def __init__(self, code_size: int, size: int, hidden: int, *, rectify: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(code_size, hidden, batch_first=True, bidirectional=True)
        self.head = GaussianHead(2 * hidden, size, rectify=rectify)

    def forward(self, codes: Float[Tensor, "batch time code"]) -> DiagonalGaussian:
        """The distribution of the content of each video, (batch, content)."""
        forward, backward = self.lstm(codes)[0].chunk(2, dim=-1)
        return self.head(torch.cat([forward[:, -1], backward[:, 0]], dim=-1))


class FactorisedPosterior(nn.Module):
    """q(z_t | x_t), from each frame separately."""

    def __init__(self, code_size: int, size: int, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(code_size, hidden)
        self.head = GaussianHead(hidden, size)

    def forward(
        self, codes: Float[Tensor, "batch time code"], content: Float[Tensor, "batch content"]
    ) -> DiagonalGaussian:
        """The distributions at all frames, (batch, time, motion); content is ignored."""
        return self.head(nn.functional.leaky_relu(self.linear(codes), LEAK))


class FullPosterior(nn.Module):
    """q(z_t | x, f): a bidirectional LSTM over codes and content, then a plain recurrence."""

    def __init__(self, code_size: int, content_size: int, size: int, hidden: int) -> None:
        super().__init__()
        inputs = code_size + content_size
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=True)
        self.rnn = nn.RNN(2 * hidden, hidden, batch_first=True)
        self.head = GaussianHead(hidden, size)

    def forward(
        self, codes: Float[Tensor, "batch time code"], content: Float[Tensor, "batch content"]
    ) -> DiagonalGaussian:
        """The distributions at all frames, (batch, time, motion)."""
        repeated = content.unsqueeze(1).expand(-1, codes.shape[1], -1)
        both = self.lstm(torch.cat([codes, repeated], dim=-1))[0]
        return self.head(self.rnn(both)[0])


class MotionPrior(nn.Module):
    """p(z_t | z_{<t}): an LSTM over earlier z."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.size, self.hidden = size, hidden
        self.cell = nn.LSTMCell(size, hidden)
        self.head = GaussianHead(hidden, size)

    def start(self, rows: int, like: Tensor) -> CellState:
        """The state that gives the first z: the state after a z of zeros."""
        zeros = like.new_zeros(rows, self.hidden)
        return self.advance(like.new_zeros(rows, self.size), (zeros, zeros))

    def advance(self, motion: Float[Tensor, "row motion"], state: CellState) -> CellState:
        """The state that gives the next z."""
        hidden, cell = self.cell(motion, state)
        return widened(hidden), widened(cell)

    def free(
        self, rows: int, noise: Iterable[Float[Tensor, "row motion"] | None], like: Tensor
    ) -> DiagonalGaussian:
        """The distribution of each z given the prior's own draws before it, (row, time, motion).

        Args:
            rows: number of sequences.
            noise: standard normal values of each draw; None for its mean.
            like: a tensor with the dtype and device to use.
        """
        state, priors = self.start(rows, like), list[DiagonalGaussian]()
        for standard in noise:
            prior = self.head(state[0])
            state = self.advance(prior.mean if standard is None else prior.at(standard), state)
            priors.append(prior)
        return DiagonalGaussian.stack(priors, dim=1)

    def given(self, motion: Float[Tensor, "batch time motion"]) -> DiagonalGaussian:
        """The distribution of each z given those before it, (batch, time, motion)."""
        state = self.start(len(motion), motion)
        hidden = [state[0]]
        for before in motion[:, :-1].unbind(1):
            state = self.advance(before, state)
            hidden.append(state[0])
        return self.head(torch.stack(hidden, dim=1))
