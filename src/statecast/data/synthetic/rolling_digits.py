"""Rolling digits: a digit moves sideways, out of the frame at one side and in at the other."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from statecast.data.base import Split, horizons_of
from statecast.data.known_future import TwoWays
from statecast.data.synthetic.digit_images import SIDE, load_glyphs, origin_of
from statecast.data.synthetic.generated_windows import GeneratedSource, GeneratedWindows
from statecast.errors import InputError
from statecast.frames import Batch
from statecast.nn.random import Streams, uniform


class RollingDigits(GeneratedSource):
    """A digit that fills the frame and rolls by one pixel per frame, to the left or to the right.

    Two frames determine the future. After one frame, both directions are equally likely, and the
    law of the future is two videos of probability one half each. Sizes are those of Gregor et al.
    (2019), https://arxiv.org/abs/1806.03107, as later implementations have them.

    Each window carries its latents: `label` and `direction` (window, 1), 0 for left.

    Args:
        context: frames observed.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests.
        validation_horizon: frames forecast in validation; by default as in training.
        frame_size: side of a frame, and of its digit, in pixels.
        folder: folder of MNIST's own IDX files; by default the digits of scikit-learn.
        test_videos: windows of the test split.
        validation_videos: windows of the validation split.
        epoch: windows counted as one epoch; the supply of windows is endless.
        seed: seed of validation and test windows.
    """

    def __init__(
        self,
        *,
        context: int = 10,
        horizon: int = 10,
        test_horizon: int = 10,
        validation_horizon: int | None = None,
        frame_size: int = SIDE,
        folder: str | None = None,
        test_videos: int = 500,
        validation_videos: int = 128,
        epoch: int = 54_000,
        seed: int = 42,
    ) -> None:
        self.context, self.frame_size, self.folder, self.seed = context, frame_size, folder, seed
        self.horizons = horizons_of(context, horizon, test_horizon, validation_horizon)
        self.counts = {"train": epoch, "validation": validation_videos, "test": test_videos}
        if min(self.counts.values()) < 1 or frame_size < 8 or min(self.horizons.values()) < 2:
            raise InputError(
                "Rolling digits need at least 1 window in each split, frames of at least 8 pixels, "
                "and horizons of at least 2 frames, to show a direction, got "
                f"{self.counts}, {frame_size} and {self.horizons}."
            )

    def windows(self, split: Split) -> RollingWindows:
        return RollingWindows(self, split)

    @property
    def card(self) -> dict[str, Any]:
        return self.card_of(
            "rolling_digits",
            **origin_of(self.folder),
        )


class RollingWindows(GeneratedWindows, TwoWays):
    """Windows of one split of `RollingDigits`."""

    modes = ("left", "right")

    def __init__(self, source: RollingDigits, split: Split) -> None:
        self.glyphs = load_glyphs(source.folder, split, side=source.frame_size)
        card = source.card | {"glyphs": self.glyphs.digest}
        super().__init__(split, source.counts[split], source.seed, card)
        self.source, self.length = source, source.context + source.horizons[split]

    def make(self, streams: Streams) -> Batch:
        source = self.source
        drawn = uniform((len(streams.generators), 3), torch.zeros(1), streams)
        digit = (drawn[:, 0] * len(self.glyphs.images)).long()
        start = (drawn[:, 1] * source.frame_size).long()
        direction = (drawn[:, 2] < 0.5).long()
        images = torch.from_numpy(self.glyphs.images[digit.numpy()]).float() / 255
        offsets = start[:, None] + (2 * direction - 1)[:, None] * torch.arange(self.length)
        return Batch.of(
            rolled(images, offsets),
            source.context,
            channels=source.spec.channels,
            latents={
                "label": torch.from_numpy(self.glyphs.labels[digit.numpy()])[:, None],
                "direction": direction[:, None],
            },
        )

    def futures(self, indices: Tensor) -> Float[Tensor, "mode window time 1 y x"]:
        """Target frames of each direction, whatever the frames before the last observed one."""
        last = self.batch(indices).context.values[:, -1, 0]
        steps = torch.arange(1, self.length - self.source.context + 1).expand(len(last), -1)
        return torch.stack([rolled(last, sign * steps) for sign in (-1, 1)])

    def mode_probabilities(self, indices: Tensor) -> Float[Tensor, "window mode"]:
        if self.source.context == 1:
            return torch.full((len(indices), 2), 0.5)
        direction = self.batch(indices).latents["direction"][:, 0]
        return torch.nn.functional.one_hot(direction, 2).float()

    def modes_of(self, frames: Float[Tensor, "*batch time channel y x"]) -> Int[Tensor, "*batch"]:
        """The direction in which a frame, moved by a pixel, is more like the next frame."""
        before, after = frames[..., :-1, :, :, :], frames[..., 1:, :, :, :]
        alike = [(before.roll(step, dims=-1) * after).sum(dim=(-4, -3, -2, -1)) for step in (-1, 1)]
        return (alike[1] > alike[0]).long()


def rolled(
    images: Float[Tensor, "window y x"], offsets: Int[Tensor, "window time"]
) -> Float[Tensor, "window time 1 y x"]:
    """Images moved to the right by whole pixels; what leaves there comes in at the left."""
    side = images.shape[-1]
    columns = (torch.arange(side) - offsets[..., None]).remainder(side)
    windows = torch.arange(len(images))[:, None, None]
    return images.transpose(1, 2)[windows, columns].transpose(2, 3).unsqueeze(2)
