"""Moving digits: handwritten digits that bounce in a frame, made while training."""

from __future__ import annotations

import hashlib
import itertools
import json
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statecast.data.base import Split, Windows, horizons_of, seeded_generator
from statecast.data.content_swap import SwappableWindows, SwappedContent
from statecast.data.synthetic.digit_images import SIDE, load_glyphs, origin_of
from statecast.data.synthetic.generated_windows import STREAMS, FreshWindows, GeneratedSource
from statecast.data.synthetic.moving_mnist_file import StoredSet, read_test_set
from statecast.data.synthetic.rendering import render
from statecast.data.synthetic.trajectories import Trajectories, trajectories
from statecast.distributed import Part
from statecast.errors import InputError
from statecast.frames import Batch

Array = np.ndarray[Any, np.dtype[Any]]

NATIVE_FRAME = 64  # side of a frame in which digits keep their 28 pixels

EXCHANGED = 4  # random stream of the digits that replace a window's own
DIGEST_BATCH = 64  # windows at once while hashing
BLOCK = 64  # windows whose motion is drawn together
BLOCKS_KEPT = 128  # of them in memory


class MovingDigits(GeneratedSource):
    """Digits that move in a straight line and bounce off the walls of a frame.

    Training windows are made when they are asked for, of training digits; validation and test
    windows follow from the seed and show digits of their own. Each window carries its latents:
    `position` and `velocity` (window, time, digit, 2) as (x, y) in pixels, and `label`
    (window, digit).

    Rule and sizes: Franceschi et al. (2020), https://arxiv.org/abs/2002.09219.

    Args:
        context: frames observed.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests.
        validation_horizon: frames forecast in validation; by default as in training.
        stochastic: whether a bounce draws a new speed; otherwise it reflects.
        digits: digits per window.
        frame_size: side of a frame in pixels.
        digit_size: side of a digit in pixels; by default in proportion to the frame, 28 for a
            frame_size of 64.
        max_speed: largest speed along each axis in pixels per frame; speeds are whole numbers,
            and may be 0.
        standing: whether a digit may stand still, as published; persistence then forecasts it
            exactly.
        folder: folder of MNIST's own IDX files; by default the digits of scikit-learn.
        test_videos: windows of the test split.
        validation_videos: windows of the validation split.
        epoch: windows counted as one epoch; the supply of windows is endless.
        seed: seed of validation and test windows.
        test_file: file of test windows in the published `.npz` layout; by default they are made.
    """

    def __init__(
        self,
        *,
        context: int = 5,
        horizon: int = 10,
        test_horizon: int = 20,
        validation_horizon: int | None = None,
        stochastic: bool = True,
        digits: int = 2,
        frame_size: int = NATIVE_FRAME,
        digit_size: int | None = None,
        max_speed: int = 4,
        standing: bool = True,
        folder: str | None = None,
        test_videos: int = 500,
        validation_videos: int = 128,
        epoch: int = 500_000,
        seed: int = 42,
        test_file: str | None = None,
    ) -> None:
        self.horizons = horizons_of(context, horizon, test_horizon, validation_horizon)
        self.counts = {"train": epoch, "validation": validation_videos, "test": test_videos}
        self.context, self.stochastic, self.digits = context, stochastic, digits
        self.frame_size, self.max_speed, self.folder = frame_size, max_speed, folder
        self.seed, self.test_file, self.standing = seed, test_file, standing
        self.side = digit_size or round(SIDE * frame_size / NATIVE_FRAME)
        if min(*self.counts.values(), digits) < 1:
            raise InputError(
                "Moving digits need at least 1 digit, and 1 window in each split, got "
                f"{digits} and {self.counts}."
            )
        if max_speed < (0 if standing else 1) or not 7 <= self.side < frame_size:
            raise InputError(
                "Moving digits need a max_speed of at least 0, or 1 without standing, and digits "
                f"of at least 7 pixels that are smaller than a frame, got {max_speed}, "
                f"{self.side} and {frame_size}."
            )

    def windows(self, split: Split) -> Windows:
        length = self.context + self.horizons[split]
        if split == "test" and self.test_file is not None:
            content = read_test_set(self.test_file, length=length, size=self.frame_size)
            return StoredDigits(content, self.context)
        return DigitWindows(self, split, length)

    @property
    def card(self) -> dict[str, Any]:
        return self.card_of(
            "moving_digits",
            stochastic=self.stochastic,
            digits=self.digits,
            digit_size=self.side,
            max_speed=self.max_speed,
            standing=self.standing,
            test_file=None if self.test_file is None else Path(self.test_file).name,
            **origin_of(self.folder),
        )


