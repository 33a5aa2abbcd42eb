"""MIM: a PredRNN whose forget gates are cascades of cells that see differences of states."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.frames import Batch, FrameSpec
from statecast.models.base import Losses, known_part
from statecast.models.patch_rnn import PatchRNN, Sampling
from statecast.nn.blocks import initialise_convolutions
from statecast.nn.normaliser import Normalisation
from statecast.nn.random import PartGenerator
from statecast.nn.st_lstm import Maps, MIMBlock, Norm, STLSTMCell, peephole_cell

DIFFERENCE_BOUND = 1e-3  # bound of the initial weights of MIM-N, as published


class MIMState(NamedTuple):
    """State of `MIM`; tuples run over layers, the last two from the second layer on."""

    hidden: tuple[Maps, ...]  # h
    cell: tuple[Maps, ...]  # c
    memory: Maps  # m of the top layer
    stationary: tuple[Maps, ...]  # s, the cell of MIM-S
    difference: tuple[tuple[Maps, Maps], ...]  # d and e, hidden state and cell of MIM-N


class MIM(PatchRNN[MIMState]):
    r"""Memory in memory: forget gates above the first layer are cells that see differences.

    $$h^1_t, c^1_t, m^1_t = \text{ST-LSTM}(x_t, h^1_{t-1}, c^1_{t-1}, m^L_{t-1}), \quad
    d^2_t, e^2_t = \text{MIM-N}(h^1_t - h^1_{t-1}, d^2_{t-1}, e^2_{t-1}), \quad
    d^l_t, e^l_t = \text{MIM-N}(d^{l-1}_t, d^l_{t-1}, e^l_{t-1})$$

    $$h^l_t, c^l_t, m^l_t, s^l_t =
    \text{MIM block}(h^{l-1}_t, d^l_t, h^l_{t-1}, c^l_{t-1}, m^{l-1}_t, s^l_{t-1}), \quad
    \hat x_{t+1} = W * h^L_t$$

    d and e are 0 at the first frame. Peepholes of MIM-N and MIM-S have a weight for each point of
    the grid, so a model works on one frame size only.

    References: Wang et al. (2019), https://arxiv.org/abs/1811.07490; the variant `openstl`: Tan
    et al. (2023), https://arxiv.org/abs/2306.11249.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        patch: side of the square patches, a divisor of both sides of a frame.
        layers: number of cells.
        width: channels of every state.
        kernel: odd side of the convolutions.
        variant: `original`; or `openstl`, its port, where the first layer is PredRNN's cell and
            convolutions have no bias.
        layer_norm: whether gates are normalised over channels and space of each sample; scale and
            offset are per channel, in `openstl` per channel and point.
        detach_stationary: whether no gradient flows through s in time, as in the port.
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
        width: int = 64,
        kernel: int = 5,
        variant: Literal["original", "openstl"] = "original",
        layer_norm: bool = True,
        detach_stationary: bool = False,
        sampling: Sampling = "scheduled",
        sampling_start: int = 25_000,
        sampling_end: int = 50_000,
        sampling_decay: float = 5000.0,
        reversed_clip: bool = False,
        normalise: Normalisation = "auto",
        generator: torch.Generator | None = None,
    ) -> None:
        original = variant == "original"
        super().__init__(
            spec,
            patch=patch,
            layers=layers,
            width=width,
            bias=original,
            sampling=sampling,
            sampling_start=sampling_start,
            sampling_end=sampling_end,
            sampling_decay=sampling_decay,
            reversed_clip=reversed_clip,
            normalise=normalise,
        )
        self.variant, self.detach_stationary = variant, detach_stationary
        scale: Norm = "channel" if original else "element"
        gates = self.gates(kernel=kernel, bias=original, norm=scale if layer_norm else "none")
        self.first = (
            MIMBlock(self.patch_channels, width, gates, cascade=False)
            if original
            else STLSTMCell(self.patch_channels, width, gates)
        )
        above = range(1, layers)
        self.blocks = nn.ModuleList(MIMBlock(width, width, gates, cascade=True) for _ in above)
        self.difference_cells = nn.ModuleList(peephole_cell(width, gates) for _ in above)
        if original:
            self.initialise_original(generator)
        else:
            initialise_convolutions(self, generator)

    def initialise_original(self, generator: torch.Generator | None) -> None:
        """Draw weights as published: uniform, with bounds from channels, not from kernel area."""
        small = {layer for cell in self.difference_cells for layer in cell.modules()}
        for layer in self.modules():
            if not isinstance(layer, nn.Conv2d):
                continue
            bound = math.sqrt(6 / (layer.in_channels + layer.out_channels))
            bound = DIFFERENCE_BOUND if layer in small else bound
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        for name, weight in self.named_parameters():
            if name.endswith("_peephole"):
                channels, height, width = weight.shape
                bound = math.sqrt(6 / (height * (width + channels)))
                nn.init.uniform_(weight, -bound, bound, generator=generator)

    def initial_state(self, patches: Float[Tensor, "batch patch_channel y x"]) -> MIMState:
        """The state before the first frame: zeros."""
        zeros = self.zeros(patches)
        above = len(self.blocks)
        every = (zeros,) * (above + 1)
        return MIMState(every, every, zeros, (zeros,) * above, ((zeros, zeros),) * above)

    def advance(
        self, patches: Float[Tensor, "batch patch_channel y x"], state: MIMState | None
    ) -> tuple[Float[Tensor, "batch patch_channel y x"], MIMState]:
        before = self.initial_state(patches) if state is None else state
        lowest = self.first(patches, before.hidden[0], before.cell[0], before.memory)
        hidden, cell, memory = [lowest.hidden], [lowest.cell], lowest.memory
        stationary, difference = [], []
        change = lowest.hidden - before.hidden[0]
        for layer, block in enumerate(self.blocks):
            pair = before.difference[layer]
            if state is not None:  # the first frame has no frame before it
                pair = self.difference_cells[layer](change, *pair)
            change, kept = pair[0], before.stationary[layer]
            output = block(
                hidden[-1],
                before.hidden[layer + 1],
                before.cell[layer + 1],
                memory,
                (change, kept.detach() if self.detach_stationary else kept),
            )
            hidden.append(output.hidden)
            cell.append(output.cell)
            memory = output.memory
            stationary.append(output.stationary)
            difference.append(pair)
        return self.output(hidden[-1]), MIMState(
            tuple(hidden), tuple(cell), memory, tuple(stationary), tuple(difference)
        )

    def loss(
        self, batch: Batch, *, step: int = 0, generator: torch.Generator | None = None
    ) -> Losses:
        terms = super().loss(batch, step=step, generator=generator)
        if self.variant == "original" and isinstance(generator, PartGenerator):
            # Processes weight losses by their share of the batch, which is right for means only.
            terms["total"] = terms["total"] * generator.part.whole / len(generator.part)
        return terms

    def terms(
        self,
        squares: Float[Tensor, "batch predicted patch_channel y x"],
        mask: Bool[Tensor, "batch predicted patch_channel y x"] | None,
        states: list[MIMState],
    ) -> Losses:
        """The mean squared error; the original minimises half the sum over the batch."""
        terms = super().terms(squares, mask, states)
        if self.variant == "original":
            terms["total"] = known_part(squares, mask).sum() / 2
        return terms
