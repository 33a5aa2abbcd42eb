"""MotionCell: a recurrent network that moves the pixels of a frame to give the next one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from statecast.errors import InputError
from statecast.nn.blocks import GroupNorm, beside
from statecast.nn.codecs.base import Output, grid_of
from statecast.nn.conv_lstm import ConvLSTM, ConvLSTMState
from statecast.nn.gaussian import widened
from statecast.nn.pixel_motion import (
    Motion,
    move_affinely,
    move_by_kernels,
    move_by_pixel,
    normalised_kernels,
)
from statecast.nn.same_padding import SameConv2d, same_transposed

REDUCTION = 8  # side of a frame over that of the smallest maps
EPSILON = 1e-12  # epsilon of layer normalisation, as published
AFFINE_HIDDEN = 100  # units before the affine maps, as published
States = tuple[ConvLSTMState | None, ...]  # of each convolutional LSTM


@dataclass(frozen=True, kw_only=True)
class CellOptions:
    """Sizes and variants of a `MotionCell`; see `CDNA` and `SV2P`."""

    motion: Motion
    transformations: int
    kernel_size: int
    width: int
    lstm_widths: tuple[int, ...]
    latent_channels: int
    condition_size: int  # numbers in an action and a state of an agent; 0 without
    rectified: bool  # whether full-size features and their heads are rectified
    spare_kernel: bool  # whether one more kernel is computed but not used
    output: Output

    def __post_init__(self) -> None:
        if len(self.lstm_widths) != 7:
            raise InputError(
                f"lstm_widths must give 7 convolutional LSTMs, got {len(self.lstm_widths)}."
            )
        if self.transformations < 1 or self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise InputError(
                "A cell needs at least 1 transformation and an odd kernel_size, got "
                f"{self.transformations} and {self.kernel_size}."
            )


def repeated(maps: Float[Tensor, "few *shape"], rows: int) -> Float[Tensor, "rows *shape"]:
    """Maps, each repeated for an equal number of neighbouring rows."""
    return maps if len(maps) == rows else maps.repeat_interleave(rows // len(maps), dim=0)


def layer_norm(channels: int) -> nn.GroupNorm:
    """Normalisation over channels and space together."""
    return GroupNorm(1, channels, eps=EPSILON)


class MotionCell(nn.Module):
    r"""A network from a frame and a latent to the next frame, by moving pixels.

    $$\hat x_{t+1} = m_0 \odot x_t + m_1 \odot s_t + \sum_k m_{k+1} \odot T_k(x_t)$$

    Seven convolutional LSTMs on maps with a half, a quarter and an eighth of the frame's sides,
    with skip connections, give the masks m, which add up to one, a frame s from scratch, and the
    parameters of the transformations T. With `dna`, there is one transformation, with a kernel for
    each pixel, and no frame from scratch.

    Args:
        frame_shape: (channel, height, width); sides divisible by 8.
        options: sizes and variants.

    Errors:
        InputError: the frames are points, or a side is not divisible by 8.
    """

    def __init__(self, frame_shape: tuple[int, ...], options: CellOptions) -> None:
        super().__init__()
        self.options = options
        channels = frame_shape[0]
        grid = grid_of(frame_shape, REDUCTION, "pixel-motion")
        one, two, three, four, five, six, seven = options.lstm_widths
        width = options.width
        self.enter = SameConv2d(channels, width, 5, stride=2, bias=False)
        self.enter_norm = layer_norm(width)
        inputs = (width, one, two, three, four, five, six + two)
        self.lstms = nn.ModuleList(
            ConvLSTM(each, out) for each, out in zip(inputs, options.lstm_widths, strict=True)
        )
        self.norms = nn.ModuleList(layer_norm(out) for out in options.lstm_widths)
        self.downsample = nn.ModuleList(
            [SameConv2d(size, size, 3, stride=2) for size in (two, four)]
        )
        known = options.condition_size + options.latent_channels
        self.mix = nn.Conv2d(four + known, four, 1)
        self.upsample = nn.ModuleList(
            [same_transposed(size, size, 3, stride=2) for size in (five, six + two)]
        )
        full = seven + width
        self.leave = same_transposed(full, full, 3, stride=2, bias=False)
        self.leave_norm = layer_norm(full)
        self.smallest = (five, *grid)
        self.make_heads(channels, full, five * grid[0] * grid[1])

    def make_heads(self, channels: int, full: int, flat: int) -> None:
        """Make the layers from maps to the frame from scratch, masks and transformations."""
        options = self.options
        count, weights = options.transformations, options.kernel_size**2
        self.affine: nn.Module | None = None
        if options.motion == "dna":
            self.motion: nn.Module = nn.Conv2d(full, weights, 1)
            self.scratch: nn.Module | None = None
            self.masks = nn.Conv2d(full, 2, 1)
            return
        self.scratch = nn.Conv2d(full, channels, 1)
        self.masks = nn.Conv2d(full, 2 + count, 1)
        if options.motion == "cdna":
            self.motion = nn.Linear(flat, weights * (count + options.spare_kernel))
        else:
            self.motion = nn.Linear(flat, AFFINE_HIDDEN)
            self.affine = nn.Linear(AFFINE_HIDDEN, 6 * count)

    def forward(
        self,
        frame: Float[Tensor, "row channel y x"],
        states: States,
        latent: Float[Tensor, "row latent small_y small_x"] | None = None,
        conditions: Float[Tensor, "row condition"] | None = None,
    ) -> tuple[Float[Tensor, "row channel y x"], States]:
        """The next frame, and the states after it.

        A frame may be shared by several neighbouring rows with a latent each. Layers before the
        latent then have one state per frame, the others one per row.
        """
        features, smallest, states = self.features(frame, states, latent, conditions)
        frame = repeated(frame, len(features))
        if self.options.rectified:
            features = functional.relu(features)
        images = torch.stack([frame, *self.candidates(frame, features, smallest)], dim=1)
        logits = widened(self.rectify(self.masks(features)))
        return (logits.softmax(dim=1).unsqueeze(2) * images).sum(dim=1), states

    def features(
        self, frame: Tensor, states: States, latent: Tensor | None, conditions: Tensor | None
    ) -> tuple[Float[Tensor, "row full y x"], Float[Tensor, "row five small_y small_x"], States]:
        """Full-size maps, the smallest maps, and the states after them."""
        after: list[ConvLSTMState] = []
        cells = zip(self.lstms, self.norms, states, strict=True)

        def remember(maps: Tensor) -> Tensor:
            lstm, norm, state = next(cells)
            after.append(lstm(maps, state))
            normalised: Tensor = norm(after[-1].hidden)
            return normalised

        (halve, halve_again), (double, double_again) = self.downsample, self.upsample
        entered = functional.relu(self.enter_norm(self.enter(frame)))
        half = functional.relu(halve(remember(remember(entered))))
        quarter = functional.relu(halve_again(remember(remember(half))))
        if latent is not None:
            entered, half, quarter = (
                repeated(maps, len(latent)) for maps in (entered, half, quarter)
            )
        quarter = beside(quarter, conditions)
        if latent is not None:
            quarter = torch.cat([quarter, latent], dim=1)
        smallest = remember(functional.relu(self.mix(quarter)))
        maps = remember(functional.relu(double(smallest)))
        maps = functional.relu(double_again(torch.cat([maps, half], dim=1)))
        maps = torch.cat([remember(maps), entered], dim=1)
        return self.leave_norm(self.leave(maps)), smallest, tuple(after)

    def candidates(
        self, frame: Tensor, features: Tensor, smallest: Tensor
    ) -> list[Float[Tensor, "row channel y x"]]:
        """The images that are mixed with the frame itself."""
        options = self.options
        if self.scratch is None:
            kernels = normalised_kernels(self.rectify(self.motion(features)), dims=(1,))
            return [move_by_pixel(frame, kernels)]
        scratch = widened(self.rectify(self.scratch(features)))
        scratch = scratch.sigmoid() if options.output == "sigmoid" else scratch
        # Points before channels, as in published weights.
        given = self.motion(smallest.permute(0, 2, 3, 1).flatten(1))
        if self.affine is not None:
            maps = widened(self.affine(functional.relu(given))).unflatten(1, (-1, 6))
            moved = move_affinely(frame, maps)
        else:
            side = options.kernel_size
            kernels = given.unflatten(1, (side, side, -1)).permute(0, 3, 1, 2)
            moved = move_by_kernels(
                frame, normalised_kernels(kernels[:, : options.transformations])
            )
        return [scratch, *moved.unbind(1)]

    def rectify(self, outputs: Tensor) -> Tensor:
        """Outputs of a head, rectified if the options say so."""
        return functional.relu(outputs) if self.options.rectified else outputs
