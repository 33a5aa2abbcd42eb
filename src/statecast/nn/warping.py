"""Warp images by a motion field, by interpolation or by advection and diffusion."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Padding = Literal["zeros", "border"]


def sampling_grid(motion: Float[Tensor, "batch 2 y x"]) -> Float[Tensor, "batch y x 2"]:
    """Place that each pixel of a moved image comes from, (x, y) in [−1, 1] over the image.

    Args:
        motion: motion in halves of a side, to the right and down.
    """
    height, width = motion.shape[2:]
    y = torch.linspace(-1, 1, height, dtype=motion.dtype, device=motion.device)
    x = torch.linspace(-1, 1, width, dtype=motion.dtype, device=motion.device)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    return (grid - motion).movedim(1, -1)


def pixel_positions(
    grid: Float[Tensor, "batch y x 2"], *, align_corners: bool
) -> Float[Tensor, "batch y x 2"]:
    """Columns and rows, in pixels, of the places of a `sampling_grid`."""
    height, width = grid.shape[1:3]
    size = torch.tensor([width, height], dtype=grid.dtype, device=grid.device)
    if align_corners:
        return (grid + 1) / 2 * (size - 1)
    return ((grid + 1) * size - 1) / 2


def warp_bilinear(
    images: Float[Tensor, "batch channel y x"],
    motion: Float[Tensor, "batch 2 y x"],
    *,
    padding: Padding = "zeros",
    align_corners: bool = True,
) -> Float[Tensor, "batch channel y x"]:
    """Images moved by a motion, interpolated between the four pixels around each place.

    Args:
        images: images to move.
        motion: motion in halves of a side, to the right and down.
        padding: values outside an image: `zeros`, or those at the `border`.
        align_corners: whether −1 and 1 are the centres of the outermost pixels instead of their
            outer edges. In the latter case, a motion of 0 stretches the image by less than a pixel.
    """
    moved: Tensor = torch.nn.functional.grid_sample(
        images, sampling_grid(motion), padding_mode=padding, align_corners=align_corners
    )
    return moved


def warp_gaussian(
    images: Float[Tensor, "batch channel y x"],
    motion: Float[Tensor, "batch 2 y x"],
    diffusion: float,
    *,
    padding: Padding = "zeros",
) -> Float[Tensor, "batch channel y x"]:
    r"""Images one step later by advection and diffusion, $I_t + w \cdot \nabla I = D \nabla^2 I$.

    $$I'(x) = \frac{1}{4 \pi D} \sum_y \exp\left(-\frac{\|x - w(x) - y\|^2}{4 D}\right) I(y)$$

    over all pixels y. The kernel is a product of kernels along both axes, so time and memory grow
    as the number of pixels times the sides.

    Reference: de Bézenac et al. (2018), https://arxiv.org/abs/1711.07970.

    Args:
        images: images to move.
        motion: motion in halves of a side, to the right and down.
        diffusion: D times the time step, in pixel². From 0.25 on, the weights in an infinite
            image sum to 1 within 0.0002.
        padding: `zeros` outside an image, as in the equation; with `border`, the weights of pixels
            inside the image sum to 1.
    """
    places = pixel_positions(sampling_grid(motion), align_corners=True)
    rows, columns = (
        axis_weights(places[..., axis].flatten(1), images.shape[side], diffusion, padding)
        for axis, side in ((1, 2), (0, 3))
    )
    along_rows = torch.einsum("bpy,bcyx->bcpx", rows, images)
    return torch.einsum("bcpx,bpx->bcp", along_rows, columns).view_as(images)


def axis_weights(
    places: Float[Tensor, "batch pixel"], size: int, diffusion: float, padding: Padding
) -> Float[Tensor, "batch pixel position"]:
    """Weights of the positions 0 … size − 1 of one axis, for each pixel's place on it."""
    positions = torch.arange(size, dtype=places.dtype, device=places.device)
    exponents = -(places.unsqueeze(-1) - positions).square() / (4 * diffusion)
    if padding == "border":
        return exponents.softmax(dim=-1)
    return exponents.exp() / math.sqrt(4 * math.pi * diffusion)
