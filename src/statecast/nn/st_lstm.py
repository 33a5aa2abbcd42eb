"""Convolutional LSTM cells: ConvLSTM, the ST-LSTM of PredRNN, and the block of MIM.

Maps are (batch, channel, y, x) and keep their size; h is the hidden state, c the cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.errors import InputError
from statecast.nn.blocks import GroupNorm
from statecast.nn.fast.weight_cache import cached, constant

Norm = Literal["none", "channel", "element"]
Maps = Float[Tensor, "batch channel y x"]
FORGET_BIAS = 1.0  # added inside the sigmoid of forget gates, to remember at first


@dataclass(frozen=True, kw_only=True)
class Gates:
    """Settings of the convolutions that give gates.

    Attributes:
        kernel: odd side of the convolutions.
        grid: (height, width) of the maps.
        bias: whether convolutions have a bias.
        norm: `none`, or layer normalisation over channels and space of each sample, with a scale
            and an offset for each `channel` or for each `element`.
    """

    kernel: int
    grid: tuple[int, int]
    bias: bool = False
    norm: Norm = "none"

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"The kernel's side must be odd, got {self.kernel}.")

    def convolution(self, inputs: int, outputs: int) -> nn.Sequential:
        """A convolution that keeps the size of maps, and its normalisation."""
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, self.kernel, padding=self.kernel // 2, bias=self.bias)
        ]
        if self.norm == "channel":
            layers.append(GroupNorm(1, outputs))
        elif self.norm == "element":
            layers.append(nn.LayerNorm([outputs, *self.grid]))
        return nn.Sequential(*layers)

    def fusion(self, width: int) -> nn.Conv2d:
        """The 1×1 convolution of two memories into one map."""
        return nn.Conv2d(2 * width, width, 1, bias=self.bias)


def remember(memory: Maps | None, i: Maps, f: Maps, g: Maps, *, bias: float = FORGET_BIAS) -> Maps:
    r"""The next memory, $\sigma(f + b) \odot m + \sigma(i) \odot \tanh g$; None is 0."""
    if memory is None:
        return torch.sigmoid(i) * torch.tanh(g)
    return torch.addcmul(torch.sigmoid(f + bias) * memory, torch.sigmoid(i), torch.tanh(g))


class ConvLSTMCell(nn.Module):
    r"""Convolutional LSTM, with optional peepholes.

    $$i, g, f, o = W_x * x + W_h * h, \quad
    c' = \sigma(f + P_f \odot c + b) \odot c + \sigma(i + P_i \odot c) \odot \tanh g, \quad
    h' = \sigma(o + Q \odot c') \odot \tanh c'$$

    P and Q have a weight for each point of the grid. Gates are in the order i, g, f, o.

    Reference: Shi et al. (2015), https://arxiv.org/abs/1506.04214.
    """

    memory_peephole: nn.Parameter | None  # P: that of i, then that of f
    output_peephole: nn.Parameter | None  # Q

    def __init__(
        self, inputs: int, width: int, gates: Gates, *, peepholes: bool, forget_bias: float
    ) -> None:
        super().__init__()
        self.forget_bias = forget_bias
        self.input_gates = gates.convolution(inputs, 4 * width)
        self.hidden_gates = gates.convolution(width, 4 * width)
        self.memory_peephole = self.output_peephole = None
        if peepholes:
            self.memory_peephole = nn.Parameter(torch.zeros(2 * width, *gates.grid))
            self.output_peephole = nn.Parameter(torch.zeros(width, *gates.grid))

    def forward(self, inputs: Maps, hidden: Maps, cell: Maps) -> tuple[Maps, Maps]:
        """The next hidden state and cell."""
        i, g, f, o = self.gates(inputs, hidden).chunk(4, dim=1)
        if self.memory_peephole is not None:
            of_input, of_forget = self.memory_peephole.chunk(2)
            i, f = torch.addcmul(i, of_input, cell), torch.addcmul(f, of_forget, cell)
        cell = remember(cell, i, f, g, bias=self.forget_bias)
        if self.output_peephole is not None:
            o = torch.addcmul(o, self.output_peephole, cell)
        return torch.sigmoid(o) * torch.tanh(cell), cell

    def gates(self, inputs: Maps, hidden: Maps) -> Maps:
        """Sum of the gates of both inputs; a single convolution while weights are constant."""
        if len(self.input_gates) > 1 or not constant() or torch.is_grad_enabled():
            gates: Maps = self.input_gates(inputs) + self.hidden_gates(hidden)
            return gates
        weight, bias = cached(self, self.joint_convolution)
        both, padding = torch.cat([inputs, hidden], dim=1), weight.shape[-1] // 2
        return nn.functional.conv2d(both, weight, bias, padding=padding)

    def joint_convolution(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the convolution of input and hidden state, concatenated."""
        first, second = (
            dict(gates.named_parameters()) for gates in (self.input_gates, self.hidden_gates)
        )
        bias = first["0.bias"] + second["0.bias"] if "0.bias" in first else None
        return torch.cat([first["0.weight"], second["0.weight"]], dim=1), bias


class STLSTMOutput(NamedTuple):
    """Output of `STLSTMCell` for a frame."""

    hidden: Maps
    cell: Maps
    memory: Maps
    cell_increment: Maps  # Δc = σ(i) ⊙ tanh(g)
    memory_increment: Maps  # Δm, the same of the memory


