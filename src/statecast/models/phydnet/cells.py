"""Recurrent cells of PhyDNet: the physical cell with its moment loss, and a stack of ConvLSTMs."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.nn.blocks import GroupNorm
from statecast.nn.fast.convolution import Convolution

Version = Literal["released", "paper"]


class PhysicalCell(nn.Module):
    r"""A partial differential equation, integrated by one Euler step and corrected by the input.

    $$\tilde h = h + \sum_k c_k\, (w_k * h), \qquad
    h' = \tilde h + K \odot (x - \tilde h), \qquad K = \sigma(W_K * [x, \cdot] + b_K)$$

    A moment loss pulls every filter $w_k$, $k = q\,i + j$, towards the finite difference of
    $\partial^{i+j} / \partial y^i \partial x^j$. As published, the gate sees x and h in the
    version `released`, x and h̃ in that of the `paper`; group normalisation follows the filters,
    or precedes them.

    Reference: Le Guen and Thome (2020), https://arxiv.org/abs/2003.01460.

    Args:
        channels: of the state h and of the input x.
        kernel_size: q, side of the filters, odd; there are q² of them.
        groups: of the normalisation.
        version: which of the two published cells.

    Errors:
        InputError: the kernel has no centre, or the groups do not divide what they normalise.
    """

    moment_matrix: Tensor  # (order, position), float64

    def __init__(self, channels: int, *, kernel_size: int, groups: int, version: Version) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(f"Filters need a centre: an odd kernel_size, got {kernel_size}.")
        filters = kernel_size**2
        self.version = version
        self.filters = nn.Conv2d(channels, filters, kernel_size, padding=kernel_size // 2)
        self.norm = group_norm(groups, filters if version == "released" else channels)
        self.combination = nn.Conv2d(filters, channels, 1)
        self.gate = Convolution(2 * channels, channels, 3, padding=1)
        self.register_buffer("moment_matrix", moment_matrix(kernel_size), persistent=False)

    def predict(
        self, hidden: Float[Tensor, "batch channel y x"]
    ) -> Float[Tensor, "batch channel y x"]:
        """One Euler step of the equation, without input: h̃."""
        if self.version == "released":
            return hidden + self.combination(self.norm(self.filters(hidden)))
        return hidden + self.combination(self.filters(self.norm(hidden)))

    def gain(
        self,
        inputs: Float[Tensor, "batch channel y x"],
        hidden: Float[Tensor, "batch channel y x"],
        predicted: Float[Tensor, "batch channel y x"],
    ) -> Float[Tensor, "batch channel y x"]:
        """How far the input corrects each value, in (0, 1): K."""
        seen = hidden if self.version == "released" else predicted
        return torch.sigmoid(self.gate(torch.cat([inputs, seen], dim=1)))

    def forward(
        self,
        inputs: Float[Tensor, "batch channel y x"],
        hidden: Float[Tensor, "batch channel y x"],
    ) -> Float[Tensor, "batch channel y x"]:
        """The next state h'."""
        predicted = self.predict(hidden)
        return predicted + self.gain(inputs, hidden, predicted) * (inputs - predicted)

    def moments(self) -> Float[Tensor, "filter channel order_y order_x"]:
        r"""Moments $\sum_{p,q} \frac{p^i q^j}{i!\,j!} w[p, q]$ of each filter, from its centre."""
        weight = self.filters.weight
        matrix = self.moment_matrix.double()  # also where the model was cast
        # In float64: the finite differences that filters approach have entries of several hundred.
        flat = weight.double().flatten(2) @ torch.kron(matrix, matrix).T
        return flat.to(weight.dtype).view_as(weight)

    def moment_losses(self) -> Float[Tensor, " channel"]:
        """Mean squared distance of each input channel's filters from finite differences."""
        found = self.moments().flatten(2)
        wanted = torch.eye(len(found), dtype=found.dtype, device=found.device)
        return (found - wanted.unsqueeze(1)).square().mean(dim=(0, 2))


class LSTMState(NamedTuple):
    """State of one layer of a `ConvLSTMStack`."""

    hidden: Float[Tensor, "batch channel y x"]
    cell: Float[Tensor, "batch channel y x"]


class ConvLSTMStack(nn.Module):
    """Layers of convolutional LSTM cells; each reads the new hidden state of the one before.

    Reference: Shi et al. (2015), https://arxiv.org/abs/1506.04214, here without peepholes.

    Args:
        channels: of the input.
        hidden: channels of each layer.
    """

    def __init__(self, channels: int, hidden: tuple[int, ...]) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.ModuleList(
            Convolution(before + after, 4 * after, 3, padding=1)
            for before, after in pairwise((channels, *hidden))
        )

    def forward(
        self, inputs: Float[Tensor, "batch channel y x"], states: tuple[LSTMState, ...]
    ) -> tuple[LSTMState, ...]:
        """The next state of each layer."""
        following = []
        for layer, state in enumerate(states):
            following.append(self.layer(layer, inputs, state))
            inputs = following[-1].hidden
        return tuple(following)

    def layer(
        self, index: int, inputs: Float[Tensor, "batch inputs y x"], state: LSTMState
    ) -> LSTMState:
        """The next state of one layer."""
        size = self.hidden[index]
        mixed = self.gates[index](torch.cat([inputs, state.hidden], dim=1))
        gates, candidate = mixed.split([3 * size, size], dim=1)
        enter, keep, leave = gates.sigmoid().chunk(3, dim=1)
        cell = keep * state.cell + enter * candidate.tanh()
        return LSTMState(leave * cell.tanh(), cell)

    def initial(self, inputs: Float[Tensor, "batch channel y x"]) -> tuple[LSTMState, ...]:
        """States of zeros for such inputs."""
        shapes = [(len(inputs), size, *inputs.shape[2:]) for size in self.hidden]
        return tuple(LSTMState(*(inputs.new_zeros(shape) for _ in range(2))) for shape in shapes)


def moment_matrix(size: int) -> Float[Tensor, "order position"]:
    r"""The powers $p^i / i!$ of positions p, counted from the centre, in float64."""
    positions = torch.arange(size, dtype=torch.float64) - size // 2
    factorials = torch.tensor([math.factorial(order) for order in range(size)], dtype=torch.float64)
    return positions ** torch.arange(size).unsqueeze(1) / factorials.unsqueeze(1)


def group_norm(groups: int, channels: int) -> nn.GroupNorm:
    """Group normalisation of `channels` channels.

    Errors:
        InputError: the groups do not divide the channels.
    """
    if groups < 1 or channels % groups:
        raise InputError(
            f"{channels} channels cannot be normalised in {groups} groups. Choose groups that "
            "divide every width of the model, or other widths."
        )
    return GroupNorm(groups, channels)
