"""BAIR robot pushing: an arm that moves at random among objects on a table."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from statecast.data.base import Split
from statecast.data.benchmarks.prepared_source import Count, Origin, PreparedSource
from statecast.data.benchmarks.source_files import matching_files, progress
from statecast.data.benchmarks.stored_windows import RandomClips, every_start, hold_out
from statecast.data.benchmarks.tfrecords import bytes_features, read_records
from statecast.data.cache.frame_store import Kind, StoreWriter
from statecast.errors import CorruptionError, FileError

Array = np.ndarray[Any, np.dtype[Any]]

FILE_NAME = re.compile(r"traj_(\d+)_to_(\d+)\.tfrecords")
FEATURE = "{}/image_aux1/encoded"  # bytes of a frame as they are, despite the name
FRAMES, SIDE = 30, 64
VIDEOS = {"train": 43264, "test": 256}
OUTER = "softmotion30_44k"


class BAIR(PreparedSource):
    """Videos of a robot arm, RGB, 64×64, 30 frames each, without its commands.

    A twentieth of the training videos is for validation. Tests are all 256 test videos from their
    first frame.

    Data: Ebert et al. (2017), https://arxiv.org/abs/1710.05268; use as Franceschi et al. (2020),
    https://arxiv.org/abs/2002.09219.

    Args:
        path: folder of the prepared store; by default that of the cache.
        context: frames observed.
        horizon: frames forecast in training.
        validation_horizon: frames forecast in validation; by default as in training.
        test_horizon: frames forecast in tests.
    """

    kind = Kind("bair", 1, (3, SIDE, SIDE), "|u1")
    channels = ("red", "green", "blue")
    origin = Origin(
        title="BAIR robot pushing",
        source="https://sites.google.com/view/sna-visual-mpc",
        licence="none is stated with the files; not ours to pass on",
        files=f"{OUTER}/train/traj_N_to_M.tfrecords and {OUTER}/test/traj_0_to_255.tfrecords",
        reference="Ebert et al. (2017), https://arxiv.org/abs/1710.05268",
    )

    def __init__(
        self,
        *,
        path: str | None = None,
        context: int = 2,
        horizon: int = 10,
        validation_horizon: int | None = None,
        test_horizon: int = 28,
    ) -> None:
        super().__init__(
            path=path,
            context=context,
            horizon=horizon,
            validation_horizon=validation_horizon,
            test_horizon=test_horizon,
        )

    def windows(self, split: Split) -> RandomClips:
        length = self.context + self.horizons[split]
        return RandomClips(
            self.store,
            self.starts(split, length),
            context=self.context,
            length=length,
            channels=self.channels,
        )

    def starts(self, split: Split, length: int) -> Array:
        """Sequence and first frame of each window of a split, (window, 2)."""
        sequences = self.store.sequences
        of = "test" if split == "test" else "train"
        chosen = [n for n, one in enumerate(sequences) if one.labels["split"] == of]
        if split == "test":
            starts = every_start(sequences, chosen, length, of=split)
            return starts[starts[:, 1] == 0]
        trained, held_out = hold_out(len(chosen))
        places = trained if split == "train" else held_out
        return every_start(sequences, [chosen[place] for place in places], length, of=split)

    @classmethod
    def write(cls, source: Path, writer: StoreWriter) -> list[Count]:
        inner = source / OUTER if (source / OUTER).is_dir() else source
        counts = []
        for split, expected in VIDEOS.items():
            if not (inner / split).is_dir():
                raise FileError(f"{inner} has no folder {split}: expected {cls.origin.files}.")
            found = matching_files(inner / split, FILE_NAME, expected=cls.origin.files)
            paths = sorted(found.values(), key=lambda one: int(one[1][1]))
            count = 0
            for path, _ in progress(paths, f"bair {split}"):
                for record in read_records(path):
                    writer.add(f"{split}/{count:05d}", frames_of(record, path), {"split": split})
                    count += 1
            counts.append(Count(f"{split} videos", count, expected))
        return counts


def frames_of(record: bytes, path: Path) -> Iterator[Array]:
    """Frames (channel, y, x) of a record.

    Errors:
        CorruptionError: it lacks a frame, or one has another size.
    """
    try:
        features = bytes_features(record)
    except ValueError as error:
        raise CorruptionError(f"{path} holds no Examples of TensorFlow: {error}.") from error
    for number in range(FRAMES):
        content = features.get(FEATURE.format(number))
        if content is None:
            raise CorruptionError(f"{path} holds a record without {FEATURE.format(number)}.")
        if len(content) != SIDE * SIDE * 3:
            raise CorruptionError(
                f"{path}: {FEATURE.format(number)} should have {SIDE * SIDE * 3} bytes "
                f"({SIDE}×{SIDE} RGB), got {len(content)}."
            )
        yield np.frombuffer(content, np.uint8).reshape(SIDE, SIDE, 3).transpose(2, 0, 1)
