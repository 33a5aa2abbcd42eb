r"""Convolutions by Winograd's algorithm: fewer products, equal results up to rounding.

A tile of m outputs of a filter with r taps needs n = m + r − 1 products instead of m·r. With d
the n inputs and g the taps,

$$y = A^T \left[ (G g) \odot (B^T d) \right],$$

and for both directions of a map at once, with the Kronecker squares of these matrices. The products
of all tiles and channels become n² matrix products. A 4×4 kernel with stride 2 is a 2×2 kernel
over the four phases of its input, with concatenated channels.

With tiles of 4×4 outputs, a 3×3 kernel needs a quarter of the products, and a strided 4×4 kernel
25 / 64. Rounding errors grow about tenfold, to at most 1e-4 of the outputs' spread.

References: Winograd (1980), Arithmetic Complexity of Computations; Lavin and Gray (2016),
https://arxiv.org/abs/1509.09308.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from statecast.nn.fast.switches import enabled
from statecast.nn.fast.weight_cache import cached, constant
from statecast.nn.fast.winograd_matrices import winograd_matrices

TILES = (4, 2)  # outputs per tile and direction, the faster first
LEAST_CHANNELS = 64  # with fewer channels, the transforms cost more than they save
LEAST_STRIDED = 128  # the same in a forward pass with stride; its backward pass needs 64
LEAST_TILES = 128  # fewest tiles per call, to share the transform of the weight
LEAST_TILES_CONSTANT = 32  # the same with a weight that has been transformed before
CHUNK_BYTES = 2 * 2**20  # of transformed inputs, to stay in the cache
CHUNK_TILES = 128  # fewest tiles of a chunk, or reading the weight would dominate


class Identity:
    """A tensor as part of a key, equal only to itself."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and other.tensor is self.tensor

    def __hash__(self) -> int:
        return id(self.tensor)


