"""Windows of objects seen from all around: the views of each object form a ring."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from statecast.data.base import Split, seeded_generator
from statecast.data.content_swap import SwappableWindows, SwappedContent
from statecast.errors import InputError
from statecast.frames import Batch

Array = np.ndarray[Any, np.dtype[Any]]

TEST_SHARE = 0.15  # of the objects, as published
VALIDATION_SHARE = 0.1  # of the other ones
SHUFFLE_SEED = 42  # of NumPy's older generator, as published
EXCHANGED = 5  # random stream of the objects that replace a window's own
LARGEST_BYTE = 255


def split_objects(count: int) -> dict[Split, Array]:
    """Numbers of the objects of each split; no object is in two of them.

    Errors:
        InputError: a split would be empty.
    """
    order = np.random.RandomState(SHUFFLE_SEED).permutation(count)
    tested = round(TEST_SHARE * count)
    held_out = round(VALIDATION_SHARE * (count - tested))
    trained = count - tested - held_out
    if min(tested, held_out, trained) < 1:
        raise InputError(f"Three splits need at least 7 objects, got {count}.")
    return {
        "train": order[:trained],
        "validation": order[trained : trained + held_out],
        "test": order[trained + held_out :],
    }


class ViewWindows(SwappableWindows):
    """Windows of consecutive views of one object, one window for each first view.

    Args:
        views: (object, view, channel, y, x), bytes; all objects of the data set.
        objects: numbers of the objects of this split.
        context: views observed.
        length: context and target views together.
        ring: views after which the first one comes again. Rings follow each other in `views`,
            and a window stays in one ring.
        channels: names of the channels.
        angles: (view, 2), azimuth and elevation in degrees.
        measures: what is known of the shape of each object of the data set, by name, (object,).
    """

    def __init__(
        self,
        views: Array,
        objects: Array,
        *,
        context: int,
        length: int,
        ring: int,
        channels: tuple[str, ...],
        angles: Array,
        measures: Mapping[str, Array] | None = None,
    ) -> None:
        if views.shape[1] % ring or len(angles) != views.shape[1]:
            raise InputError(
                f"Rings of {ring} views must divide the {views.shape[1]} views of an object, and "
                f"each view needs its angles, got {len(angles)}."
            )
        self.views, self.objects, self.angles = views, objects, angles
        self.measures = measures or {}
        self.context, self.length, self.ring, self.channels = context, length, ring, channels

    def __len__(self) -> int:
        return len(self.objects) * self.views.shape[1]

    def batch(self, indices: Tensor) -> Batch:
        return self.with_objects(indices, indices.numpy() // self.views.shape[1])

    def with_objects(self, indices: Tensor, places: Array) -> Batch:
        """The windows of these indices with other objects, seen from the same sides.

        Args:
            indices: of the windows, (window,).
            places: of the objects, among those of this split, (window,).
        """
        return self._seen(self.objects[places], indices.numpy() % self.views.shape[1])

    def swap_content(self, indices: Tensor, *, seed: int) -> SwappedContent:
        """Another object of the split, seen first from a random side.

        Protocol: Donà et al. (2021), https://arxiv.org/abs/2008.01352.

        Errors:
            InputError: the split has only one object.
        """
        if len(self.objects) < 2:
            raise InputError("A content swap needs at least 2 objects in the split.")
        generator = seeded_generator(seed, EXCHANGED)
        count, views = len(self.objects), self.views.shape[1]
        shift = torch.randint(1, count, (len(self),), generator=generator)[indices]
        start = torch.randint(views, (len(self),), generator=generator)[indices]
        others = ((indices // views + shift) % count).numpy()
        content = self._seen(self.objects[others], start.numpy()).context
        return SwappedContent(content, (self.with_objects(indices, others).target,))

    def _seen(self, objects: Array, first: Array) -> Batch:
        ring = first // self.ring * self.ring
        numbers = ring[:, None] + (first[:, None] + np.arange(self.length)) % self.ring
        frames = torch.from_numpy(np.asarray(self.views[objects[:, None], numbers]))
        azimuth, elevation = np.moveaxis(self.angles[numbers], 2, 0).astype(np.float32)
        turned = np.radians(azimuth)  # a circle, which degrees cut open
        direction = np.stack([np.cos(turned), np.sin(turned)], axis=-1)
        return Batch.of(
            frames.float().div_(LARGEST_BYTE),
            self.context,
            channels=self.channels,
            latents={
                "object": torch.from_numpy(objects.astype(np.int64)),
                "azimuth": torch.from_numpy(azimuth),
                "elevation": torch.from_numpy(elevation),
                "direction": torch.from_numpy(direction),
                **{
                    name: torch.from_numpy(known[objects].astype(np.float32))
                    for name, known in self.measures.items()
                },
            },
        )

    @property
    def sequence_numbers(self) -> Int[Tensor, " window"]:
        """The object that each window shows."""
        return torch.arange(len(self)) // self.views.shape[1]

    @cached_property
    def digest(self) -> str:
        """Digest of the objects that windows are made of, and of how they are cut."""
        options = (self.context, self.length, self.ring, self.objects.tolist())
        digest = hashlib.sha256(repr(options).encode())
        for number in self.objects:
            digest.update(np.ascontiguousarray(self.views[number]).tobytes())
        return digest.hexdigest()
