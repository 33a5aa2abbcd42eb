"""A convolution, transposed or not, computed in the way that suits its maps: see `fast_paths`."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.fast_paths import enabled
from statecast.nn import winograd

FEW_CHANNELS = 4  # so few are gathered into the rows of one matrix
LEAST_WIDTH = 16  # channels on the other side, for which that is worth while


class Geometry(NamedTuple):
    """Where the kernel of a convolution goes."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    transposed: bool

    @classmethod
    def of(cls, layer: nn.Conv2d | nn.ConvTranspose2d) -> Geometry:
        """That of a layer; layers of this library have neither dilation nor groups."""
        assert not isinstance(layer.padding, str)
        return cls(layer.stride, layer.padding, isinstance(layer, nn.ConvTranspose2d))


class Convolution(nn.Conv2d):
    """A convolution layer by `convolve`."""

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
        maps: what is read.
        weight: (out, in, y, x), or (in, out, y, x) of a transposed convolution.
        bias: added to each output channel.
        geometry: where the kernel goes.
    """
    if enabled("channels_last"):
        maps = maps.contiguous(memory_format=torch.channels_last)
    stride, padding, transposed = geometry
    output = as_product(maps, weight, geometry) if enabled("products") else None
    if output is None and winograd.suits(
        maps, weight, stride=stride, padding=padding, transposed=transposed
    ):
        output = winograd.convolve(maps, weight, stride[0], transposed=transposed)
    if output is None:
        function = nn.functional.conv_transpose2d if transposed else nn.functional.conv2d
        return function(maps, weight, bias, stride, padding)
    return output if bias is None else output.add_(bias[:, None, None])


def as_product(maps: Tensor, weight: Tensor, geometry: Geometry) -> Tensor | None:
    """The convolution as one matrix product, without bias; None where that does not pay.

    Libraries are slow at extreme shapes: a kernel as large as the map, which is a linear layer,
    and convolutions from or to one channel.
    """
    if geometry.transposed and maps.shape[2:] == (1, 1) and not any(geometry.padding):
        return from_point(maps, weight)
    whole = not geometry.transposed and maps.shape[2:] == weight.shape[2:]
    if whole and not any(geometry.padding):
        return to_point(maps, weight)
    few, wide = sorted(weight.shape[:2])
    if few > FEW_CHANNELS or wide < LEAST_WIDTH or maps.device.type != "cpu":
        return None
    if geometry.transposed and weight.shape[1] == few:
        return to_few(maps, weight, geometry)
    if not geometry.transposed and weight.shape[1] == few:
        return from_few(maps, weight, geometry)
    return None


def from_point(
    maps: Float[Tensor, "many channel 1 1"], weight: Float[Tensor, "channel out_channel y x"]
) -> Float[Tensor, "many out_channel y x"]:
    """A transposed convolution of maps of one pixel."""
    _, channels, height, width = weight.shape
    spread = maps.flatten(1) @ weight.permute(0, 2, 3, 1).flatten(1)
    return spread.view(-1, height, width, channels).permute(0, 3, 1, 2)


def to_point(
    maps: Float[Tensor, "many channel y x"], weight: Float[Tensor, "out_channel channel y x"]
) -> Float[Tensor, "many out_channel 1 1"]:
    """A convolution whose kernel is as large as its maps."""
    flat = maps.permute(0, 2, 3, 1).flatten(1)
    return (flat @ weight.permute(0, 2, 3, 1).flatten(1).T)[..., None, None]


def from_few(maps: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """A convolution of few channels: a row of a matrix for what each output pixel reads."""
    height, width = weight.shape[2:]
    vertical, horizontal = geometry.padding
    padded = nn.functional.pad(maps, (horizontal, horizontal, vertical, vertical))
    read = padded.unfold(2, height, geometry.stride[0]).unfold(3, width, geometry.stride[1])
    rows = read.permute(0, 2, 3, 1, 4, 5).flatten(3)
    return (rows @ weight.flatten(1).T).permute(0, 3, 1, 2)


def to_few(maps: Tensor, weight: Tensor, geometry: Geometry) -> Tensor:
    """A transposed convolution to few channels: what each pixel adds, summed where it lands."""
    many, _, *sides = maps.shape
    added = maps.permute(0, 2, 3, 1).flatten(1, 2) @ weight.flatten(1)
    kernel = weight.shape[2:]
    height, width = (
        (side - 1) * stride + size - 2 * pad
        for side, stride, size, pad in zip(
            sides, geometry.stride, kernel, geometry.padding, strict=True
        )
    )
    summed = nn.functional.fold(
        added.transpose(1, 2),
        (height, width),
        tuple(kernel),
        padding=geometry.padding,
        stride=geometry.stride,
    )
    return summed.view(many, weight.shape[1], height, width)