class WinogradPlan:
    """Tiles and buffers of a convolution between fine and coarse maps.

    A convolution maps fine maps (many, channel, stride·y, stride·x) to coarse ones (many, feature,
    y, x); its weight is (feature, channel, kernel, kernel), its padding 1. A transposed convolution
    maps coarse ones to fine ones.
    """

    def __init__(self, weight: Tensor, stride: int, coarse: tuple[int, ...]) -> None:
        self.weight, self.stride = weight, stride
        self.features, self.channels = weight.shape[:2]
        self.taps = weight.shape[2] // stride
        self.many, _, *self.sides = coarse
        self.tile = tile_of(self.sides)
        self.size = self.tile + self.taps - 1
        self.matrices = winograd_matrices(self.tile, self.taps, weight.dtype)
        self.rows, self.columns = (side // self.tile for side in self.sides)
        self.depth = stride * stride * self.channels  # values per place, over all phases
        per_map = self.rows * self.columns
        fitting = CHUNK_BYTES // (4 * self.size**2 * per_map * self.depth)
        self.chunk = min(self.many, max(fitting, -(-CHUNK_TILES // per_map)))
        self.fine_sides = [side * stride for side in self.sides]
        height, width = ((side + self.taps - 1) * stride for side in self.sides)
        places, tiles = self.chunk * per_map, self.size**2
        new = weight.detach().new_empty
        self.padded = new(self.chunk, height, width, self.channels).zero_()  # its border stays 0
        self.summed = torch.empty_like(self.padded)
        self.gathered = new(tiles, places * self.depth)
        self.transformed = new(tiles, places * self.depth)
        self.products = new(tiles, places * self.features)
        self.tiles = new(self.tile**2, places * self.features)

    @classmethod
    def reading(
        cls, maps: Tensor, weight: Tensor, stride: int, *, transposed: bool
    ) -> WinogradPlan:
        """The plan of a convolution of these maps."""
        sides = [side if transposed else side // stride for side in maps.shape[2:]]
        return cls(weight, stride, (len(maps), weight.shape[0], *sides))

    def chunks(self) -> Iterator[tuple[slice, int]]:
        """Slices of the maps, and how many maps each holds."""
        for start in range(0, self.many, self.chunk):
            count = min(self.chunk, self.many - start)
            yield slice(start, start + count), count

    def of(self, buffer: Tensor, count: int, values: int) -> Tensor:
        """The part of a buffer (rows, …) for `count` maps, (rows, place, value)."""
        places = count * self.rows * self.columns
        return buffer.flatten()[: len(buffer) * places * values].view(len(buffer), places, values)

    # The weight: (feature, channel, kernel, kernel) ↔ (n², depth, feature)

    def weight_values(self) -> Tensor:
        """The transformed weight."""
        shape = (self.features, self.channels, self.taps, self.stride, self.taps, self.stride)
        taps = self.weight.detach().reshape(shape).permute(2, 4, 3, 5, 1, 0)
        values = self.matrices.taps @ taps.reshape(self.taps**2, -1)
        return values.view(self.size**2, self.depth, self.features)

    def weight_gradient(self, values: Tensor) -> Tensor:
        """The gradient of the weight from that of the transformed one."""
        taps = self.matrices.taps.T @ values.flatten(1)
        shape = (self.taps, self.taps, self.stride, self.stride, self.channels, self.features)
        return taps.view(shape).permute(5, 4, 0, 2, 1, 3).reshape(self.weight.shape)

    # Fine maps: (many, y, x, channel) ↔ (n², place, depth)

    def windows(self, padded: Tensor, count: int) -> Tensor:
        """The overlapping tiles of padded fine maps, (n, n, many, row, column, …)."""
        by_map, by_row, by_column, _ = padded.stride()
        step, stride = self.tile * self.stride, self.stride
        return padded.as_strided(
            (self.size, self.size, count, self.rows, self.columns, stride, stride, self.channels),
            (stride * by_row, stride * by_column, by_map, step * by_row, step * by_column,
             by_row, by_column, 1),
        )  # fmt: skip

    def fine_values(self, fine: Tensor) -> Tensor:
        """The transform of fine maps."""
        count = len(fine)
        self.padded[:count, 1 : 1 + fine.shape[1], 1 : 1 + fine.shape[2]] = fine
        gathered = self.of(self.gathered, count, self.depth)
        windows = self.windows(self.padded, count)
        gathered.view(windows.shape).copy_(windows)
        values = self.of(self.transformed, count, self.depth)
        torch.mm(self.matrices.inputs, gathered.flatten(1), out=values.flatten(1))
        return values

    def spread(self, values: Tensor, fine: Tensor) -> None:
        """The transpose of `fine_values`, into fine maps."""
        count = len(fine)
        scattered = self.of(self.gathered, count, self.depth)
        torch.mm(self.matrices.inputs.T, values.flatten(1), out=scattered.flatten(1))
        self.summed[:count].zero_()
        windows = self.windows(self.summed, count)
        for row in range(self.size):  # one place at a time, since tiles overlap
            for column in range(self.size):
                windows[row, column] += scattered.view(windows.shape)[row, column]
        fine.copy_(self.summed[:count, 1 : 1 + fine.shape[1], 1 : 1 + fine.shape[2]])

    # Coarse maps: (many, y, x, feature) ↔ (n², place, feature)

    def tiled(self, coarse: Tensor) -> Tensor:
        """The tiles of coarse maps, (m, m, many, row, column, feature)."""
        shape = (self.rows, self.tile, self.columns, self.tile)
        return coarse.unflatten(2, shape[2:]).unflatten(1, shape[:2]).permute(2, 4, 0, 1, 3, 5)

    def collect(self, values: Tensor, coarse: Tensor) -> None:
        """Coarse maps from products of transforms."""
        tiles = self.of(self.tiles, len(coarse), self.features)
        torch.mm(self.matrices.outputs, values.flatten(1), out=tiles.flatten(1))
        tiled = self.tiled(coarse)
        tiled.copy_(tiles.view(tiled.shape))

    def coarse_values(self, coarse: Tensor) -> Tensor:
        """The transpose of `collect`."""
        tiles = self.of(self.tiles, len(coarse), self.features)
        tiled = self.tiled(coarse)
        tiles.view(tiled.shape).copy_(tiled)
        values = self.of(self.products, len(coarse), self.features)
        torch.mm(self.matrices.outputs.T, tiles.flatten(1), out=values.flatten(1))
        return values

    # The three products of fine maps, coarse maps and weight

    def coarse_of(self, fine: Tensor, weight: Tensor) -> Tensor:
        """Convolve fine maps with a transformed weight."""
        made = maps_like(fine, self.many, self.features, self.sides)
        for part, count in self.chunks():
            values = self.fine_values(pixels(fine)[part])
            products = self.of(self.products, count, self.features)
            self.collect(torch.bmm(values, weight, out=products), pixels(made)[part])
        return made

    def fine_of(self, coarse: Tensor, weight: Tensor) -> Tensor:
        """Convolve coarse maps with the transpose of a transformed weight."""
        made = maps_like(coarse, self.many, self.channels, self.fine_sides)
        for part, count in self.chunks():
            values = self.of(self.transformed, count, self.depth)
            products = self.coarse_values(pixels(coarse)[part])
            torch.bmm(products, weight.transpose(1, 2), out=values)
            self.spread(values, pixels(made)[part])
        return made

    def made_of(self, maps: Tensor, weight: Tensor, *, transposed: bool) -> Tensor:
        """Convolve maps with a transformed weight, or with its transpose."""
        return self.fine_of(maps, weight) if transposed else self.coarse_of(maps, weight)

    def gradients(
        self, fine: Tensor, coarse: Tensor, weight: Tensor, *, of_fine: bool, of_coarse: bool
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """Gradients of fine maps, of coarse maps and of the weight, all in one pass.

        One of the maps is the input, and the other the gradient of the output.
        """
        to_fine = maps_like(fine, self.many, self.channels, self.fine_sides) if of_fine else None
        to_coarse = maps_like(fine, self.many, self.features, self.sides) if of_coarse else None
        total: Tensor | None = None
        for part, _ in self.chunks():
            values = self.fine_values(pixels(fine)[part])
            products = self.coarse_values(pixels(coarse)[part])
            if total is None:
                total = torch.bmm(values.transpose(1, 2), products)
            else:
                total.baddbmm_(values.transpose(1, 2), products)
            # After the sum, both buffers are free for its transform.
            if to_fine is not None:
                torch.bmm(products, weight.transpose(1, 2), out=values)
                self.spread(values, pixels(to_fine)[part])
            if to_coarse is not None:
                torch.bmm(values, weight, out=products)
                self.collect(products, pixels(to_coarse)[part])
        assert total is not None
        return to_fine, to_coarse, self.weight_gradient(total)


class WinogradConvolution(torch.autograd.Function):
    """A convolution from fine maps to coarse ones, or transposed from coarse ones to fine ones."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, stride: int, transposed: bool) -> Tensor:
        """The output maps."""
        ctx.stride, ctx.transposed = stride, transposed
        if pays_backward_only(weight, stride):
            ctx.save_for_backward(maps, weight, None)
            direct = nn.functional.conv_transpose2d if transposed else nn.functional.conv2d
            return direct(maps, weight, None, stride, 1)
        plan = WinogradPlan.reading(maps, weight, stride, transposed=transposed)
        transformed = plan.weight_values()
        ctx.save_for_backward(maps, weight, transformed)
        return plan.made_of(maps, transformed, transposed=transposed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of maps and weight."""
        maps, weight, transformed = ctx.saved_tensors
        plan = WinogradPlan.reading(maps, weight, ctx.stride, transposed=ctx.transposed)
        transformed = plan.weight_values() if transformed is None else transformed
        wanted, of_weight_too, *_ = ctx.needs_input_grad
        if not of_weight_too:
            of_maps = plan.made_of(gradient, transformed, transposed=not ctx.transposed)
            return of_maps, None, None, None
        fine, coarse = (gradient, maps) if ctx.transposed else (maps, gradient)
        to_fine, to_coarse, of_weight = plan.gradients(
            fine, coarse, transformed,
            of_fine=wanted and not ctx.transposed, of_coarse=wanted and ctx.transposed,
        )  # fmt: skip
        return to_coarse if ctx.transposed else to_fine, of_weight, None, None


def convolve(
    maps: Float[Tensor, "many channel y x"], weight: Tensor, stride: int, *, transposed: bool
) -> Float[Tensor, "many out_channel out_y out_x"]:
    """A convolution with padding 1, by a 3×3 kernel, or by a 4×4 kernel with stride 2.

    `suits` tells whether it works for these maps.
    """
    if not torch.is_grad_enabled() and not pays_backward_only(weight, stride):
        plan = WinogradPlan.reading(maps, weight, stride, transposed=transposed)
        key = ("winograd", plan.tile, Identity(weight))
        transformed = cached(key, plan.weight_values)
        return plan.made_of(maps, transformed, transposed=transposed)
    result: Tensor = WinogradConvolution.apply(maps, weight, stride, transposed)  # type: ignore[no-untyped-call]
    return result


def suits(
    maps: Tensor,
    weight: Tensor,
    *,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    transposed: bool,
) -> bool:
    """Whether Winograd's algorithm works for this convolution, and is faster for these maps."""
    if min(weight.shape[:2]) < LEAST_CHANNELS or not enabled("winograd"):
        return False
    geometry = (*weight.shape[2:], *stride, *padding)
    if geometry not in ((3, 3, 1, 1, 1, 1), (4, 4, 2, 2, 1, 1)):
        return False
    if maps.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
        return False  # GPUs and half precision have faster matrix units
    if maps.dtype != weight.dtype or maps.dtype not in (torch.float32, torch.float64):
        return False
    sides = [side if transposed else side // stride[0] for side in maps.shape[2:]]
    whole = transposed or not any(side % stride[0] for side in maps.shape[2:])
    if not whole or any(side % TILES[-1] for side in sides):
        return False
    least = LEAST_TILES_CONSTANT if constant() else LEAST_TILES
    return len(maps) * sides[0] * sides[1] >= least * tile_of(sides) ** 2


def pays_backward_only(weight: Tensor, stride: int) -> bool:
    """Whether PyTorch is faster in the forward pass, though not in the backward pass."""
    return stride == 2 and min(weight.shape[:2]) < LEAST_STRIDED


def tile_of(sides: list[int]) -> int:
    """The largest tile that divides a coarse map."""
    return next(tile for tile in TILES if not any(side % tile for side in sides))


def pixels(maps: Float[Tensor, "many channel y x"]) -> Float[Tensor, "many y x channel"]:
    """The maps with their channels last."""
    return maps.permute(0, 2, 3, 1)


def maps_like(like: Tensor, many: int, channels: int, sides: list[int]) -> Tensor:
    """Empty maps in channels-last format."""
    shape = (many, channels, *sides)
    return torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last)