class STLSTMCell(nn.Module):
    r"""Spatio-temporal LSTM, with a cell c of its own and a memory m that visits all layers.

    $$c' = \sigma(f + 1) \odot c + \Delta c, \quad m' = \sigma(f_m + 1) \odot m + \Delta m, \quad
    h' = \sigma(o + W_o * [c', m']) \odot \tanh(W_1 * [c', m'])$$

    where $\Delta c = \sigma(i) \odot \tanh g$ and $\Delta m = \sigma(i_m) \odot \tanh g_m$. Cell
    and memory have separate gates; those of the input are in the order i, f, g, i_m, f_m, g_m, o.

    Reference: Wang et al. (2017), https://papers.nips.cc/paper/6689.
    """

    def __init__(self, inputs: int, width: int, gates: Gates) -> None:
        super().__init__()
        self.input_gates = gates.convolution(inputs, 7 * width)
        self.hidden_gates = gates.convolution(width, 4 * width)
        self.memory_gates = gates.convolution(width, 3 * width)
        self.output_gate = gates.convolution(2 * width, width)
        self.fusion = gates.fusion(width)

    def forward(self, inputs: Maps, hidden: Maps, cell: Maps, memory: Maps) -> STLSTMOutput:
        """The next hidden state, cell and memory."""
        i, f, g, i_m, f_m, g_m, o = self.input_gates(inputs).chunk(7, dim=1)
        i_h, f_h, g_h, o_h = self.hidden_gates(hidden).chunk(4, dim=1)
        i_s, f_s, g_s = self.memory_gates(memory).chunk(3, dim=1)
        cell_increment = torch.sigmoid(i + i_h) * torch.tanh(g + g_h)
        memory_increment = torch.sigmoid(i_m + i_s) * torch.tanh(g_m + g_s)
        cell = torch.sigmoid(f + f_h + FORGET_BIAS) * cell + cell_increment
        memory = torch.sigmoid(f_m + f_s + FORGET_BIAS) * memory + memory_increment
        both = torch.cat([cell, memory], dim=1)
        hidden = torch.sigmoid(o + o_h + self.output_gate(both)) * torch.tanh(self.fusion(both))
        return STLSTMOutput(hidden, cell, memory, cell_increment, memory_increment)


class MIMOutput(NamedTuple):
    """Output of `MIMBlock` for a frame."""

    hidden: Maps
    cell: Maps
    memory: Maps
    stationary: Maps | None  # s, the cell of MIM-S; None in the first layer


class MIMBlock(nn.Module):
    r"""ST-LSTM of MIM, where cell and memory share the input gates X.

    $$m' = \sigma(X_f + S_f + 1) \odot m + \sigma(X_i + S_i) \odot \tanh(X_g + S_g), \quad
    c' = \tau + \sigma(X_i + T_i) \odot \tanh(X_g + T_g), \quad
    h' = \sigma(X_o + T_o + S_o) \odot \tanh(W_1 * [c', m'])$$

    with gates X of the input, T of h and S of the old m. In the first layer,
    $\tau = \sigma(X_f + T_f + 1) \odot c$. In layers above it, τ is the output of MIM-S, a ConvLSTM
    with peepholes and with the difference d as input, c as hidden state and s as cell; T then has
    no f. Gates are in the order i, g, f, o.

    Reference: Wang et al. (2019), https://arxiv.org/abs/1811.07490.
    """

    def __init__(self, inputs: int, width: int, gates: Gates, *, cascade: bool) -> None:
        super().__init__()
        self.input_gates = gates.convolution(inputs, 4 * width)
        self.hidden_gates = gates.convolution(width, (3 if cascade else 4) * width)
        self.memory_gates = gates.convolution(width, 4 * width)
        self.fusion = gates.fusion(width)
        self.stationary_cell = peephole_cell(width, gates) if cascade else None

    def forward(
        self,
        inputs: Maps,
        hidden: Maps,
        cell: Maps,
        memory: Maps,
        cascade: tuple[Maps, Maps] | None = None,
    ) -> MIMOutput:
        """The next state; `cascade` is (d, s), or None in the first layer."""
        i, g, f, o = self.input_gates(inputs).chunk(4, dim=1)
        i_s, g_s, f_s, o_s = self.memory_gates(memory).chunk(4, dim=1)
        i_t, g_t, *f_t, o_t = self.hidden_gates(hidden).split(cell.shape[1], dim=1)
        if self.stationary_cell is None:
            kept, stationary = torch.sigmoid(f + f_t[0] + FORGET_BIAS) * cell, None
        else:
            assert cascade is not None
            difference, before = cascade
            kept, stationary = self.stationary_cell(difference, cell, before)
        cell = kept + torch.sigmoid(i + i_t) * torch.tanh(g + g_t)
        memory = remember(memory, i + i_s, f + f_s, g + g_s)
        fused = self.fusion(torch.cat([cell, memory], dim=1))
        return MIMOutput(torch.sigmoid(o + o_t + o_s) * torch.tanh(fused), cell, memory, stationary)


def peephole_cell(width: int, gates: Gates) -> ConvLSTMCell:
    """The cell of MIM-N and of MIM-S."""
    return ConvLSTMCell(width, width, gates, peepholes=True, forget_bias=FORGET_BIAS)
