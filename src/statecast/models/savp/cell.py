"""SAVPCell: a recurrent network that moves the pixels of a frame, given a latent."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from statecast.nn.blocks import beside
from statecast.nn.codecs.base import Output, grid_of
from statecast.nn.conv_lstm import ConvLSTM, ConvLSTMState, instance_norm
from statecast.nn.fast.transposed import upsampled
from statecast.nn.fast.weight_cache import cached
from statecast.nn.gaussian import widened
from statecast.nn.pixel_motion import move_by_kernels, normalised_kernels
from statecast.nn.st_lstm import remember

BILINEAR = (0.25, 0.75, 0.75, 0.25)  # weights that double the size of a row
KEPT = 3  # images beside the moved ones: last frame, first frame, image from scratch


class StageSpec(NamedTuple):
    """One size of maps in a `SAVPCell`."""

    multiple: int  # channels, as a multiple of the width
    recurrent: bool  # whether the stage has a convolutional LSTM


class SAVPState(NamedTuple):
    """State of a `SAVPCell` after a frame."""

    first: Float[Tensor, "row channel y x"]  # the first frame of the sequence
    latent: tuple[Tensor, Tensor] | None  # hidden and cell state (row, noise) of the latent's LSTM
    lstms: tuple[ConvLSTMState | None, ...]  # of each stage
    conditions: Float[Tensor, "row step condition"] | None = None  # of later steps


def stage_specs(side: int) -> tuple[list[StageSpec], list[StageSpec]]:
    """Stages down and up for frames with this shorter side, as published.

    Frames below 64 pixels are halved twice, below 128 three times, below 256 four times, others
    five times.
    """
    if side >= 256:
        down, up = (
            [(1, 0), (2, 0), (4, 1), (8, 1), (8, 1)],
            [(8, 1), (4, 1), (2, 0), (1, 0), (1, 0)],
        )
    elif side >= 128:
        down, up = [(1, 0), (2, 1), (4, 1), (8, 1)], [(8, 1), (4, 1), (2, 0), (1, 0)]
    elif side >= 64:
        down, up = [(1, 1), (2, 1), (4, 1)], [(2, 1), (1, 1), (1, 0)]
    else:
        down, up = [(1, 1), (2, 1)], [(1, 1), (1, 0)]
    stages = [[StageSpec(size, bool(lstm)) for size, lstm in part] for part in (down, up)]
    return stages[0], stages[1]


class LatentLSTM(nn.Module):
    """An LSTM from latents to latents, with 1 added inside the sigmoid of the forget gate."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.gates = nn.Linear(2 * size, 4 * size)

    def forward(
        self, latent: Float[Tensor, "row noise"], state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Hidden and cell state after a latent; without a state, from zeros."""
        hidden, cell = state or (torch.zeros_like(latent), torch.zeros_like(latent))
        i, g, f, o = self.gates(torch.cat([latent, hidden], dim=1)).chunk(4, dim=1)
        cell = remember(cell, i, f, g)
        return torch.tanh(cell) * torch.sigmoid(o), cell


class Resize(nn.Module):
    """A convolution that halves maps, or doubles them, then normalisation and a rectifier.

    Halving is a convolution that keeps the size, then the mean over 2×2 points. Doubling is
    bilinear, with a margin of zeros that the 3×3 convolution then removes.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        direction: Literal["down", "up"],
        kernel: int,
        epsilon: float,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if direction == "down" else 0
        self.direction = direction
        self.convolution = nn.Conv2d(inputs, outputs, kernel, padding=padding)
        self.norm = instance_norm(outputs, epsilon)

    def forward(
        self, maps: Float[Tensor, "row channel y x"]
    ) -> Float[Tensor, "row out_channel out_y out_x"]:
        """Maps of half or twice the size."""
        return functional.relu(self.norm(self.resized(maps)))

    def resized(
        self, maps: Float[Tensor, "row channel y x"]
    ) -> Float[Tensor, "row out_channel out_y out_x"]:
        """Maps of half or twice the size, before normalisation."""
        if self.direction == "down":
            return functional.avg_pool2d(self.convolution(maps), 2)
        weight = cached(self, self.doubling_kernels)
        return upsampled(maps, weight, self.convolution.bias, stride=2, cut=2)

    def doubling_kernels(self) -> Float[Tensor, "channel out_channel 6 6"]:
        """Kernels of a transposed convolution that equals doubling maps, then convolving them."""
        kernels = self.convolution.weight
        row = torch.tensor(BILINEAR, device=kernels.device, dtype=kernels.dtype)
        bilinear = torch.outer(row, row).expand(1, 1, 4, 4)
        # A transposed convolution flips kernels; a convolution does not.
        flat = kernels.transpose(0, 1).flatten(0, 1).unsqueeze(1).flip(2, 3)
        both = functional.conv_transpose2d(flat, bilinear)
        return both.unflatten(0, (kernels.shape[1], -1)).squeeze(2)


class Stage(nn.Module):
    """Resized maps, then in some stages a convolutional LSTM."""

    def __init__(
        self,
        inputs: int,
        spec: StageSpec,
        *,
        width: int,
        beside_size: int,
        direction: Literal["down", "up"],
        kernel: int,
        epsilon: float,
    ) -> None:
        super().__init__()
        outputs = width * spec.multiple
        self.resize = Resize(
            inputs + beside_size, outputs, direction=direction, kernel=kernel, epsilon=epsilon
        )
        self.lstm = None
        if spec.recurrent:
            self.lstm = ConvLSTM(outputs + beside_size, outputs, norm_epsilon=epsilon)

    def forward(
        self, maps: Tensor, vector: Tensor | None, state: ConvLSTMState | None
    ) -> tuple[Tensor, ConvLSTMState | None]:
        """Maps and state after the stage; the vector is appended to the input of each layer."""
        maps = self.resize(beside(maps, vector))
        if self.lstm is None:
            return maps, None
        state = self.lstm(beside(maps, vector), state)
        return state.hidden, state


class Head(nn.Module):
    """Two convolutions with normalisation and a rectifier between them.

    Args:
        inputs: channels of the input.
        width: channels after the first convolution.
        outputs: channels of the output.
        more: channels of images that the second convolution also sees.
        epsilon: epsilon of the normalisation.
    """

    def __init__(
        self, inputs: int, width: int, outputs: int, *, more: int = 0, epsilon: float
    ) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.norm = instance_norm(width, epsilon)
        self.second = nn.Conv2d(width + more, outputs, 3, padding=1)

    def forward(self, maps: Tensor, images: Tensor | None = None) -> Tensor:
        """Maps of the same size."""
        maps = functional.relu(self.norm(self.first(maps)))
        if images is not None:
            maps = torch.cat([maps, images], dim=1)
        return widened(self.second(maps))


class SAVPCell(nn.Module):
    r"""A network from a frame and a latent to the next frame.

    $$\hat x_{t+1} = \sum_k m_k \odot K_k * x_t + m_a \odot x_t + m_b \odot x_1 + m_c \odot s_t$$

    A U-net of convolutional LSTMs, where each convolution sees the latent, gives kernels K, an
    image s from scratch, and masks m. The masks add up to one; the layers that give them see the
    images to mix.

    Args:
        frame_shape: (channel, height, width).
        width: channels of the largest maps.
        noise_size: size of the latent; 0 for a cell without.
        condition_size: numbers in an action and a state of an agent; 0 without.
        transformations: number of kernels.
        kernel_size: odd side of the kernels.
        output: function of the image from scratch.
        epsilon: epsilon of instance normalisation.

    Errors:
        InputError: frames are points, or the sides cannot be halved often enough.
    """

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        *,
        width: int,
        noise_size: int,
        condition_size: int,
        transformations: int,
        kernel_size: int,
        output: Output,
        epsilon: float,
    ) -> None:
        super().__init__()
        self.output, self.transformations, self.kernel_size = output, transformations, kernel_size
        channels, side = frame_shape[0], min(frame_shape[1:])
        down, up = stage_specs(side)
        grid = grid_of(frame_shape, 2 ** len(down), "savp")
        self.lstm = LatentLSTM(noise_size) if noise_size else None
        self.stages_down, self.stages_up = nn.ModuleList(), nn.ModuleList()
        vector = noise_size + condition_size
        sizes = [2 * channels]  # channels before each stage, and after the last
        for index, spec in enumerate(down):
            stage = Stage(
                sizes[-1], spec, width=width, beside_size=vector, direction="down",
                kernel=3 if index else 5, epsilon=epsilon,
            )  # fmt: skip
            self.stages_down.append(stage)
            sizes.append(width * spec.multiple)
        before = flat = sizes.pop()
        for spec in up:
            stage = Stage(
                before, spec, width=width, beside_size=vector, direction="up",
                kernel=3, epsilon=epsilon,
            )  # fmt: skip
            self.stages_up.append(stage)
            before = width * spec.multiple + sizes.pop()
        full = width * up[-1].multiple
        images = transformations + KEPT
        self.kernels = nn.Linear(flat * grid[0] * grid[1], transformations * kernel_size**2)
        self.scratch = Head(full, width, channels, epsilon=epsilon)
        self.masks = Head(full, width, images, more=images * channels, epsilon=epsilon)

    def start(
        self,
        first: Float[Tensor, "row channel y x"],
        conditions: Float[Tensor, "row step condition"] | None = None,
    ) -> SAVPState:
        """The state before the first step of sequences with these first frames and conditions."""
        stages = len(self.stages_down) + len(self.stages_up)
        return SAVPState(first, None, (None,) * stages, conditions)

    def forward(
        self,
        frame: Float[Tensor, "row channel y x"],
        latent: Float[Tensor, "row noise"] | None,
        state: SAVPState,
    ) -> tuple[Float[Tensor, "row channel y x"], SAVPState]:
        """The next frame, and the state after it."""
        images, masks, state = self.layers(frame, latent, state)
        return (masks.unsqueeze(2) * images).sum(dim=1), state

    def layers(
        self, frame: Tensor, latent: Tensor | None, state: SAVPState
    ) -> tuple[Float[Tensor, "row image channel y x"], Float[Tensor, "row image y x"], SAVPState]:
        """The images that make a frame, their masks, and the state after it."""
        memory = state.latent
        if self.lstm is not None:
            assert latent is not None
            memory = self.lstm(latent, state.latent)
            latent = memory[0]
        conditions, vector = state.conditions, latent
        if conditions is not None:
            now, conditions = conditions[:, 0], conditions[:, 1:]
            vector = now if latent is None else torch.cat([now, latent], dim=1)
        full, smallest, lstms = self.features(frame, vector, state)
        kernels = self.kernels_of(smallest)
        moved = move_by_kernels(frame, kernels, padding="edge")
        scratch = self.scratch(full)
        scratch = scratch.sigmoid() if self.output == "sigmoid" else scratch
        kept = torch.stack([frame, state.first, scratch], dim=1)
        images = torch.cat([moved, kept], dim=1)
        masks = self.masks(full, images.flatten(1, 2)).softmax(dim=1)
        return images, masks, SAVPState(state.first, memory, lstms, conditions)

    def features(
        self, frame: Tensor, vector: Tensor | None, state: SAVPState
    ) -> tuple[Tensor, Tensor, tuple[ConvLSTMState | None, ...]]:
        """Full-size maps, the smallest maps, and the states of the stages."""
        maps, skips, after = torch.cat([frame, state.first], dim=1), [], []
        before = iter(state.lstms)
        for stage in self.stages_down:
            maps, memory = stage(maps, vector, next(before))
            skips.append(maps)
            after.append(memory)
        smallest = skips.pop()
        for index, stage in enumerate(self.stages_up):
            if index > 0:
                maps = torch.cat([maps, skips.pop()], dim=1)
            maps, memory = stage(maps, vector, next(before))
            after.append(memory)
        return maps, smallest, tuple(after)

    def kernels_of(self, smallest: Tensor) -> Float[Tensor, "row transformation kernel kernel"]:
        """Normalised kernels from the smallest maps: the identity plus a learned part."""
        side = self.kernel_size
        # Points before channels, as in published weights.
        raw = widened(self.kernels(smallest.permute(0, 2, 3, 1).flatten(1)))
        identity = torch.zeros(side, side, device=raw.device)
        identity[side // 2, side // 2] = 1
        return normalised_kernels(raw.unflatten(1, (side, side, -1)).permute(0, 3, 1, 2) + identity)
