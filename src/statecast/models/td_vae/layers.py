"""Layers of TD-VAE: Gaussian maps and their hierarchies, belief network, codecs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from statecast.models.online import shapes_of
from statecast.nn.codecs.base import Content, DecoderOptions
from statecast.nn.codecs.build import decoder_of, encoder_of
from statecast.nn.gaussian import DiagonalGaussian, widened

Architecture = Literal["mlp", "dcgan", "vgg"]
Memory = tuple[tuple[Tensor, Tensor], ...]  # hidden and cell state of each cell


class GaussianMap(nn.Module):
    """A Gaussian given an input, through one gated hidden layer."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.value, self.gate = nn.Linear(inputs, hidden), nn.Linear(inputs, hidden)
        self.mean, self.log_variance = nn.Linear(hidden, outputs), nn.Linear(hidden, outputs)

    def forward(self, inputs: Float[Tensor, "row input"]) -> DiagonalGaussian:
        hidden = self.value(inputs).tanh() * self.gate(inputs).sigmoid()
        log_variance = widened(self.log_variance(hidden))
        return DiagonalGaussian(widened(self.mean(hidden)), (0.5 * log_variance).exp())


class Hierarchy(nn.Module):
    """A Gaussian state of several layers, each conditioned on the layer above it.

    Args:
        inputs: size of the additional input that conditions each layer.
        hidden: hidden units of each map.
        size: size of each layer's state.
        layers: number of layers; the first one is the lowest.
    """

    def __init__(self, inputs: int, hidden: int, size: int, layers: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(
            GaussianMap(inputs + (size if layer < layers - 1 else 0), hidden, size)
            for layer in range(layers)
        )

    def draw(
        self,
        conditions: Sequence[Float[Tensor, "row input"]],
        standard: Float[Tensor, "row layer size"],
    ) -> tuple[Float[Tensor, "row layer size"], DiagonalGaussian]:
        """Draw a state from the top layer down; return the state and its distribution.

        Args:
            conditions: additional input of each layer.
            standard: standard normal values.
        """
        state: list[Tensor] = []
        found: list[DiagonalGaussian] = []
        for layer in reversed(range(len(self.maps))):
            above = [state[0]] if state else []
            gaussian = self.maps[layer](torch.cat([conditions[layer], *above], dim=1))
            state.insert(0, gaussian.at(standard[:, layer]))
            found.insert(0, gaussian)
        return torch.stack(state, dim=1), DiagonalGaussian.stack(found, dim=1)

    def given(
        self,
        conditions: Sequence[Float[Tensor, "row input"]],
        state: Float[Tensor, "row layer size"],
    ) -> DiagonalGaussian:
        """The distribution of each layer, given the layers above it in a state."""
        above = [*state.unbind(1)[1:], state[:, :0, 0]]
        return DiagonalGaussian.stack(
            [
                gaussian(torch.cat([condition, upper], dim=1))
                for gaussian, condition, upper in zip(self.maps, conditions, above, strict=True)
            ],
            dim=1,
        )


class BeliefState(NamedTuple):
    """The belief after a frame."""

    memory: Memory
    since: Float[Tensor, " batch"]  # time since the last observed frame, or the first
    known: Bool[Tensor, " batch"]  # whether any frame was observed

    def __repr__(self) -> str:
        return shapes_of(self)

    @property
    def value(self) -> Float[Tensor, "batch layer belief"]:
        """The belief, by layer."""
        return widened(torch.stack([hidden for hidden, _ in self.memory], dim=1))


class Beliefs(NamedTuple):
    """The belief after each frame."""

    values: Float[Tensor, "batch time layer belief"]
    times: Float[Tensor, "batch time"]  # of the last observed frame; else of the first
    known: Bool[Tensor, "batch time"]  # whether any frame was observed
    last: BeliefState  # after the last frame


class BeliefNetwork(nn.Module):
    """Stacked LSTM cells, each with the frame as an additional input.

    A cell also sees the hidden state of the cell above it after the frame before.

    Args:
        inputs: size of a frame's code.
        size: units of each cell; each cell is a layer of the belief.
        layers: number of cells.
        time_unit: unit of the time since the last observed frame, as cells see it; None if they
            do not see it.
    """

    def __init__(self, inputs: int, size: int, layers: int, *, time_unit: float | None) -> None:
        super().__init__()
        self.size, self.time_unit = size, time_unit
        inputs += time_unit is not None
        self.cells = nn.ModuleList(
            nn.LSTMCell(inputs + size * ((layer > 0) + (layer < layers - 1)), size)
            for layer in range(layers)
        )

    def forward(
        self,
        codes: Float[Tensor, "batch time code"],
        known: Bool[Tensor, "batch time"],
        times: Float[Tensor, " time"],
        state: BeliefState | None = None,
        dt: float = 1.0,
    ) -> Beliefs:
        """Beliefs after each frame; missing frames do not change them.

        Args:
            codes: codes of the frames; any values for missing frames.
            known: whether each frame was observed.
            times: times of the frames.
            state: the state after the frames before, if any.
            dt: time from the last frame before to the first of these.
        """
        clock = times.to(codes.device, torch.float32).expand(known.shape)
        start, seen = clock[:, :1], known.cumsum(dim=1) > 0
        if state is not None:
            start, seen = start - dt - state.since[:, None], seen | state.known[:, None]
        last = torch.where(known, clock, start).cummax(dim=1).values
        if self.time_unit is not None:
            before = torch.cat([start, last[:, :-1]], dim=1)
            elapsed = (clock - before) / self.time_unit
            codes = torch.cat([codes, elapsed.unsqueeze(2)], dim=2)
        zero = codes.new_zeros(len(codes), self.size)
        memory = ((zero, zero),) * len(self.cells) if state is None else state.memory
        found = []
        for code, now in zip(codes.unbind(1), known.unbind(1), strict=True):
            memory = self.step(code, now, memory)
            found.append(torch.stack([hidden for hidden, _ in memory], dim=1))
        end = BeliefState(memory, clock[:, -1] - last[:, -1], seen[:, -1])
        return Beliefs(widened(torch.stack(found, dim=1)), last, seen, end)

    def step(
        self, code: Float[Tensor, "batch code"], known: Bool[Tensor, " batch"], before: Memory
    ) -> Memory:
        """The cells after a frame; unchanged where it is missing."""
        state: list[tuple[Tensor, Tensor]] = []
        for layer, cell in enumerate(self.cells):
            inputs = [code]
            if layer:
                inputs.insert(0, state[-1][0])
            if layer < len(self.cells) - 1:
                inputs.append(before[layer + 1][0])
            after = cell(torch.cat(inputs, dim=1), before[layer])
            pairs = zip(after, before[layer], strict=True)
            hidden, inner = (torch.where(known[:, None], new, old) for new, old in pairs)
            state.append((hidden, inner))
        return tuple(state)


class FrameEncoder(nn.Module):
    """Encoder of frames: two rectified linear layers, or a convolutional codec."""

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        code_size: int,
        *,
        architecture: Architecture,
        width: int,
    ) -> None:
        super().__init__()
        self.codec: nn.Module | None = None
        if architecture == "mlp":
            first, second = (
                nn.Linear(math.prod(frame_shape), code_size),
                nn.Linear(code_size, code_size),
            )
            self.layers = nn.Sequential(nn.Flatten(), first, nn.ReLU(), second, nn.ReLU())
        else:
            self.codec = encoder_of(
                architecture, frame_shape, code_size, width=width, layers=0, bias=False, head="tanh"
            )

    def forward(
        self, frames: Float[Tensor, "batch time channel *space"]
    ) -> Float[Tensor, "batch time code"]:
        many = frames.flatten(0, 1)
        codes = self.layers(many) if self.codec is None else self.codec(many).code
        return codes.unflatten(0, frames.shape[:2])


