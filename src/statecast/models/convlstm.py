"""ConvLSTM: a stack of convolutional LSTM cells."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.frames import FrameSpec
from statecast.models.patch_rnn import PatchRNN, Sampling
from statecast.nn.blocks import initialise_convolutions
from statecast.nn.normaliser import Normalisation
from statecast.nn.st_lstm import ConvLSTMCell, Maps


class ConvLSTMState(NamedTuple):
    """State of each layer of `ConvLSTM`."""

    hidden: tuple[Maps, ...]
    cell: tuple[Maps, ...]


class ConvLSTM(PatchRNN[ConvLSTMState]):
    r"""A stack of convolutional LSTMs; the hidden state of the top one gives the next frame.

    $$h^1_t, c^1_t = \text{ConvLSTM}(x_t, h^1_{t-1}, c^1_{t-1}), \quad
    h^l_t, c^l_t = \text{ConvLSTM}(h^{l-1}_t, h^l_{t-1}, c^l_{t-1}), \quad
    \hat x_{t+1} = W * h^L_t$$

    By default without peepholes and forget bias, as in OpenSTL; Shi et al. use peepholes.

    References: Shi et al. (2015), https://arxiv.org/abs/1506.04214; Tan et al. (2023), OpenSTL,
    https://arxiv.org/abs/2306.11249.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        patch: side of the square patches, a divisor of both sides of a frame.
        layers: number of cells.
        width: channels of every state.
        kernel: odd side of the convolutions.
        layer_norm: whether gates are normalised over channels and space of each sample.
        peepholes: whether gates see the cell, with a weight for each point of the grid.
        forget_bias: constant added inside the sigmoid of forget gates.
        sampling: `scheduled` or `reverse`, see `PatchRNN`.
        sampling_start: see `PatchRNN`.
        sampling_end: see `PatchRNN`.
        sampling_decay: see `PatchRNN`.
        reversed_clip: see `PatchRNN`.
        normalise: `auto`, `none`, `range` or `standard`, see `Normaliser`.
        generator: source of the initial weights.
    """

    def __init__(
        self,
        spec: FrameSpec,
        *,
        patch: int = 4,
        layers: int = 4,
        width: int = 128,
        kernel: int = 5,
        layer_norm: bool = False,
        peepholes: bool = False,
        forget_bias: float = 0.0,
        sampling: Sampling = "scheduled",
        sampling_start: int = 25_000,
        sampling_end: int = 50_000,
        sampling_decay: float = 5000.0,
        reversed_clip: bool = False,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            spec,
            patch=patch,
            layers=layers,
            width=width,
            bias=False,
            sampling=sampling,
            sampling_start=sampling_start,
            sampling_end=sampling_end,
            sampling_decay=sampling_decay,
            reversed_clip=reversed_clip,
            normalise=normalise,
        )
        gates = self.gates(kernel=kernel, bias=False, norm="element" if layer_norm else "none")
        sizes = [self.patch_channels, *[width] * layers]
        self.cells = nn.ModuleList(
            ConvLSTMCell(below, here, gates, peepholes=peepholes, forget_bias=forget_bias)
            for below, here in pairwise(sizes)
        )
        initialise_convolutions(self, generator)

    def advance(
        self, patches: Float[Tensor, "batch patch_channel y x"], state: ConvLSTMState | None
    ) -> tuple[Float[Tensor, "batch patch_channel y x"], ConvLSTMState]:
        if state is None:
            zeros = self.zeros(patches)
            state = ConvLSTMState((zeros,) * len(self.cells), (zeros,) * len(self.cells))
        hidden, pairs = patches, []
        for cell, *before in zip(self.cells, *state, strict=True):
            pairs.append(cell(hidden, *before))
            hidden = pairs[-1][0]
        return self.output(hidden), ConvLSTMState(*zip(*pairs, strict=True))
