"""Human3.6M: actors in a room, filmed by four cameras."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from statecast.data.base import Split
from statecast.data.benchmarks.prepared_source import Count, Origin
from statecast.data.benchmarks.stored_windows import ClipSource, every_start, hold_out
from statecast.data.benchmarks.video_frames import decode_frames
from statecast.data.cache.frame_store import Kind, StoreWriter
from statecast.data.progress import progress
from statecast.errors import FileError, InputError

Array = np.ndarray[Any, np.dtype[Any]]

TRAINED, TESTED = (1, 5, 6, 7, 8), (9, 11)  # subjects
CROP = (100, 100, 900, 900)  # left, top, right, bottom, pixels
RATE = 50.0  # frames per second
SIDE = 64
TEST_SEED = 42  # of NumPy's older generator, as published
SKIPPED = "_"  # first character in the names of files that join several videos


class Human36M(ClipSource):
    """Videos of everyday actions by 7 actors, RGB, 64×64, every 8th frame of 50 per second.

    Subjects 1, 5, 6, 7, 8 are for training, a twentieth of their videos for validation. Subjects
    9 and 11 are for tests, as clips drawn at random with a fixed seed. All frames are stored: a
    window begins at any frame and takes every eighth from there, as published.

    Data: Ionescu et al. (2014), https://doi.org/10.1109/TPAMI.2013.248; preparation and clips as
    Franceschi et al. (2020), https://arxiv.org/abs/2002.09219.

    Args:
        path: folder of the prepared store; by default in the cache.
        context: frames observed.
        horizon: frames forecast in training.
        validation_horizon: frames forecast in validation.
        test_horizon: frames forecast in tests.
        frame_step: stored frames from one frame of a window to the next.
        test_clips: number of test clips.
    """

    kind = Kind("human36m", 1, (3, SIDE, SIDE), "|u1")
    channels = ("red", "green", "blue")
    origin = Origin(
        title="Human3.6M",
        source="http://vision.imar.ro/human3.6m/",
        licence="its makers' own, for academic use, on registration; not ours to pass on",
        files="S1/Videos/*.mp4, and so for S5, S6, S7, S8, S9 and S11",
        reference="Ionescu et al. (2014), https://doi.org/10.1109/TPAMI.2013.248",
    )

    def __init__(
        self,
        *,
        path: str | None = None,
        context: int = 8,
        horizon: int = 8,
        validation_horizon: int | None = 45,
        test_horizon: int = 45,
        frame_step: int = 8,
        test_clips: int = 1000,
    ) -> None:
        super().__init__(
            path=path, context=context, horizon=horizon,
            validation_horizon=validation_horizon, test_horizon=test_horizon,
        )  # fmt: skip
        self.frame_step, self.test_clips = frame_step, test_clips
        if min(frame_step, test_clips) < 1:
            raise InputError(
                "human36m needs frame_step and test_clips of at least 1, got "
                f"{frame_step} and {test_clips}."
            )

    def starts(self, split: Split, span: int) -> Array:
        sequences = self.store.sequences
        if split == "test":
            return self.drawn_clips(span)
        chosen = [n for n, one in enumerate(sequences) if one.labels["subject"] in TRAINED]
        return every_start(sequences, hold_out(chosen, split), span, of=split)

    def drawn_clips(self, span: int) -> Array:
        """Test clips: video and start, each drawn in turn, as published.

        A video that is too short is drawn again; no published video is too short.
        """
        sequences = self.store.sequences
        tested = [n for n, one in enumerate(sequences) if one.labels["subject"] in TESTED]
        if all(sequences[number].frames < span for number in tested):
            raise InputError(
                f"No test video holds a clip of {span} frames. Shorten context or test_horizon."
            )
        draw = np.random.RandomState(TEST_SEED).randint
        clips: list[tuple[int, int]] = []
        while len(clips) < self.test_clips:
            number = tested[draw(len(tested))]
            if sequences[number].frames >= span:
                clips.append((number, draw(sequences[number].frames - span + 1)))
        return np.array(clips)

    @property
    def card(self) -> dict[str, Any]:
        return super().card | {"frame_step": self.frame_step, "test_clips": self.test_clips}

    @classmethod
    def write(cls, source: Path, writer: StoreWriter) -> list[Count]:
        found = []
        for subject in (*TRAINED, *TESTED):
            videos = subject_videos(source, subject)
            if not videos:
                raise FileError(
                    f"{source} holds no videos of subject {subject}: expected {cls.origin.files}."
                )
            found += [(f"S{subject}-{path.stem}", subject, path) for path in videos]
        # In the order of the published listing, on which the draws of test clips depend.
        found.sort(key=lambda video: f"{video[0]}.npz")
        for name, subject, path in progress(found, "preparing human36m"):
            writer.add(name, cropped_frames(path), {"subject": subject})
        return [Count("videos", len(found), None)]


def subject_videos(source: Path, subject: int) -> list[Path]:
    """Videos of a subject, in its folder or in the folder Videos inside it."""
    folder = source / f"S{subject}"
    if (folder / "Videos").is_dir():
        folder = folder / "Videos"
    return [path for path in sorted(folder.glob("*.mp4")) if not path.name.startswith(SKIPPED)]


def cropped_frames(path: Path) -> Iterator[Array]:
    """Frames (channel, y, x) of a video, cropped and then resized."""
    from PIL import Image

    for frame in decode_frames(path, "mp4", rate=RATE):
        if frame.shape[0] < CROP[3] or frame.shape[1] < CROP[2]:
            raise InputError(
                f"{path} should have frames of at least {CROP[3]}×{CROP[2]}, got "
                f"{frame.shape[0]}×{frame.shape[1]}."
            )
        image = Image.fromarray(frame).crop(CROP).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
        yield np.asarray(image).transpose(2, 0, 1)
