"""WaveEq and WaveEq-100: waves from a fading source in a reflecting box, simulated once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal

import numpy as np

from statecast.data.base import DataSource, Split, Windows, horizons_of
from statecast.data.cache.entries import open_or_make
from statecast.data.progress import progress
from statecast.data.synthetic.waves_simulation import (
    AT_ONCE,
    FRAMES,
    SIZE,
    WaveParameters,
    draw_parameters,
    simulate,
)
from statecast.data.windows import SequenceWindows, all_starts
from statecast.errors import InputError
from statecast.frames import FrameSpec

LOGGER = logging.getLogger(__name__)
KEPT = 2  # every second frame is kept
TRAIN_SHARE = 0.8  # of the sequences, in order; the rest is for tests, as published
VALIDATION_SHARE = 0.1  # of the training sequences, the last ones
POINTS_SEED = 42  # of the observed pixels, as published
# Extremes for the strongest source at the slowest speed, rounded outward: all values lie within.
RANGE = (-0.00436, 0.00511)
VERSION = 2  # changes when the same options give other frames


class WaveEquation(DataSource):
    """Displacement of a membrane, scaled to [0, 1].

    Each window carries its latents: the wave's `speed` and the `source`'s amplitude.

    Rule: Donà et al. (2021), https://arxiv.org/abs/2008.01352, as in the published code.

    Args:
        context: frames observed.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests.
        validation_horizon: frames forecast in validation; by default as in training.
        points: number of random pixels to observe instead of the whole grid; 100 in WaveEq-100.
        sequences: number of simulated sequences, 300 as published. The first 80 % are for
            training and validation, which has the last tenth of them; the rest are for tests.
        protocol: `corrected` uses every window; `paper` uses the windows of the published code,
            from the first third of the training and the first fifth of the test sequences.
        scale: `range` maps the range of all possible sequences to [0, 1]; `sequence` maps the
            extremes of each whole sequence, future included, as published. By default `range` for
            the protocol `corrected`, and `sequence` for `paper`.
        seed: seed of amplitudes and speeds.
    """

    def __init__(
        self,
        *,
        context: int = 5,
        horizon: int = 20,
        test_horizon: int = 40,
        validation_horizon: int | None = None,
        points: int | None = None,
        sequences: int = 300,
        protocol: Literal["corrected", "paper"] = "corrected",
        scale: Literal["range", "sequence"] | None = None,
        seed: int = 42,
    ) -> None:
        self.context, self.points, self.sequences = context, points, sequences
        self.protocol, self.seed = protocol, seed
        self.scale = scale or ("range" if protocol == "corrected" else "sequence")
        self.horizons = horizons_of(context, horizon, test_horizon, validation_horizon)
        limit = FRAMES // KEPT if protocol == "corrected" else SIZE
        if context + max(self.horizons.values()) > limit:
            raise InputError(
                f"Windows of the protocol {protocol} have at most {limit} frames, got "
                f"context {context} and horizons {self.horizons}."
            )
        if sequences < 10 or (points is not None and points < 1):
            raise InputError(
                "Waves need at least 10 sequences, for three splits, and at least 1 point, got "
                f"{sequences} and {points}."
            )

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(
            channels=("amplitude",),
            space=(SIZE, SIZE) if self.points is None else (self.points,),
            context=self.context,
            horizon=self.horizons["train"],
            value_range=(0.0, 1.0),
        )

    def windows(self, split: Split) -> Windows:
        length = self.context + self.horizons[split]
        return SequenceWindows(
            self.frames,
            self.starts(split),
            context=self.context,
            length=length,
            channels=("amplitude",),
            latents={
                "speed": self.parameters.speed.astype(np.float32),
                "source": self.parameters.source.astype(np.float32),
            },
        )

    @property
    def parts(self) -> dict[str, range]:
        """Numbers of the sequences of each split."""
        trained = round(TRAIN_SHARE * self.sequences)
        held_out = max(1, round(VALIDATION_SHARE * trained))
        return {
            "train": range(trained - held_out),
            "validation": range(trained - held_out, trained),
            "test": range(trained, self.sequences),
        }

    def starts(self, split: Split) -> np.ndarray[Any, Any]:
        """Sequence and first frame of each window of a split."""
        length, part = self.context + self.horizons[split], self.parts[split]
        every = all_starts(part, FRAMES // KEPT, length)
        if self.protocol == "corrected" or split == "validation":
            return every
        # When it counted windows, the published code took the height of a frame for the length of
        # a sequence; when it cut them, it did not. So it never reached the last sequences.
        counted = len(part)
        if split == "train":  # it had no validation split, and did not reach what ours holds out
            counted += len(self.parts["validation"])
        return every[: counted * (SIZE - length + 1)]

    @property
    def card(self) -> dict[str, Any]:
        return {
            "name": "wave_equation",
            "points": self.points,
            "sequences": self.sequences,
            "splits": {name: [part.start, part.stop] for name, part in self.parts.items()},
            "context": self.context,
            "horizons": self.horizons,
            "protocol": self.protocol,
            "scale": self.scale,
            "seed": self.seed,
            "version": VERSION,
            "source": "simulated by statecast",
            "licence": "Apache-2.0",
        }

    @cached_property
    def parameters(self) -> WaveParameters:
        """Amplitude and speed of each sequence."""
        return draw_parameters(self.sequences, self.seed)

    @cached_property
    def frames(self) -> np.ndarray[Any, Any]:
        """All sequences (sequence, time, 1, *space) in [0, 1], from the cache or simulated."""
        return open_or_make(
            "wave-equation" if self.points is None else f"wave-equation-{self.points}",
            {
                "sequences": self.sequences,
                "points": self.points,
                "scale": self.scale,
                "seed": self.seed,
                "v": VERSION,
            },
            (self.sequences, FRAMES // KEPT, 1, *self.spec.space),
            self._simulated(),
        )

    def _simulated(self) -> Iterator[np.ndarray[Any, Any]]:
        LOGGER.info("Simulating %d sequences of waves, once; later they are read", self.sequences)
        total = -(-self.sequences // AT_ONCE)
        parts = simulate(self.parameters)
        for part in progress(parts, "simulating waves", total=total):
            frames = part.numpy()
            low, high = (np.float32(end) for end in RANGE)
            if self.scale == "sequence":
                low = frames.min(axis=(1, 2, 3), keepdims=True)
                high = frames.max(axis=(1, 2, 3), keepdims=True)
            frames = ((frames - low) / (high - low))[:, ::KEPT]
            if self.points is not None:
                rows, columns = observed_pixels(self.points)
                frames = frames[:, :, rows, columns]
            yield frames[:, :, None]


def observed_pixels(points: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Rows and columns of the observed pixels, as published; some may be drawn twice."""
    generator = np.random.RandomState(POINTS_SEED)
    rows = generator.randint(SIZE, size=points)
    return rows, generator.randint(SIZE, size=points)
