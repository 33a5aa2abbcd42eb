"""Fold square patches of images into channels, and unfold them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def fold_patches(
    frames: Float[Tensor, "*batch channel y x"], side: int
) -> Float[Tensor, "*batch patch_channel patch_y patch_x"]:
    """Maps with one point per patch; its channels are ordered by row, column and channel."""
    split = frames.unflatten(-1, (-1, side)).unflatten(-3, (-1, side))
    *_, channel, y, row, x, column = range(split.ndim)  # of (…, channel, y, row, x, column)
    leading = range(channel)
    return split.permute(*leading, row, column, channel, y, x).flatten(channel, channel + 2)


def unfold_patches(
    patches: Float[Tensor, "*batch patch_channel patch_y patch_x"], side: int
) -> Float[Tensor, "*batch channel y x"]:
    """The inverse of `fold_patches`."""
    split = patches.unflatten(-3, (side, side, -1))
    *_, row, column, channel, y, x = range(split.ndim)
    leading = range(row)
    return split.permute(*leading, channel, y, row, x, column).flatten(-4, -3).flatten(-2)
