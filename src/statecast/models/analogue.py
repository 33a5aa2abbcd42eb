"""Analogue forecast: the frames that followed on the most similar training windows."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.baselines import Baseline, between_frames, filled

LARGEST = 128 << 20  # bytes of windows that are kept at most


class Analogue(Baseline):
    r"""The mean of the frames that followed on the most similar training windows.

    The last observed frame is compared with that of every window kept. The forecast is the mean
    of the frames after the K nearest ones by squared distance. Beyond the training horizon, it
    goes on with the analogues of the last forecast frame. Between frames it is linear.

    Reference: Lorenz (1969), https://doi.org/10.1175/1520-0469(1969)26<636:APARBN>2.0.CO;2.

    Args:
        spec: shape, channels and units of the frames; comes from the data.
        neighbours: windows that are averaged, K.
        library: windows kept at most; fewer where they would take more than 128 MiB.
        generator: unused; every model accepts one.
    """

    windows: Tensor  # (window, 1 + horizon, channel, *space), the last observed frame first
    count: Tensor

    def __init__(
        self,
        spec: FrameSpec,
        *,
        neighbours: int = 10,
        library: int = 1024,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(spec, generator=generator)
        if neighbours < 1 or library < 1:
            raise InputError(
                f"An analogue forecast needs at least 1 neighbour and 1 window, got {neighbours} "
                f"and {library}."
            )
        size = 4 * (1 + spec.horizon) * math.prod(spec.frame_shape)
        kept = max(1, min(library, LARGEST // size))
        self.neighbours = neighbours
        self.register_buffer("windows", torch.zeros(kept, 1 + spec.horizon, *spec.frame_shape))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @property
    def needs_statistics(self) -> bool:
        return True

    def fit_statistics(self, batches: Iterable[Batch]) -> None:
        """Keep training windows.

        Errors:
            InputError: there are no windows, or targets shorter than the horizon.
        """
        known = 0
        for batch in batches:
            if len(batch.target) < self.spec.horizon:
                raise InputError(
                    f"Analogues need targets of {self.spec.horizon} frames, got "
                    f"{len(batch.target)}."
                )
            frames = torch.cat([filled(batch.context)[:, -1:], filled(batch.target)], dim=1)
            taken = frames[: len(self.windows) - known, : 1 + self.spec.horizon]
            self.windows[known : known + len(taken)] = taken
            known += len(taken)
        if known == 0:
            raise InputError("An analogue forecast needs training windows, got none.")
        self.count.fill_(known)

    def extrapolate(self, values: Tensor, times: Tensor) -> Tensor:
        if not bool(self.count):
            raise InputError("This model has no windows yet: call fit_statistics, or train it.")
        path = [values[:, -1:]]
        while sum(part.shape[1] for part in path) <= float(times.max()):
            path.append(self.following(path[-1][:, -1]))
        return between_frames(torch.cat(path, dim=1).transpose(0, 1), times).transpose(0, 1)

    def following(self, frame: Tensor) -> Tensor:
        """The frames (batch, horizon, …) that follow each frame (batch, …)."""
        library = self.windows[: int(self.count)]
        distance = torch.cdist(
            frame.flatten(1),
            library[:, 0].flatten(1),
            compute_mode="donot_use_mm_for_euclid_dist",  # results would depend on the batch
        )
        nearest = distance.topk(min(self.neighbours, len(library)), largest=False).indices
        return torch.stack([library[rows, 1:].mean(dim=0) for rows in nearest])