class FrameDecoder(nn.Module):
    """Decoder from states to frames, before the output function."""

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        inputs: int,
        hidden: int,
        *,
        architecture: Architecture,
        width: int,
    ) -> None:
        super().__init__()
        self.frame_shape, self.inputs = frame_shape, inputs
        self.codec: nn.Module | None = None
        if architecture == "mlp":
            sizes = (inputs, hidden, hidden, math.prod(frame_shape))
            first, second, third = (nn.Linear(*pair) for pair in pairwise(sizes))
            self.layers = nn.Sequential(first, nn.Tanh(), second, nn.Tanh(), third)
        else:
            options = DecoderOptions(
                content_size=inputs,
                latent_size=inputs,
                width=width,
                layers=0,
                bias=False,
                skips=False,
                output="identity",
                mixing="product",
            )
            self.codec = decoder_of(architecture, frame_shape, options)

    def forward(
        self, states: Float[Tensor, "row layer size"]
    ) -> Float[Tensor, "row channel *space"]:
        latents = states.flatten(1)
        if self.codec is None:
            frames = self.layers(latents)
        else:  # states hold everything; the content is ones
            frames = self.codec(Content(latents.new_ones(1, self.inputs)), latents[None])[0]
        return widened(frames).view(len(states), *self.frame_shape)
