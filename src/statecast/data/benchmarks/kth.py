"""KTH human actions: people who walk, run, box and wave in front of a fixed camera."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from statecast.data.base import Split
from statecast.data.benchmarks.prepared_source import Count, Origin
from statecast.data.benchmarks.source_files import matching_files
from statecast.data.benchmarks.stored_windows import ClipSource, every_start, hold_out
from statecast.data.benchmarks.video_frames import decode_frames
from statecast.data.cache.frame_store import Kind, StoreWriter
from statecast.data.progress import progress
from statecast.errors import FileError, InputError

Array = np.ndarray[Any, np.dtype[Any]]

ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
FILE_NAME = re.compile(rf"person(\d\d)_({'|'.join(ACTIONS)})_d(\d)_uncomp\.avi")
LAST_TRAINED = 20  # persons up to this one are for training, the others for tests
PERSONS, TRIALS = 25, 4
VIDEOS = 599  # as distributed: one of 25 × 6 × 4 is missing
RATE = 25.0  # frames per second
SIDE = 64
TEST_SEED = 42  # of NumPy's older generator, as published


class KTH(ClipSource):
    """Videos of six actions by 25 persons, grey, 64×64, at 25 frames per second.

    Persons 1 to 20 are for training, a twentieth of their videos for validation. Persons 21 to 25
    are for tests, as clips drawn at random with a fixed seed.

    Data: Schuldt et al. (2004), https://doi.org/10.1109/ICPR.2004.1334462; splits and clips as
    Franceschi et al. (2020), https://arxiv.org/abs/2002.09219.

    Args:
        path: folder of the prepared store; by default in the cache.
        context: frames observed.
        horizon: frames forecast in training.
        validation_horizon: frames forecast in validation.
        test_horizon: frames forecast in tests.
        test_clips: number of test clips.
    """

    kind = Kind("kth", 1, (1, SIDE, SIDE), "|u1")
    channels = ("intensity",)
    origin = Origin(
        title="KTH human actions",
        source="https://www.csc.kth.se/cvap/actions/",
        licence="given for research by its makers, who ask to be cited; not ours to pass on",
        files="personNN_ACTION_dK_uncomp.avi, in folders of any name",
        reference="Schuldt et al. (2004), https://doi.org/10.1109/ICPR.2004.1334462",
    )

    def __init__(
        self,
        *,
        path: str | None = None,
        context: int = 10,
        horizon: int = 10,
        validation_horizon: int | None = 20,
        test_horizon: int = 30,
        test_clips: int = 1000,
    ) -> None:
        super().__init__(
            path=path, context=context, horizon=horizon,
            validation_horizon=validation_horizon, test_horizon=test_horizon,
        )  # fmt: skip
        self.test_clips = test_clips
        if test_clips < 1:
            raise InputError(f"kth needs at least 1 test clip, got {test_clips}.")

    def starts(self, split: Split, span: int) -> Array:
        sequences = self.store.sequences
        if split == "test":
            return self.drawn_clips(span)
        chosen = [n for n, one in enumerate(sequences) if one.labels["person"] <= LAST_TRAINED]
        return every_start(sequences, hold_out(chosen, split), span, of=split)

    def drawn_clips(self, length: int) -> Array:
        """Test clips: action, person, trial and start, each drawn in turn, as published.

        A video that is missing or too short is drawn again.
        """
        sequences = self.store.sequences
        videos = {
            (one.labels["action"], one.labels["person"], one.labels["trial"]): number
            for number, one in enumerate(sequences)
            if one.labels["person"] > LAST_TRAINED and one.frames >= length
        }
        if not videos:
            raise InputError(
                f"No test video holds a clip of {length} frames. Shorten context or test_horizon."
            )
        draw = np.random.RandomState(TEST_SEED).randint
        clips: list[tuple[int, int]] = []
        while len(clips) < self.test_clips:
            key = (
                ACTIONS[draw(len(ACTIONS))],
                int(draw(LAST_TRAINED + 1, PERSONS + 1)),
                int(draw(1, TRIALS + 1)),
            )
            if key in videos:
                clips.append((videos[key], draw(sequences[videos[key]].frames - length + 1)))
        return np.array(clips)

    @property
    def card(self) -> dict[str, Any]:
        return super().card | {"test_clips": self.test_clips}

    @classmethod
    def write(cls, source: Path, writer: StoreWriter) -> list[Count]:
        found = matching_files(source, FILE_NAME, expected=cls.origin.files)
        persons = {int(match[1]) for _, match in found.values()}
        for which, there in (
            (f"1 to {LAST_TRAINED}", min(persons) <= LAST_TRAINED),
            (f"{LAST_TRAINED + 1} to {PERSONS}", max(persons) > LAST_TRAINED),
        ):
            if not there:
                raise FileError(f"{source} holds no videos of persons {which}, needed for a split.")
        for name, (path, match) in progress(list(found.items()), "preparing kth"):
            labels = {"person": int(match[1]), "action": match[2], "trial": int(match[3])}
            writer.add(name.removesuffix("_uncomp.avi"), grey_frames(path), labels)
        return [Count("videos", len(found), VIDEOS), Count("persons", len(persons), PERSONS)]


def grey_frames(path: Path) -> Iterator[Array]:
    """Frames (1, y, x) of a video: its first channel, scaled as FFmpeg does by default."""
    for frame in decode_frames(path, "avi", rate=RATE, size=(SIDE, SIDE)):
        yield frame[None, :, :, 0]
