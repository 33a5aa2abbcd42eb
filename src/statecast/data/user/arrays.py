"""Arrays: sequences of your own, from NumPy, HDF5, MATLAB or PyTorch files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statecast.data.base import SPLITS, DataSource, InferredOption, Split, horizons_of
from statecast.data.user.array_files import Opened, Sequences, open_sequences, series_beside
from statecast.data.user.array_windows import ArrayWindows, Series, unknown_values
from statecast.data.user.field_splits import Parts, window_starts
from statecast.errors import InputError
from statecast.frames import FrameSpec

LOOKED_THROUGH = 1 << 31  # most bytes that are searched for NaN before training
GUESS = ", by a guess (--data.axes says otherwise)"
COLOURS = {1: ("intensity",), 3: ("red", "green", "blue")}  # channel names of bytes


class Arrays(DataSource):
    """Your own sequences: arrays of time, space, and perhaps channels and sequences.

    Bytes are images of 256 levels, read as values in [0, 1]; other numbers are not scaled.
    Sequences are split first and cut into windows afterwards: the first ones are for training, the
    next ones for validation, the last ones for tests. Put sequences from one recording next to
    each other. One recording, without an axis of sequences, is split in time.

    Args:
        path: `.npy` file, which is memory-mapped; HDF5 or MATLAB 7.3 file, read window by window;
            `.npz` or PyTorch file, read as a whole; or a folder, a pattern, or a list of files,
            each of which is a sequence.
        dataset: name of the array in a file of several, or a pattern such as `*/data` for arrays
            that are a sequence each; by default the only one, one named `sequences`, `values`,
            `frames` or `context`, or by far the largest.
        axes: a letter for each axis of the array: n (sequence), t (time), c (channel), y, x; by
            default a guess, which is printed. Colour frames of one video are `tyxc`.
        test_path: file of the test sequences, which may have another length; by default the last
            `test_fraction` of those of `path`.
        context: frames observed.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests; by default as in training.
        validation_horizon: frames forecast in validation; by default as in training.
        validation_fraction: share of the training sequences, the last ones, for validation.
        test_fraction: share of all sequences, the last ones, for tests; not used with `test_path`.
        window_stride: frames between the starts of two windows of a sequence.
        channels: one name per channel.
        value_range: smallest and largest value that the data can take, if known; for bytes it is
            0 and 1.
        unit: unit of the values.
        actions: whether to read the arrays `actions` of the same files, (step, number) for each
            sequence, whose first action leads from the first frame to the second; and
            `agent_states`, (time, number), if the files hold them.
    """

    def __init__(
        self,
        *,
        path: tuple[str, ...] | str | None = None,
        dataset: str | None = None,
        axes: str | None = None,
        test_path: tuple[str, ...] | str | None = None,
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
        actions: bool = False,
    ) -> None:
        if not path:
            raise InputError("Which data? Name a file: --data.path my.npy.")
        self.horizons = horizons_of(
            context, horizon, horizon if test_horizon is None else test_horizon, validation_horizon
        )
        self.context, self.window_stride, self.unit = context, window_stride, unit
        if window_stride < 1:
            raise InputError(f"window_stride must be at least 1, got {window_stride}.")
        self.paths = {"train": path, "test": path if test_path is None else test_path}
        self.opened = open_sequences(path, dataset=dataset, axes=axes)
        self.asked = {"dataset": dataset, "axes": axes}
        self.dataset, self.axes = self.opened.dataset, self.opened.sequences.axes
        tests = self.opened
        if test_path is not None:
            tests = open_sequences(test_path, dataset=self.dataset, axes=self.axes)
        self.sequences = {"train": self.opened.sequences, "test": tests.sequences}
        check_alike(self.sequences, self.paths)
        self.parts = self.split(validation_fraction, test_fraction)
        self.bytes = self.opened.sequences.dtype.kind == "b" or (
            self.opened.sequences.dtype == np.uint8
        )
        self.value_range = (0.0, 1.0) if self.bytes else None
        if value_range is not None:
            if self.bytes or not value_range[0] < value_range[1]:
                raise InputError(
                    "value_range must be the smallest and the largest value, and cannot be set "
                    f"for bytes, got {tuple(value_range)} for {self.opened.sequences.dtype}."
                )
            self.value_range = (float(value_range[0]), float(value_range[1]))
        count = self.opened.sequences.frame_shape[0]
        names = COLOURS.get(count) if self.bytes and channels is None else channels
        self.channels = tuple(names or (f"channel_{i}" for i in range(count)))
        if len(self.channels) != count:
            raise InputError(f"{path} has {count} channel(s), but channels names {self.channels}.")
        for split in SPLITS:
            self.check_length(split)
        for sequences in set(self.sequences.values()):
            check_finite(sequences)
        self.series = {
            split: series_of(self.paths[split], sequences) if actions else {}
            for split, sequences in self.sequences.items()
        }

    def split(self, validation_fraction: float, test_fraction: float) -> Parts:
        """Frames of the sequences of each split; a single sequence is split in time."""
        sequences, tests = self.sequences["train"], self.sequences["test"]
        apart = tests is not sequences
        recording = len(sequences) == 1 and "n" not in self.axes
        count = sequences.lengths[0] if recording else len(sequences)
        cut = split_in_order(
            count, validation_fraction, 0 if apart else test_fraction, shown(self.paths["train"])
        )
        if recording:
            parts: Parts = {s: [(0, cut[s].start, cut[s].stop)] for s in SPLITS}
        else:
            parts = {s: [(n, 0, sequences.lengths[n]) for n in cut[s]] for s in SPLITS}
        if apart:
            parts["test"] = [(n, 0, length) for n, length in enumerate(tests.lengths)]
        return parts

    def of_split(self, split: str) -> Sequences:
        """The sequences that a split is taken from."""
        return self.sequences["test" if split == "test" else "train"]

    def check_length(self, split: Split) -> None:
        """Raise `InputError` unless the sequences of a split hold a window."""
        frames = max(stop - start for _, start, stop in self.parts[split])
        length = self.context + self.horizons[split]
        if frames >= length:
            return
        options = {name: str(value) for name, value in self.shorter().items()}
        advice = "Give longer sequences, or larger shares: --data.validation_fraction 0.2."
        if options:
            words = " ".join(f"--data.{name} {value}" for name, value in options.items())
            advice = f"Shorten them: {words}."
        raise InputError(
            f"Sequences of {frames} frames hold no {split} windows of {length}: context "
            f"{self.context} and horizon {self.horizons[split]}. {advice}",
            options=options,
        )

    def shorter(self) -> dict[str, int]:
        """Options for windows that fit into every split; empty if none fit."""
        room = {split: max(b - a for _, a, b in self.parts[split]) for split in SPLITS}
        shortest, asked = min(room.values()), self.horizons
        if shortest < 2:
            return {}
        context = min(self.context, max(1, shortest // 3))
        return {"context": context, "horizon": min(asked["train"], shortest - context)} | {
            f"{split}_horizon": min(asked[split], room[split] - context)
            for split in SPLITS
            if asked[split] != asked["train"]
        }

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(
            channels=self.channels,
            space=tuple(self.opened.sequences.frame_shape[1:]),
            context=self.context,
            horizon=self.horizons["train"],
            value_range=self.value_range,
            unit=self.unit,
            **{name: rows[0].shape[1] for name, rows in self.series["train"].items()},
        )

    def windows(self, split: Split) -> ArrayWindows:
        length = self.context + self.horizons[split]
        return ArrayWindows(
            self.of_split(split),
            window_starts(self.parts[split], length, self.window_stride),
            context=self.context,
            length=length,
            channels=self.channels,
            series=self.series["test" if split == "test" else "train"],
        )

    @property
    def inferred_options(self) -> Sequence[InferredOption]:
        found = []
        if self.dataset is not None and self.asked["dataset"] is None:
            found.append(InferredOption("array", self.dataset, "dataset", self.dataset))
        sequences = self.opened.sequences
        guessed = (None, None) if self.asked["axes"] else ("axes", sequences.axes)
        found.append(InferredOption("axes", described(self.opened), *guessed))
        if self.value_range is None:
            found.append(
                InferredOption("range", "not known; value_range gives it, as PSNR and SSIM need")
            )
        return found

    @property
    def card(self) -> dict[str, Any]:
        return {
            "name": "arrays",
            "files": {name: shown(path) for name, path in self.paths.items()},
            "shapes": {
                name: [len(found), max(found.lengths), *found.frame_shape]
                for name, found in self.sequences.items()
            },
            "dtype": str(self.opened.sequences.dtype),
            "dataset": self.dataset,
            "axes": self.axes,
            "splits": {name: [list(piece) for piece in part] for name, part in self.parts.items()},
            "context": self.context,
            "horizons": self.horizons,
            "window_stride": self.window_stride,
            "value_range": None if self.value_range is None else list(self.value_range),
            "unit": self.unit,
            "source": "a file of the user's",
            "licence": "see the file's owner",
        }


def series_of(path: str | Sequence[str], sequences: Sequences) -> Series:
    """Actions of each sequence, and states of the agent where there are any.

    Errors:
        InputError: there are no actions, or too few, or some are not finite.
    """
    found = {}
    for name, fewer in (("actions", 1), ("agent_states", 0)):
        rows = series_beside(path, name, len(sequences))
        if rows is None and name == "actions":
            raise InputError(
                f"{shown(path)} holds no array named actions. Store them beside the frames, or "
                "leave data.actions out."
            )
        if rows is None:
            continue
        for row, length in zip(rows, sequences.lengths, strict=True):
            if len(row) < length - fewer or not np.isfinite(row[: length - fewer]).all():
                raise InputError(
                    f"A sequence of {length} frames in {shown(path)} needs at least "
                    f"{length - fewer} finite {name}, got {row.shape}."
                )
        found[name] = rows
    return found


def check_finite(sequences: Sequences) -> None:
    """Raise `InputError` if sequences hold values that are not finite.

    Of more than `LOOKED_THROUGH` bytes, only some sequences, evenly spread, are searched.
    """
    if sequences.dtype.kind != "f":
        return
    frame = int(np.prod(sequences.frame_shape)) * sequences.dtype.itemsize
    step = max(1, -(-sum(sequences.lengths) * frame // LOOKED_THROUGH))
    for number in range(0, len(sequences), step):
        for start in range(0, sequences.lengths[number], max(1, (1 << 26) // frame)):
            stop = min(start + max(1, (1 << 26) // frame), sequences.lengths[number])
            finite = np.isfinite(sequences.read(number, start, stop))
            if not finite.all():
                first = int(np.flatnonzero(~finite.all(axis=tuple(range(1, finite.ndim))))[0])
                raise InputError(unknown_values(number, start + first))


def described(opened: Opened) -> str:
    """Axes and sizes of opened arrays, in words."""
    sequences = opened.sequences
    lengths = sorted({min(sequences.lengths), max(sequences.lengths)})
    frames = " to ".join(map(str, lengths))
    channels, *space = sequences.frame_shape
    return (
        f"{sequences.axes}{GUESS if opened.guessed else ''}: {len(sequences)} sequence(s) "
        f"of {frames} frames, {channels} channel(s) on {'×'.join(map(str, space))}"
    )


def shown(path: str | Sequence[str]) -> str:
    """Names of files, without their folders."""
    return ", ".join(Path(p).name for p in ([path] if isinstance(path, str) else path))


def split_in_order(
    count: int, validation_fraction: float, test_fraction: float, path: str
) -> dict[str, range]:
    """Numbers of the sequences, or frames, of each split: training first, tests last.

    Errors:
        InputError: a share is out of its bounds, or there are too few sequences.
    """
    if not 0 < validation_fraction < 1 or not 0 <= test_fraction < 1:
        raise InputError(
            "validation_fraction and test_fraction must lie between 0 and 1, got "
            f"{validation_fraction} and {test_fraction}."
        )
    trained = count - (max(1, round(test_fraction * count)) if test_fraction else 0)
    held_out = max(1, round(validation_fraction * trained))
    if trained - held_out < 1:
        raise InputError(
            f"{path} holds {count} sequence(s), too few for three splits. Cut long sequences into "
            "several, lower the shares, or set axes to those of one recording (tcyx)."
        )
    return {
        "train": range(trained - held_out),
        "validation": range(trained - held_out, trained),
        "test": range(trained, count),
    }


def check_alike(
    sequences: Mapping[str, Sequences], paths: Mapping[str, str | Sequence[str]]
) -> None:
    """Raise `InputError` unless training and test sequences have frames of one kind."""
    one, other = sequences["train"], sequences["test"]
    if one.frame_shape != other.frame_shape or one.dtype != other.dtype:
        raise InputError(
            f"Frames of {shown(paths['train'])} are {one.dtype} {one.frame_shape}, but those of "
            f"{shown(paths['test'])} are {other.dtype} {other.frame_shape}. Convert one."
        )