class DigitWindows(FreshWindows, SwappableWindows):
    """Windows of one split, made from its digits."""

    def __init__(self, source: MovingDigits, split: Split, length: int) -> None:
        super().__init__(split, source.counts[split])
        self.source, self.length = source, length
        self.glyphs = load_glyphs(source.folder, split, side=source.side)
        self._blocks: dict[int, Trajectories] = {}

    def training_batch_part(self, step: int, count: int, part: Part, *, seed: int) -> Batch:
        # Drawing all windows costs little; only those of the part are rendered.
        generator = seeded_generator(seed, STREAMS[self.split], step)
        chosen = torch.randint(
            len(self.glyphs.images), (count, self.source.digits), generator=generator
        )
        drawn, rows = self._motion(count, generator), part.rows
        motion = Trajectories(drawn.positions[:, rows], drawn.velocities[:, rows])
        return self._render(chosen[rows].numpy(), motion)

    def batch(self, indices: Tensor) -> Batch:
        rows = self.check_indices(indices).numpy()
        return self.with_digits(indices, torch.from_numpy(self._chosen[rows]))

    def with_digits(self, indices: Tensor, digits: Tensor) -> Batch:
        """The windows of these indices with other digits on the same trajectories.

        Args:
            indices: of the windows, (window,).
            digits: numbers of this split's digits, (window, digit).
        """
        rows = self.check_indices(indices).numpy()
        blocks = [self._block(int(number)) for number in np.unique(rows // BLOCK)]
        place = np.searchsorted(np.unique(rows // BLOCK), rows // BLOCK) * BLOCK + rows % BLOCK
        motion = Trajectories(
            *(np.concatenate(parts, axis=1)[:, place] for parts in zip(*blocks, strict=True))
        )
        return self._render(digits.numpy(), motion)

    def swap_content(self, indices: Tensor, *, seed: int) -> SwappedContent:
        """Content frames show other digits of the split, with the motion of the mirrored window.

        The digits come in rounds through the whole split. Nothing tells which digit should follow
        which trajectory, so each assignment is a truth.

        Protocol: Donà et al. (2021), https://arxiv.org/abs/2008.01352.
        """
        rows = self.check_indices(indices).numpy()
        others = torch.from_numpy(self._order(seeded_generator(seed, EXCHANGED))[rows])
        content = self.with_digits(len(self) - 1 - indices, others).context
        assignments = itertools.permutations(range(self.source.digits))
        truths = [self.with_digits(indices, others[:, list(order)]) for order in assignments]
        return SwappedContent(content, tuple(truth.target for truth in truths))

    @cached_property
    def _chosen(self) -> Array:
        """Digits of all windows; as published, in rounds through the whole split."""
        return self._order(seeded_generator(self.source.seed, STREAMS[self.split]))

    def _order(self, generator: torch.Generator) -> Array:
        """Digits for all windows, in rounds through the split's digits, (window, digit)."""
        needed, count = len(self) * self.source.digits, len(self.glyphs.images)
        rounds = -(-needed // count)
        order = torch.cat([torch.randperm(count, generator=generator) for _ in range(rounds)])
        chosen: Array = order[:needed].view(len(self), self.source.digits).numpy()
        return chosen

    def _block(self, number: int) -> Trajectories:
        """Motion of the windows of a block; one window does not need the motion of all others."""
        if number not in self._blocks:
            while len(self._blocks) >= BLOCKS_KEPT:
                self._blocks.pop(next(iter(self._blocks)))
            generator = seeded_generator(self.source.seed, STREAMS[self.split], number)
            self._blocks[number] = self._motion(BLOCK, generator)
        return self._blocks[number]

    def _motion(self, count: int, generator: torch.Generator) -> Trajectories:
        source = self.source
        moved = trajectories(
            count * source.digits,
            self.length,
            room=source.frame_size - source.side,
            max_speed=source.max_speed,
            stochastic=source.stochastic,
            standing=source.standing,
            generator=generator,
        )
        shape = (self.length, count, source.digits, 2)
        return Trajectories(moved.positions.reshape(shape), moved.velocities.reshape(shape))

    def _render(self, chosen: Array, motion: Trajectories) -> Batch:
        frames = render(self.glyphs.images[chosen], motion.positions, self.source.frame_size)
        return as_batch(frames, self.source.context, motion, self.glyphs.labels[chosen])

    @cached_property
    def digest(self) -> str:
        """Digest of all frames of a fixed split, or of digits and options for endless windows."""
        if self.split == "train":
            digest = hashlib.sha256(self.glyphs.digest.encode())
            digest.update(json.dumps(self.source.card, sort_keys=True).encode())
            return digest.hexdigest()
        # Of frames alone, so that equal tests have equal digests, whatever the training.
        digest = hashlib.sha256(repr((self.source.context, self.length)).encode())
        for start in range(0, len(self), DIGEST_BATCH):
            rows = torch.arange(start, min(start + DIGEST_BATCH, len(self)))
            digest.update(as_bytes(self.batch(rows)).tobytes())
        return digest.hexdigest()


class StoredDigits(Windows):
    """Test windows read from a file in the published layout."""

    def __init__(self, content: StoredSet, context: int) -> None:
        self.content, self.context = content, context

    def __len__(self) -> int:
        return len(self.content.frames)

    def batch(self, indices: Tensor) -> Batch:
        rows, content = indices.numpy(), self.content
        motion = Trajectories(content.latents[:, rows, :, :2], content.latents[:, rows, :, 2:])
        return as_batch(content.frames[rows], self.context, motion, content.labels[rows])

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.content.frames.tobytes()).hexdigest()


def as_batch(frames: Array, context: int, motion: Trajectories, labels: Array) -> Batch:
    """Bytes (window, time, row, column) and their latents as a batch."""
    values = torch.from_numpy(np.ascontiguousarray(frames))[:, :, None].float().div_(255)
    return Batch.of(
        values,
        context,
        channels=("intensity",),
        latents={
            "position": torch.from_numpy(motion.positions).float().transpose(0, 1),
            "velocity": torch.from_numpy(motion.velocities).float().transpose(0, 1),
            "label": torch.from_numpy(labels),
        },
    )


def as_bytes(batch: Batch) -> Array:
    """Frames of a batch as the bytes that they were made of, (window, time, row, column)."""
    levels: Array = batch.values[:, :, 0].mul(255).round().to(torch.uint8).numpy()
    return levels
