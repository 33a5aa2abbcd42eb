"""Transposed convolutions, computed as convolutions of the coarse map."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from statecast.nn.fast.switches import enabled
from statecast.nn.fast.weight_cache import cached
from statecast.nn.fast.winograd import Identity


class PhaseKernels(NamedTuple):
    """Kernels for each of the stride² fine points of a coarse one, as one convolution."""

    weight: Float[Tensor, "phase_channel channel y x"]
    before: int  # number of zeros before the first coarse point
    after: int  # number of zeros after the last one


def phase_kernels(
    weight: Float[Tensor, "channel out_channel y x"], stride: int, cut: int
) -> PhaseKernels:
    """Kernels over coarse points, from the kernel of a transposed convolution; see `upsampled`.

    Fine point m = s i + a sums coarse points i − d with the weights k = s d + a + cut. All phases a
    together use each k once.
    """
    side = weight.shape[-1]
    nearest, farthest = -((stride - 1 + cut) // stride), (side - 1 - cut) // stride
    reach = farthest - nearest + 1
    left = -(stride * nearest + cut)
    right = stride * reach - left - side
    spread = functional.pad(weight, (left, right, left, right))
    phases = spread.unflatten(3, (reach, stride)).unflatten(2, (reach, stride)).flip(2, 4)
    kernels = phases.permute(1, 3, 5, 0, 2, 4).flatten(0, 2)
    last = weight.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    return PhaseKernels(kernels.contiguous(memory_format=layout), farthest, -nearest)


class UpsamplingConvolution(nn.ConvTranspose2d):
    """A transposed convolution to maps exactly `stride` times as large.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: side of the kernel, at least `stride`.
        stride: fine points per coarse one.
        cut: number of rows and columns to crop at the start; at the end, those beyond the size are
            cropped.
        bias: whether to add a bias.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int, cut: int, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=bias)
        self.cut = cut

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:  # noqa: A002
        return upsampled(input, self.weight, self.bias, stride=self.stride[0], cut=self.cut)


def upsampled(
    maps: Float[Tensor, "row channel y x"],
    weight: Float[Tensor, "channel out_channel kernel kernel"],
    bias: Float[Tensor, " out_channel"] | None,
    *,
    stride: int,
    cut: int,
) -> Float[Tensor, "row out_channel fine_y fine_x"]:
    """A transposed convolution to maps that are `stride` times as large.

    Args:
        maps: the coarse maps.
        weight: square kernels.
        bias: constant added to each output channel.
        stride: fine points per coarse one.
        cut: number of rows and columns to crop at the start.
    """
    height, width = (stride * side for side in maps.shape[2:])
    if maps.device.type != "cpu" or not enabled("transposed_as_convolution"):
        reached = functional.conv_transpose2d(maps, weight, bias, stride)
        return reached[..., cut : cut + height, cut : cut + width]
    kernels, before, after = cached(
        ("phases", Identity(weight), stride, cut), lambda: phase_kernels(weight, stride, cut)
    )
    if bias is not None:
        bias = bias.repeat_interleave(stride * stride)
    padded = functional.pad(maps, (before, after, before, after))
    return functional.pixel_shuffle(functional.conv2d(padded, kernels, bias), stride)
