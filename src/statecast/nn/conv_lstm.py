"""ConvLSTM: a convolutional LSTM with one convolution for all gates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.nn.blocks import GroupNorm
from statecast.nn.st_lstm import remember


class ConvLSTMState(NamedTuple):
    """State of a `ConvLSTM`."""

    hidden: Float[Tensor, "row channel y x"]
    cell: Float[Tensor, "row channel y x"]


def instance_norm(channels: int, epsilon: float) -> nn.GroupNorm:
    """Normalisation of each channel of each map, with a scale and an offset."""
    return GroupNorm(channels, channels, eps=epsilon)


class ConvLSTM(nn.Module):
    r"""A convolutional LSTM.

    $$i, g, f, o = W * [x, h], \quad
    c' = \sigma(f + 1) \odot c + \sigma(i) \odot \tanh g, \quad
    h' = \sigma(o) \odot \tanh c'$$

    Args:
        inputs: channels of the input.
        width: channels of the state.
        kernel: odd side of the convolution.
        norm_epsilon: epsilon of instance normalisation of the gates, which then have no bias, and
            of the cell; None for no normalisation.
    """

    def __init__(
        self, inputs: int, width: int, *, kernel: int = 5, norm_epsilon: float | None = None
    ) -> None:
        super().__init__()
        plain = norm_epsilon is None
        self.gates = nn.Conv2d(inputs + width, 4 * width, kernel, padding=kernel // 2, bias=plain)
        self.gate_norm = None if norm_epsilon is None else instance_norm(4 * width, norm_epsilon)
        self.cell_norm = None if norm_epsilon is None else instance_norm(width, norm_epsilon)

    def forward(
        self, maps: Float[Tensor, "row channel y x"], state: ConvLSTMState | None
    ) -> ConvLSTMState:
        """The state after an input; a state of None stands for zeros."""
        if state is None:
            weight, padding = self.gates.weight[:, : maps.shape[1]], self.gates.kernel_size[0] // 2
            gates = nn.functional.conv2d(maps, weight, self.gates.bias, padding=padding)
        else:
            gates = self.gates(torch.cat([maps, state.hidden], dim=1))
        if self.gate_norm is not None:
            gates = self.gate_norm(gates)
        i, g, f, o = gates.chunk(4, dim=1)
        cell = remember(None if state is None else state.cell, i, f, g)
        if self.cell_norm is not None:
            cell = self.cell_norm(cell)
        return ConvLSTMState(torch.tanh(cell) * torch.sigmoid(o), cell)
