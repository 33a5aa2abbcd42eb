"""Convolutions, transposed or not, computed in the fastest way: see `switches`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.nn.fast import winograd
from statecast.nn.fast.switches import enabled


class Geometry(NamedTuple):
    """Stride, padding and direction of a convolution."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    transposed: bool

    @classmethod
    def of(cls, layer: nn.Conv2d | nn.ConvTranspose2d) -> Geometry:
        """The geometry of a layer, which must have neither dilation nor groups."""
        assert not isinstance(layer.padding, str)
        return cls(layer.stride, layer.padding, isinstance(layer, nn.ConvTranspose2d))


def lay_weights_channels_last(model: nn.Module) -> None:
    """Store the weights of convolutions in channels-last format.

    Otherwise, each call would reorder its weight, which takes as long as convolving a small map.
    """
    if not enabled("channels_last"):
        return
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.weight.data = layer.weight.data.contiguous(memory_format=torch.channels_last)


class Convolution(nn.Conv2d):
    """A convolution layer that uses `convolve`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # its name in PyTorch
        return convolve(input, self.weight, self.bias, Geometry.of(self))


def convolve(
    maps: Float[Tensor, "many channel y x"],
    weight: Tensor,
    bias: Float[Tensor, " out_channel"] | None,
    geometry: Geometry,
) -> Float[Tensor, "many out_channel out_y out_x"]:
    """Convolve maps; the result is a new tensor, which may be changed in place.

    Args:
        maps: the input.
        weight: (out, in, y, x), or (in, out, y, x) for a transposed convolution.
        bias: constant added to each output channel.
        geometry: stride, padding and direction.
    """
    if enabled("channels_last"):
        maps = maps.contiguous(memory_format=torch.channels_last)
    else:  # a channels-last weight would give channels-last maps
        weight = weight.contiguous()
    stride, padding, transposed = geometry
    output = as_product(maps, weight, geometry) if enabled("kernel_as_matmul") else None
    if output is None and winograd.suits(
        maps, weight, stride=stride, padding=padding, transposed=transposed
    ):
        output = winograd.convolve(maps, weight, stride[0], transposed=transposed)
    if output is None:
        function = nn.functional.conv_transpose2d if transposed else nn.functional.conv2d
        return function(maps, weight, bias, stride, padding)
    return output if bias is None else output.add_(bias[:, None, None])


def as_product(maps: Tensor, weight: Tensor, geometry: Geometry) -> Tensor | None:
    """The convolution as one matrix product, without bias; None if that is not faster.

    A convolution with a kernel as large as the map is a linear layer, and libraries are slow at it.
    """
    if geometry.transposed and maps.shape[2:] == (1, 1) and not any(geometry.padding):
        return from_point(maps, weight)
    whole = not geometry.transposed and maps.shape[2:] == weight.shape[2:]
    if whole and not any(geometry.padding):
        return to_point(maps, weight)
    return None


def from_point(
    maps: Float[Tensor, "many channel 1 1"], weight: Float[Tensor, "channel out_channel y x"]
) -> Float[Tensor, "many out_channel y x"]:
    """A transposed convolution of maps with one pixel."""
    _, channels, height, width = weight.shape
    spread = maps.flatten(1) @ weight.permute(0, 2, 3, 1).flatten(1)
    return spread.view(-1, height, width, channels).permute(0, 3, 1, 2)


def to_point(
    maps: Float[Tensor, "many channel y x"], weight: Float[Tensor, "out_channel channel y x"]
) -> Float[Tensor, "many out_channel 1 1"]:
    """A convolution with a kernel as large as its maps."""
    flat = maps.permute(0, 2, 3, 1).flatten(1)
    return (flat @ weight.permute(0, 2, 3, 1).flatten(1).T)[..., None, None]
