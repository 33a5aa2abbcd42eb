"""BAIR robot pushing: an arm that moves at random among objects on a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from statecast.data.base import Split
from statecast.data.benchmarks.prepared_source import Count, Origin
from statecast.data.benchmarks.source_files import matching_files
from statecast.data.benchmarks.stored_windows import ClipSource, every_start, hold_out
from statecast.data.benchmarks.tfrecords import example_features, read_records
from statecast.data.cache.frame_store import Kind, StoreWriter
from statecast.data.progress import progress
from statecast.errors import CorruptionError, FileError
from statecast.frames import FrameSpec

Array = np.ndarray[Any, np.dtype[Any]]

FILE_NAME = re.compile(r"traj_(\d+)_to_(\d+)\.tfrecords")
FEATURE = "{}/image_aux1/encoded"  # bytes of a frame as they are, despite the name
ACTION, STATE = "{}/action", "{}/endeffector_pos"  # floats
ACTIONS, STATES = 4, 3  # of them
FRAMES, SIDE = 30, 64
VIDEOS = {"train": 43264, "test": 256}
OUTER = "softmotion30_44k"


class BAIR(ClipSource):
    """Videos of a robot arm, RGB, 64×64, 30 frames each.

    A twentieth of the training videos is for validation. Tests are all 256 test videos from their
    first frame. With `actions`, frames also have the commands of the arm between them, and the
    position of its end effector; frames and windows stay the same.

    Data: Ebert et al. (2017), https://arxiv.org/abs/1710.05268; use as Franceschi et al. (2020),
    https://arxiv.org/abs/2002.09219.

    Args:
        path: folder of the prepared store; by default in the cache.
        context: frames observed.
        horizon: frames forecast in training.
        validation_horizon: frames forecast in validation; by default as in training.
        test_horizon: frames forecast in tests.
        actions: whether to read the arm's commands (4 numbers) and positions (3).
    """

    kind = Kind("bair", 2, (3, SIDE, SIDE), "|u1", ACTIONS + STATES)
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
        actions: bool = False,
    ) -> None:
        self.action_numbers = ACTIONS if actions else 0
        super().__init__(
            path=path, context=context, horizon=horizon,
            validation_horizon=validation_horizon, test_horizon=test_horizon,
        )  # fmt: skip

    @property
    def spec(self) -> FrameSpec:
        spec = super().spec
        return replace(spec, actions=ACTIONS, agent_states=STATES) if self.action_numbers else spec

    def starts(self, split: Split, span: int) -> Array:
        sequences = self.store.sequences
        of = "test" if split == "test" else "train"
        chosen = [n for n, one in enumerate(sequences) if one.labels["split"] == of]
        if split == "test":
            starts = every_start(sequences, chosen, span, of=split)
            return starts[starts[:, 1] == 0]
        return every_start(sequences, hold_out(chosen, split), span, of=split)

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
            for path, _ in progress(paths, f"preparing bair {split}"):
                for record in read_records(path):
                    features = features_of(record, path)
                    writer.add(
                        f"{split}/{count:05d}",
                        frames_of(features, path),
                        {"split": split},
                        series_of(features, path),
                    )
                    count += 1
            counts.append(Count(f"{split} videos", count, expected))
        return counts


def features_of(record: bytes, path: Path) -> dict[str, memoryview]:
    """Features of a record; errors as `frames_of`."""
    try:
        return example_features(record)
    except ValueError as error:
        raise CorruptionError(f"{path} holds no TensorFlow Examples: {error}.") from error


def content_of(
    features: Mapping[str, memoryview], name: str, size: int, what: str, path: Path
) -> memoryview:
    """The bytes of a feature, of the expected size; errors as `frames_of`."""
    if name not in features:
        raise CorruptionError(f"{path} holds a record without {name}.")
    if len(features[name]) != size:
        raise CorruptionError(
            f"{path}: {name} should have {size} bytes ({what}), got {len(features[name])}."
        )
    return features[name]


def frames_of(features: Mapping[str, memoryview], path: Path) -> Iterator[Array]:
    """Frames (channel, y, x) of a record.

    Errors:
        CorruptionError: it lacks a frame, or one has another size.
    """
    what = f"{SIDE}×{SIDE} RGB"
    for number in range(FRAMES):
        content = content_of(features, FEATURE.format(number), SIDE * SIDE * 3, what, path)
        yield np.frombuffer(content, np.uint8).reshape(SIDE, SIDE, 3).transpose(2, 0, 1)


def series_of(features: Mapping[str, memoryview], path: Path) -> Array:
    """Action and position of the end effector for each frame, (time, number).

    The action after the last frame leads nowhere and is NaN. Errors as `frames_of`.
    """
    found = np.full((FRAMES, ACTIONS + STATES), np.nan, np.float32)
    columns = ((ACTION, slice(0, ACTIONS), FRAMES - 1), (STATE, slice(ACTIONS, None), FRAMES))
    for feature, place, count in columns:
        for number in range(count):
            size = found[number, place].nbytes
            content = content_of(features, feature.format(number), size, "float32", path)
            found[number, place] = np.frombuffer(content, "<f4")
    return found
