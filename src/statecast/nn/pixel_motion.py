"""Move the pixels of a frame: by kernels of the whole frame or of each pixel, or affinely."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from statecast.nn.gaussian import widened

Motion = Literal["cdna", "dna", "stp"]
Padding = Literal["zeros", "edge"]
SMALLEST_WEIGHT = 1e-12  # smallest weight of a kernel, so that sums are not 0; as published


def normalised_kernels(
    raw: Float[Tensor, "row number y x"], dims: tuple[int, ...] = (-2, -1)
) -> Float[Tensor, "row number y x"]:
    """Kernels of positive weights that sum to one over `dims`."""
    weights = functional.relu(widened(raw) - SMALLEST_WEIGHT) + SMALLEST_WEIGHT
    return weights / weights.sum(dim=dims, keepdim=True)


def move_by_kernels(
    frames: Float[Tensor, "row channel y x"],
    kernels: Float[Tensor, "row number kernel kernel"],
    *,
    padding: Padding = "zeros",
) -> Float[Tensor, "row number channel y x"]:
    """Each frame, moved by each of its kernels, which its channels share.

    Kernels are correlated, not flipped: a weight right of the middle moves pixels to the left.
    This is the convolutional dynamic neural advection of Finn et al. (2016).

    Args:
        frames: the frames.
        kernels: kernels with odd sides, see `normalised_kernels`.
        padding: values beyond the border: `zeros`, or the frame mirrored at its `edge`.
    """
    rows, count, side = kernels.shape[:3]
    by_channel = frames.transpose(0, 1)
    reach = side // 2
    if padding == "edge":
        by_channel, reach = mirrored(by_channel, reach), 0
    with torch.autocast(frames.device.type, enabled=False):  # keeps the precision of frames
        moved = functional.conv2d(
            widened(by_channel), kernels.flatten(0, 1).unsqueeze(1), padding=reach, groups=rows
        )
    return moved.unflatten(1, (rows, count)).permute(1, 2, 0, 3, 4)


def mirrored(
    frames: Float[Tensor, "row channel y x"], reach: int
) -> Float[Tensor, "row channel padded_y padded_x"]:
    """Frames extended by mirroring at the border, so that the edge appears twice."""
    for dim in (-2, -1):
        side = frames.shape[dim]
        before = frames.narrow(dim, 0, reach).flip(dim)
        after = frames.narrow(dim, side - reach, reach).flip(dim)
        frames = torch.cat([before, frames, after], dim=dim)
    return frames


def move_by_pixel(
    frames: Float[Tensor, "row channel y x"], kernels: Float[Tensor, "row weight y x"]
) -> Float[Tensor, "row channel y x"]:
    """Each frame, moved by a kernel for each pixel, with zeros beyond the border.

    This is the dynamic neural advection of Finn et al. (2016). A kernel's weights are row by row.
    """
    count = kernels.shape[1]
    side = round(count**0.5)
    near = functional.unfold(frames, side, padding=side // 2)
    shape = (frames.shape[1], count)
    return (near.unflatten(1, shape).unflatten(3, frames.shape[2:]) * kernels.unsqueeze(1)).sum(2)


def move_affinely(
    frames: Float[Tensor, "row channel y x"], maps: Float[Tensor, "row number six"]
) -> Float[Tensor, "row number channel y x"]:
    """Each frame, moved by each of its affine maps, with bilinear interpolation.

    Values beyond the border are those of the edge. A map takes coordinates (x, y, 1) of the result
    to those of the frame, both from −1 at the first to 1 at the last pixel. These are the spatial
    transformers of Jaderberg et al. (2015), https://arxiv.org/abs/1506.02025.

    Args:
        frames: the frames.
        maps: differences from the identity map, two rows of three.
    """
    rows, count = maps.shape[:2]
    repeated = frames.repeat_interleave(count, dim=0)
    identity = torch.eye(2, 3, device=maps.device, dtype=maps.dtype)
    grid = functional.affine_grid(
        maps.reshape(-1, 2, 3) + identity, list(repeated.shape), align_corners=True
    )
    moved = functional.grid_sample(repeated, grid, padding_mode="border", align_corners=True)
    return moved.unflatten(0, (rows, count))
