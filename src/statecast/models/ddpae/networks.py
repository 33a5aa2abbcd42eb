"""Networks of DDPAE: image codecs, and recurrent networks for poses and contents."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.nn.gaussian import SMALLEST_STD, DiagonalGaussian, widened
from statecast.nn.recurrent import run_lstm

LEAK = 0.2  # negative slope of the encoders' rectifiers
COARSEST = 4  # fewest pixels of the shorter side of the coarsest map
POSE = 3  # numbers of a pose


def halvings(space: tuple[int, ...]) -> int:
    """Number of times the sides are halved on the way to the coarsest map."""
    return int(math.log2(min(space) / COARSEST))


def coarsest_grid(space: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of the coarsest map."""
    height, width = (side // 2 ** halvings(space) for side in space)
    return height, width


def encoder(channels: int, space: tuple[int, ...], width: int, outputs: int) -> nn.Sequential:
    """Convolutions from images to codes (many, output, 1, 1), normalised except at both ends."""
    layers: list[nn.Module] = []
    before, after = channels, width
    for level in range(halvings(space)):
        layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=False))
        layers += [nn.BatchNorm2d(after)] if level else []
        layers.append(nn.LeakyReLU(LEAK))
        before, after = after, 2 * after
    return nn.Sequential(*layers, nn.Conv2d(before, outputs, coarsest_grid(space), bias=False))


def decoder(code_size: int, channels: int, space: tuple[int, ...], width: int) -> nn.Sequential:
    """Convolutions from codes (many, code, 1, 1) to images, before the output function."""
    count = halvings(space)
    after = width * 2 ** max(count - 1, 0)
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(code_size, after, coarsest_grid(space), bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),
    ]
    for _ in range(count - 1):
        before, after = after, after // 2
        layers += [
            nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.ConvTranspose2d(after, channels, 4, 2, 1, bias=False))


class GaussianHead(nn.Module):
    """A Gaussian given a hidden state: linear layers, with a softplus for the deviation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mean, self.std = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs)

    def forward(self, hidden: Float[Tensor, "*many unit"]) -> DiagonalGaussian:
        """The distribution given each hidden state."""
        std = nn.functional.softplus(widened(self.std(hidden)))
        return DiagonalGaussian(widened(self.mean(hidden)), std + SMALLEST_STD)


class Tracks(NamedTuple):
    """Hidden and cell state of each object at a frame."""

    hidden: Float[Tensor, "row object unit"]
    cell: Float[Tensor, "row object unit"]


class PoseNetwork(nn.Module):
    """LSTMs over frames, for one object after another; each sees the object before it.

    Args:
        channels: channels of the frames.
        space: height and width of the frames.
        objects: number of objects.
        width: channels of the image encoder's first convolution.
        code_size: size of the code of a frame.
        hidden: units of the LSTMs.
        independent: whether the motion of an object is independent of the object before it.
    """

    def __init__(
        self,
        channels: int,
        space: tuple[int, ...],
        *,
        objects: int,
        width: int,
        code_size: int,
        hidden: int,
        independent: bool,
    ) -> None:
        super().__init__()
        self.objects, self.hidden, self.independent = objects, hidden, independent
        self.image_encoder = encoder(channels, space, width, code_size)
        self.tracker = nn.LSTM(code_size + hidden, hidden, batch_first=True)
        self.transition = nn.LSTM(hidden if independent else 2 * hidden, hidden, batch_first=True)
        self.initial_pose_lstm = nn.LSTM(hidden, hidden, batch_first=True)
        self.increment = GaussianHead(hidden, POSE)
        self.initial_pose = GaussianHead(hidden, POSE)

    def track(
        self, frames: Float[Tensor, "batch time channel y x"]
    ) -> tuple[Float[Tensor, "batch time object unit"], Tracks]:
        """Hidden states of each object at each observed frame, and the state after the last."""
        codes = self.image_encoder(frames.flatten(0, 1)).flatten(1).unflatten(0, frames.shape[:2])
        before = codes.new_zeros(*codes.shape[:2], self.hidden)
        outputs, cells = [], []
        for _ in range(self.objects):
            before, (_, cell) = self.tracker(torch.cat([codes, before], dim=-1))
            outputs.append(before)
            cells.append(cell[0])
        hidden = torch.stack(outputs, dim=2)
        return hidden, Tracks(hidden[:, -1], torch.stack(cells, dim=1))

    def advance(self, tracks: Tracks) -> Tracks:
        """The states one frame later, without the frame as input."""
        before = torch.zeros_like(tracks.hidden[:, 0])
        outputs, cells = [], []
        for hidden, cell in zip(tracks.hidden.unbind(1), tracks.cell.unbind(1), strict=True):
            inputs = hidden if self.independent else torch.cat([hidden, before], dim=-1)
            state = hidden.unsqueeze(0), cell.unsqueeze(0)
            output, (_, after) = run_lstm(self.transition, inputs.unsqueeze(1), state)
            before = output[:, 0]
            outputs.append(before)
            cells.append(after[0])
        return Tracks(torch.stack(outputs, dim=1), torch.stack(cells, dim=1))

    def first_pose(self, first: Float[Tensor, "batch object unit"]) -> DiagonalGaussian:
        """Pose of each object before its first increment, from its state at the first frame."""
        return self.initial_pose(run_lstm(self.initial_pose_lstm, first)[0])


class ContentNetwork(nn.Module):
    """The distribution of the content of each object, from its crops in all observed frames."""

    def __init__(self, code_size: int, hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(code_size, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2 * code_size)

    def forward(self, codes: Float[Tensor, "many time code"]) -> DiagonalGaussian:
        """The Gaussian of each object, from its codes in order of time."""
        return DiagonalGaussian.from_output(self.head(self.lstm(codes)[0][:, -1]))


@contextmanager
def counted_as(network: nn.Module, copies: int) -> Iterator[None]:
    """Context in which batch normalisation counts each input as `copies` equal ones.

    Mean and variance of a batch do not change. Running variances use the unbiased estimate for the
    larger number N, which is N / (N − 1) times the variance of the batch.
    """
    before: dict[nn.BatchNorm2d, Tensor] = {}
    sizes: dict[nn.BatchNorm2d, int] = {}

    def note(layer: nn.BatchNorm2d, inputs: tuple[Tensor, ...]) -> None:
        assert layer.running_var is not None
        before[layer] = layer.running_var.clone()
        sizes[layer] = inputs[0].numel() // inputs[0].shape[1]

    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    hooks = [
        layer.register_forward_pre_hook(note) for layer in layers if layer.training and copies > 1
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    for layer, variance in before.items():
        count, momentum = sizes[layer], layer.momentum
        assert layer.running_var is not None
        assert momentum is not None
        kept = (1 - momentum) * variance
        ratio = (copies * (count - 1)) / (copies * count - 1)
        # Through `data`: autograd does not need the value, but would reject a change of it.
        layer.running_var.data.copy_(kept + (layer.running_var - kept) * ratio)
