"""Convolutions with TensorFlow's padding `SAME`."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.nn.fast.transposed import UpsamplingConvolution


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding `SAME`.

    With a stride s, the output has ⌈n/s⌉ points; the input is padded with zeros. If their number is
    odd, the additional one comes after the last point: for even n, a kernel of 3 with a stride of 2
    pads 0 before and 1 after.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=bias)

    def forward(
        self, maps: Float[Tensor, "batch channel y x"]
    ) -> Float[Tensor, "batch out_channel out_y out_x"]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (
            max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in maps.shape[2:]
        )
        padding = (height // 2, width // 2)
        if height % 2 or width % 2:
            before_and_after = (width // 2, -(-width // 2), height // 2, -(-height // 2))
            maps, padding = nn.functional.pad(maps, before_and_after), (0, 0)
        return nn.functional.conv2d(maps, self.weight, self.bias, stride, padding)


def same_transposed(
    inputs: int, outputs: int, kernel: int, *, stride: int, bias: bool = True
) -> UpsamplingConvolution:
    """A transposed convolution with TensorFlow's padding `SAME`, from n points to n · stride.

    It is the adjoint of `SameConv2d`: it crops as much on each side as that one pads.
    """
    cut = max(kernel - stride, 0) // 2
    return UpsamplingConvolution(inputs, outputs, kernel, stride=stride, cut=cut, bias=bias)


def initialise_xavier(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw weights uniformly in ±√(6 / (inputs + outputs)); biases are zero.

    Reference: Glorot and Bengio (2010), https://proceedings.mlr.press/v9/glorot10a.html.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
