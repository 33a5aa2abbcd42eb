"""PredRNN and PredRNN-V2: ST-LSTM cells with a memory that zigzags through layers and time."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.base import Losses
from statecast.models.patch_rnn import PatchRNN, Sampling
from statecast.nn.blocks import initialise_convolutions
from statecast.nn.normaliser import Normalisation
from statecast.nn.st_lstm import Maps, STLSTMCell, STLSTMOutput


class PredRNNState(NamedTuple):
    """State of `PredRNN`."""

    layers: tuple[STLSTMOutput, ...]
    memory: Maps  # of the top layer


class PredRNN(PatchRNN[PredRNNState]):
    r"""A stack of ST-LSTM cells; the hidden state of the top one gives the next frame.

    $$h^l_t, c^l_t, m^l_t = \text{ST-LSTM}(h^{l-1}_t, h^l_{t-1}, c^l_{t-1}, m^{l-1}_t), \quad
    h^0_t = x_t, \quad m^0_t = m^L_{t-1}, \quad \hat x_{t+1} = W * h^L_t$$

    V2 adds a loss term that decouples the increments of cell and memory,
    $\beta\, \overline{|\cos(A * \Delta c, A * \Delta m)|}$. The cosine treats each channel of a map
    as a vector over space; the mean is over frames, layers, windows and channels.

    References: Wang et al. (2017), https://papers.nips.cc/paper/6689; V2: Wang et al. (2021),
    https://arxiv.org/abs/2103.09504.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        patch: side of the square patches, a divisor of both sides of a frame.
        layers: number of cells.
        width: channels of every state.
        kernel: odd side of the convolutions.
        layer_norm: whether gates are normalised over channels and space of each sample.
        decoupling_weight: β of V2; None for the first version, without this term.
        sampling: `scheduled` or, as published for V2, `reverse`; see `PatchRNN`.
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
        decoupling_weight: float | None = None,
        sampling: Sampling = "scheduled",
        sampling_start: int = 25_000,
        sampling_end: int = 50_000,
        sampling_decay: float = 2500.0,
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
        if decoupling_weight is not None and not 0 <= decoupling_weight < math.inf:
            raise InputError(
                f"decoupling_weight must be finite and at least 0, got {decoupling_weight}."
            )
        gates = self.gates(kernel=kernel, bias=False, norm="element" if layer_norm else "none")
        sizes = [self.patch_channels, *[width] * layers]
        self.cells = nn.ModuleList(STLSTMCell(*pair, gates) for pair in pairwise(sizes))
        self.decoupling_weight = decoupling_weight
        self.adapter = None  # A, shared by all layers
        if decoupling_weight is not None:
            self.adapter = nn.Conv2d(width, width, 1, bias=False)
        initialise_convolutions(self, generator)

    def advance(
        self, patches: Float[Tensor, "batch patch_channel y x"], state: PredRNNState | None
    ) -> tuple[Float[Tensor, "batch patch_channel y x"], PredRNNState]:
        if state is None:
            zeros = self.zeros(patches)
            state = PredRNNState((STLSTMOutput(*[zeros] * 5),) * len(self.cells), zeros)
        hidden, memory, layers = patches, state.memory, []
        for cell, before in zip(self.cells, state.layers, strict=True):
            layers.append(cell(hidden, before.hidden, before.cell, memory))
            hidden, memory = layers[-1].hidden, layers[-1].memory
        return self.output(hidden), PredRNNState(tuple(layers), memory)

    def terms(
        self,
        squares: Float[Tensor, "batch predicted patch_channel y x"],
        mask: Bool[Tensor, "batch predicted patch_channel y x"] | None,
        states: list[PredRNNState],
    ) -> Losses:
        """The squared error and, for V2, the unweighted decoupling term."""
        terms = super().terms(squares, mask, states)
        if self.adapter is None or self.decoupling_weight is None:
            return terms
        outputs = [output for state in states for output in state.layers]
        decoupling = torch.stack([self.alignment(output).mean() for output in outputs]).mean()
        total = terms["mse"] + self.decoupling_weight * decoupling
        return terms | {"total": total, "decoupling": decoupling}

    def alignment(self, output: STLSTMOutput) -> Float[Tensor, "batch channel"]:
        """Absolute cosine between the increments of cell and memory, after the adapter."""
        assert self.adapter is not None
        cell = self.adapter(output.cell_increment).flatten(2)
        memory = self.adapter(output.memory_increment).flatten(2)
        return cosine_similarity(cell, memory, dim=2).abs()
