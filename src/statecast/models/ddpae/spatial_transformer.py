"""Spatial transformers: paste objects into images at their poses, and crop them out.

A pose is (s, x, y): the sides of the object are 1/s of those of the image, and its centre lies at
(−x/s, −y/s), in coordinates from −1 to 1 over the image.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def inverse(pose: Float[Tensor, "*many 3"]) -> Float[Tensor, "*many 3"]:
    """The pose of the image relative to the object."""
    scale, shift = pose[..., :1], pose[..., 1:]
    return torch.cat([1 / scale, -shift / scale], dim=-1)


def matrices(pose: Float[Tensor, "many 3"]) -> Float[Tensor, "many 2 3"]:
    """Affine maps from coordinates in the image to coordinates in the object."""
    scale, x, y = pose.unbind(-1)
    zero = torch.zeros_like(scale)
    return torch.stack([scale, zero, x, zero, scale, y], dim=-1).unflatten(-1, (2, 3))


def paste(
    objects: Float[Tensor, "many channel y x"],
    pose: Float[Tensor, "many 3"],
    space: tuple[int, ...],
) -> Float[Tensor, "many channel height width"]:
    """Images of this size with each object at its pose, and 0 elsewhere."""
    size = [*objects.shape[:2], *space]
    # The centres of the outermost pixels lie at −1 and 1, as in PyTorch before 1.3.
    grid = torch.nn.functional.affine_grid(matrices(pose), size, align_corners=True)
    pasted: Tensor = torch.nn.functional.grid_sample(objects, grid, align_corners=True)
    return pasted


def crop(
    images: Float[Tensor, "many channel height width"],
    pose: Float[Tensor, "many 3"],
    space: tuple[int, ...],
) -> Float[Tensor, "many channel y x"]:
    """Objects of this size at each pose: the inverse of `paste`."""
    return paste(images, inverse(pose), space)


def positions(pose: Float[Tensor, "*many 3"]) -> Float[Tensor, "*many 2"]:
    """Centres (x, y) of objects, from 0 at the left and top to 1 at the right and bottom."""
    return (inverse(pose)[..., 1:] + 1) / 2


def constrain(pose: Float[Tensor, "*many 3"], scale: float) -> Float[Tensor, "*many 3"]:
    """Poses with the scale limited to within 1 of `scale`, and the centre to the image."""
    size = pose[..., :1].clamp(scale - 1, scale + 1)
    return torch.cat([size, pose[..., 1:].tanh() * (size - 0.5)], dim=-1)
