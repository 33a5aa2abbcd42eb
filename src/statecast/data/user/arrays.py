"""arrays: sequences of your own, from a NumPy or HDF5 file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from statecast.data.base import DataSource, Split
from statecast.data.user.array_files import Array, LazySequences, Sequences, open_sequences
from statecast.data.windows import SequenceWindows, all_starts
from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec

LARGEST_BYTE = 255
COLOURS = {1: ("intensity",), 3: ("red", "green", "blue")}  # channel names of bytes


class Arrays(DataSource):
    """Your own sequences: an array (sequence, time, channel, y, x), or (…, channel, point).

    Bytes are images of 256 levels, read as values in [0, 1]; other numbers are taken as they are.
    Sequences are split first and cut into windows afterwards: the first ones are for training, the
    next ones for validation, the last ones for tests. Sequences that come from one recording
    belong next to each other. One recording, without an axis of sequences, is split in time.

    Args:
        path: `.npy` file, which is memory-mapped; HDF5 file, of which each window is read when it
            is asked for; or `.npz`, which is read as a whole.
        dataset: name of the array in an `.npz` or HDF5 file; by default the only one, or the one
            named `sequences`, `values` or `frames`.
        axes: letter of each axis of the array: n (sequence), t (time), c (channel), y, x; by
            default `ntcyx`, and `ntcx` of points. Frames of one video in colours are `tyxc`.
        test_path: file of the test sequences, which may have another length; by default the last
            `test_fraction` of those of `path`.
        context: frames observed.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests; by default as in training.
        validation_horizon: frames forecast in validation; by default as in training.
        validation_fraction: share of the training sequences, the last ones, for validation.
        test_fraction: share of all sequences, the last ones, for tests; without `test_path`.
        window_stride: frames between the starts of two windows of a sequence.
        channels: one name per channel.
        value_range: smallest and largest value that the data can take, where they are known;
            those of bytes are 0 and 1.
        unit: of the values.
    """

    def __init__(
        self,
        *,
        path: str | None = None,
        dataset: str | None = None,
        axes: str | None = None,
        test_path: str | None = None,
        context: int = 5,
        horizon: int = 10,
        test_horizon: int | None = None,
        validation_horizon: int | None = None,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.1,
        window_stride: int = 1,
        channels: tuple[str, ...] | None = None,
        value_range: tuple[float, float] | None = None,
        unit: str = "1",
    ) -> None:
        if not path:
            raise InputError("Which data? Name a file: --data.path my.npy.")
        self.horizons = {
            "train": horizon,
            "validation": horizon if validation_horizon is None else validation_horizon,
            "test": horizon if test_horizon is None else test_horizon,
        }
        self.context, self.window_stride, self.unit = context, window_stride, unit
        if min(context, window_stride, *self.horizons.values()) < 1:
            raise InputError(
                "Context, horizons and window_stride of arrays must be at least 1, got "
                f"{context}, {self.horizons} and {window_stride}."
            )
        self.paths = {"train": path, "test": path if test_path is None else test_path}
        self.axes, self.dataset = axes, dataset
        self.sequences: dict[str, Sequences] = {
            name: open_sequences(path, dataset=dataset, axes=axes)
            for name, path in self.paths.items()
        }
        check_alike(self.sequences, self.paths)
        recording = axes is not None and "n" not in axes
        count, length = self.sequences["train"].shape[:2]
        parts = split_in_order(
            length if recording else count,
            validation_fraction,
            0 if test_path else test_fraction,
            path,
        )
        if test_path is not None:
            parts["test"] = range(self.sequences["test"].shape[1 if recording else 0])
        # Sequences of each split, and the frames of them that belong to it.
        self.parts = {name: range(1) if recording else part for name, part in parts.items()}
        self.frames = {
            name: part if recording else range(self.of_split(name).shape[1])
            for name, part in parts.items()
        }
        bytes_ = self.sequences["train"].dtype == np.uint8
        self.value_range = (0.0, 1.0) if bytes_ else None
        if value_range is not None:
            if bytes_ or not value_range[0] < value_range[1]:
                raise InputError(
                    "value_range is the smallest and the largest value of numbers that are no "
                    f"bytes, got {tuple(value_range)} for {self.sequences['train'].dtype}."
                )
            self.value_range = (float(value_range[0]), float(value_range[1]))
        count = self.sequences["train"].shape[2]
        names = COLOURS.get(count) if bytes_ and channels is None else channels
        self.channels = tuple(names or (f"channel_{i}" for i in range(count)))
        if len(self.channels) != count:
            raise InputError(f"{path} has {count} channel(s), but channels are {self.channels}.")
        for split in self.parts:
            self.check_length(split)

    def of_split(self, split: str) -> Sequences:
        """The array that a split is taken from."""
        return self.sequences["test" if split == "test" else "train"]

    def check_length(self, split: str) -> None:
        """Raise `InputError` unless the sequences of a split hold a window."""
        frames, length = len(self.frames[split]), self.context + self.horizons[split]
        if frames < length:
            raise InputError(
                f"Sequences of {frames} frames hold no {split} windows of {length}: context "
                f"{self.context} and horizon {self.horizons[split]}. Shorten one of them."
            )

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(
            channels=self.channels,
            space=tuple(self.sequences["train"].shape[3:]),
            context=self.context,
            horizon=self.horizons["train"],
            value_range=self.value_range,
            unit=self.unit,
        )

    def windows(self, split: Split) -> ArrayWindows:
        sequences, length = self.of_split(split), self.context + self.horizons[split]
        frames = self.frames[split]
        starts = all_starts(
            self.parts[split], len(frames), length, window_stride=self.window_stride
        )
        starts[:, 1] += frames.start
        return ArrayWindows(
            cast("Any", sequences),
            starts,
            context=self.context,
            length=length,
            channels=self.channels,
        )

    @property
    def card(self) -> dict[str, Any]:
        return {
            "name": "arrays",
            "files": {name: Path(path).name for name, path in self.paths.items()},
            "shapes": {name: list(array.shape) for name, array in self.sequences.items()},
            "dtype": str(self.sequences["train"].dtype),
            "dataset": self.dataset,
            "axes": self.axes,
            "splits": {name: [part.start, part.stop] for name, part in self.parts.items()},
            "frames": {name: [part.start, part.stop] for name, part in self.frames.items()},
            "context": self.context,
            "horizons": self.horizons,
            "window_stride": self.window_stride,
            "value_range": None if self.value_range is None else list(self.value_range),
            "unit": self.unit,
            "source": "a file of the user's",
            "licence": "see the file's owner",
        }


class ArrayWindows(SequenceWindows):
    """Windows of stored sequences, bytes as values in [0, 1]."""

    sequences: Sequences  # type: ignore[assignment]  # of which no more is read than is asked for

    def batch(self, indices: Tensor) -> Batch:
        # NumPy converts what torch does not read, such as another order of bytes.
        values = torch.from_numpy(np.asarray(self.stored(indices), dtype=np.float32))
        if self.sequences.dtype == np.uint8:
            values /= LARGEST_BYTE
        if not bool(torch.isfinite(values).all()):
            window = int((~torch.isfinite(values.flatten(1))).any(dim=1).nonzero()[0])
            sequence, start = self.starts[int(indices[window])].tolist()
            raise InputError(
                f"Sequence {sequence} holds NaN or infinite values in the {self.length} frames "
                f"from {start} on. Fill the gaps, or leave the sequence out."
            )
        return Batch.of(values, self.context, channels=self.channels)

    def stored(self, indices: Tensor) -> Array:
        """Windows as they are stored."""
        chosen, first = self.starts[indices.numpy()].T
        if isinstance(self.sequences, LazySequences):
            pieces = [
                self.sequences.read(int(sequence), int(start), int(start) + self.length)
                for sequence, start in zip(chosen, first, strict=True)
            ]
            return np.stack(pieces)
        return self.sequences[chosen[:, None], first[:, None] + np.arange(self.length)]


def split_in_order(
    count: int, validation_fraction: float, test_fraction: float, path: str
) -> dict[str, range]:
    """Numbers of the sequences, or frames, of each split: training first, tests last.

    Errors:
        InputError: a share out of its bounds, or too few sequences for them.
    """
    if not 0 < validation_fraction < 1 or not 0 <= test_fraction < 1:
        raise InputError(
            "validation_fraction and test_fraction lie between 0 and 1, got "
            f"{validation_fraction} and {test_fraction}."
        )
    trained = count - (max(1, round(test_fraction * count)) if test_fraction else 0)
    held_out = max(1, round(validation_fraction * trained))
    if trained - held_out < 1:
        raise InputError(
            f"{path} holds {count} sequence(s), too few for three splits. Cut long sequences into "
            "several, lower the shares, or say with axes that it is one recording (tcyx)."
        )
    return {
        "train": range(trained - held_out),
        "validation": range(trained - held_out, trained),
        "test": range(trained, count),
    }


def check_alike(sequences: Mapping[str, Sequences], paths: Mapping[str, str]) -> None:
    """Raise `InputError` unless training and test sequences have frames of one kind."""
    one, other = sequences["train"], sequences["test"]
    if one.shape[2:] != other.shape[2:] or one.dtype != other.dtype:
        raise InputError(
            f"Frames of {paths['train']} are {one.dtype} {one.shape[2:]}, those of "
            f"{paths['test']} {other.dtype} {other.shape[2:]}. Both must be alike."
        )
