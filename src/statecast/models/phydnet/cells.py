"""Recurrent cells of PhyDNet: a physical cell with a moment loss, and a stack of ConvLSTMs."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.nn.blocks import GroupNorm
from statecast.nn.conv_lstm import ConvLSTMState
from statecast.nn.fast.convolution import Convolution

Version = Literal["released", "paper"]


class PhysicalCell(nn.Module):
    r"""A partial differential equation, integrated by one Euler step and corrected by the input.

    $$\tilde h = h + \sum_k c_k\, (w_k * h), \qquad
    h' = \tilde h + K \odot (x - \tilde h), \qquad K = \sigma(W_K * [x, \cdot] + b_K)$$

    A moment loss pulls each filter $w_k$, $k = q\,i + j$, towards the finite difference of
    $\partial^{i+j} / \partial y^i \partial x^j$. In the version `released`, the gate sees x and h,
    and group normalisation follows the filters; in the version `paper`, the gate sees x and h̃,
    and group normalisation precedes the filters.

    Reference: Le Guen and Thome (2020), https://arxiv.org/abs/2003.01460.

    Args:
        channels: channels of the state h and of the input x.
        kernel_size: odd side q of the q² filters.
        groups: groups of the normalisation.
        version: one of the two published cells.

    Errors:
        InputError: the kernel has no centre, or the groups do not divide the normalised channels.
    """

    moment_matrix: Tensor  # (order, position), float64

    def __init__(self, channels: int, *, kernel_size: int, groups: int, version: Version) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(f"Filters need a centre, so an odd kernel_size, got {kernel_size}.")
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
        """The gain K, in (0, 1), by which the input corrects each value."""
        seen = hidden if self.version == "released" else predicted
        return torch.sigmoid(self.gate(torch.cat([inputs, seen], dim=1)))

    def forward(
        self, inputs: Float[Tensor, "batch channel y x"], hidden: Float[Tensor, "batch channel y x"]
    ) -> Float[Tensor, "batch channel y x"]:
        """The next state h'."""
        predicted = self.predict(hidden)
        return predicted + self.gain(inputs, hidden, predicted) * (inputs - predicted)

    def moments(self) -> Float[Tensor, "filter channel order_y order_x"]:
        r"""Moments $\sum_{p,q} \frac{p^i q^j}{i!\,j!} w[p, q]$ of each filter about its centre."""
        weight = self.filters.weight
        matrix = self.moment_matrix.double()  # even if the model was cast
        # In float64: filters approach finite differences with entries of several hundred.
        flat = weight.double().flatten(2) @ torch.kron(matrix, matrix).T
        return flat.to(weight.dtype).view_as(weight)

    def moment_losses(self) -> Float[Tensor, " channel"]:
        """Mean squared distance of each input channel's filters from finite differences."""
        found = self.moments().flatten(2)
        wanted = torch.eye(len(found), dtype=found.dtype, device=found.device)
        return (found - wanted.unsqueeze(1)).square().mean(dim=(0, 2))


class ConvLSTMStack(nn.Module):
    """Layers of convolutional LSTM cells; each reads the new hidden state of the one before.

    Reference: Shi et al. (2015), https://arxiv.org/abs/1506.04214, here without peepholes.

    Args:
        channels: channels of the input.
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
        self, inputs: Float[Tensor, "batch channel y x"], states: tuple[ConvLSTMState, ...]
    ) -> tuple[ConvLSTMState, ...]:
        """The next state of each layer."""
        following = []
        for layer, state in enumerate(states):
            following.append(self.layer(layer, inputs, state))
            inputs = following[-1].hidden
        return tuple(following)

    def layer(
        self, index: int, inputs: Float[Tensor, "batch inputs y x"], state: ConvLSTMState
    ) -> ConvLSTMState:
        """The next state of one layer."""
        size = self.hidden[index]
        mixed = self.gates[index](torch.cat([inputs, state.hidden], dim=1))
        gates, candidate = mixed.split([3 * size, size], dim=1)
        enter, keep, leave = gates.sigmoid().chunk(3, dim=1)
        cell = keep * state.cell + enter * candidate.tanh()
        return ConvLSTMState(leave * cell.tanh(), cell)

    def initial(self, inputs: Float[Tensor, "batch channel y x"]) -> tuple[ConvLSTMState, ...]:
        """Zero states for inputs of this shape."""
        shapes = [(len(inputs), size, *inputs.shape[2:]) for size in self.hidden]
        return tuple(
            ConvLSTMState(*(inputs.new_zeros(shape) for _ in range(2))) for shape in shapes
        )


def moment_matrix(size: int) -> Float[Tensor, "order position"]:
    r"""The powers $p^i / i!$ of positions p relative to the centre, in float64."""
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
            f"{channels} channels do not divide into {groups} groups. Choose groups that divide "
            "every width of the model, or other widths."
        )
    return GroupNorm(groups, channels)
