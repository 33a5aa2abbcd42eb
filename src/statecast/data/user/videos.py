"""Videos: your own videos and folders of images, decoded once and kept as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal

from statecast.data.base import DataSource, InferredOption, Split
from statecast.data.cache.frame_store import Kind, PreparedStore, StoreWriter, cached_frames
from statecast.data.progress import progress
from statecast.data.user.field_splits import window_starts
from statecast.data.user.video_splits import (
    SplitBy,
    Wanted,
    chosen_split,
    cut_clips,
    shown_fractions,
)
from statecast.data.user.video_windows import ClipWindows
from statecast.errors import FileError, InputError, require
from statecast.frames import FrameSpec
from statecast.io.video.discovery import find_clips
from statecast.io.video.options import ClipOptions, Colour, Crop, Resampling, as_crop, pair
from statecast.io.video.preprocessing import prepared_frames
from statecast.io.video.remarks import ClipFacts, ClipTimes, bits_used, remarks_on

VERSION = 2  # changes when the same options give other frames
NAMED = 5  # clips that a message names


class Videos(DataSource):
    """Your own videos, and folders of images that are frames of videos.

    They are decoded once, cropped and resized, and kept as bytes in the cache folder; a batch has
    values in [0, 1]. Videos may differ in length and size.

    Args:
        path: a folder, which is searched with its sub-folders, a video file, a pattern such as
            `clips/*.mp4`, or a list of them. A folder of images is one video, in the order of the
            numbers in their names, or several if the names differ before the number. A TIFF with
            several pages is one video.
        size: height and width of a frame in pixels; one number for both.
        crop: `centre` keeps the largest part from the middle that has the shape of `size`; `none`
            squeezes the whole frame; or a box [left, top, right, bottom] in pixels.
        resampling: `area` averages pixels, `lanczos` is sharper.
        colour: `grey` or `rgb`.
        frames_per_second: frames to take per second of video, by its time stamps: at each tick,
            the frame shown then. By default every frame, whatever its time.
        frame_step: take every N-th frame.
        bits: bits that images of more than 8 bits use, such as 12; by default the fewest of 8, 10,
            12, 14 and 16 that hold all their values.
        split: `folder` splits by folders named train, validation and test; `video` by whole
            videos, in the order of their names; `time` splits every video in time; `auto` takes
            the first of these that is possible.
        split_fractions: of training, validation and tests, in this order.
        split_gap: frames left out between splits in time; by default as many as are observed, or
            fewer if windows would not fit.
        shuffle: seed that shuffles videos before they are split; by default they stay in order,
            so that pieces of one recording, named alike, stay together.
        context: frames observed; by default, like the other lengths, chosen to fit the videos.
        horizon: frames forecast in training.
        test_horizon: frames forecast in tests.
        validation_horizon: frames forecast in validation; by default as in training.
        window_stride: frames between the starts of windows.
        on_error: `refuse` a damaged video, or `skip` it and name it in the output and the card.
        follow_links: whether to accept links that lead out of a folder.
    """

    def __init__(
        self,
        *,
        path: tuple[str, ...] | str | None = None,
        size: tuple[int, int] | int = 64,
        crop: Crop = "centre",
        resampling: Resampling = "area",
        colour: Colour = "grey",
        frames_per_second: float | None = None,
        frame_step: int = 1,
        bits: int | None = None,
        split: SplitBy = "auto",
        split_fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        split_gap: int | None = None,
        shuffle: int | None = None,
        context: int | None = None,
        horizon: int | None = None,
        test_horizon: int | None = None,
        validation_horizon: int | None = None,
        window_stride: int = 1,
        on_error: Literal["refuse", "skip"] = "refuse",
        follow_links: bool = False,
    ) -> None:
        if not path:
            raise InputError("Which videos? Name a folder: --data.path my_videos.")
        if window_stride < 1:
            raise InputError(f"window_stride must be at least 1, got {window_stride}.")
        self.options = ClipOptions(
            size=pair(size), crop=as_crop(crop),
            resampling=resampling, colour=colour, frames_per_second=frames_per_second,
            frame_step=frame_step, bits=bits,
        )  # fmt: skip
        self.on_error, self.window_stride, self.shuffle = on_error, window_stride, shuffle
        self.found, self.ignored = find_clips(path, follow_links=follow_links)
        self.bits_found = bits_used(self.found) if bits is None else None
        self.options = replace(self.options, bits=bits or self.bits_found)
        self.wanted = Wanted(context, horizon, validation_horizon, test_horizon)
        self.asked_split = split
        self.store = self.decoded()
        names, frames = zip(
            *((clip.name, clip.frames) for clip in self.store.sequences), strict=True
        )
        self.split = chosen_split(split, names)
        self.asked_gap = split_gap
        self.split_gap, self.parts, self.lengths, short = cut_clips(
            names, frames, self.split,
            split_fractions=split_fractions, split_gap=split_gap, seed=shuffle, wanted=self.wanted,
        )  # fmt: skip
        self.short = sorted(names[number] for number in short)

    def decoded(self) -> PreparedStore:
        """All videos, decoded, from the cache or now.

        Errors:
            FileError, CorruptionError: a video cannot be read and is not skipped, or none can.
        """
        if not all(clip.images for clip in self.found):
            require("av", "video", "read videos")  # otherwise every video would seem damaged
        identity = {
            "version": VERSION,
            "options": {**asdict(self.options), "size": list(self.options.size)},
            "on_error": self.on_error,
            "files": [[clip.name, clip.stamp] for clip in self.found],
        }
        if not isinstance(self.options.crop, str):
            identity["options"]["crop"] = list(self.options.crop)  # type: ignore[index]
        return cached_frames(
            Kind("videos", VERSION, self.options.shape, "|u1"), identity, self.build
        )

    def build(self, writer: StoreWriter) -> dict[str, Any]:
        """Decode all videos, and return facts about them and the reason for each skipped one."""
        skipped: dict[str, str] = {}
        facts: dict[str, ClipFacts] = {}
        for clip in progress(self.found, "decoding videos", unit="video"):
            seen = ClipTimes()
            try:
                writer.add(clip.name, prepared_frames(clip, self.options, seen))
                facts[clip.name] = seen.facts
            except FileError as error:
                if self.on_error == "refuse":
                    raise type(error)(
                        f"{error} Repair or remove it, or set on_error: skip to leave it out."
                    ) from error
                skipped[clip.name] = str(error)
        if not writer.sequences:
            first = next(iter(skipped.values()))
            raise FileError(f"None of {len(skipped)} video(s) can be read; the first: {first}")
        return {"skipped": skipped, "facts": facts}

    @property
    def skipped(self) -> dict[str, str]:
        """Videos that could not be read, and why."""
        return dict(self.store.notes["skipped"])

    @property
    def spec(self) -> FrameSpec:
        return FrameSpec(
            channels=self.options.channels,
            space=self.options.size,
            context=self.lengths.context,
            horizon=self.lengths.horizon,
            value_range=(0.0, 1.0),
        )

    def windows(self, split: Split) -> ClipWindows:
        length = self.lengths.context + self.lengths.horizon_of(split)
        return ClipWindows(
            self.store,
            window_starts(self.parts[split], length, self.window_stride),
            context=self.lengths.context,
            length=length,
            channels=self.options.channels,
        )

    @property
    def card(self) -> dict[str, Any]:
        crop = self.options.crop
        names = [clip.name for clip in self.store.sequences]
        return {
            "name": "videos",
            **asdict(self.options),
            "size": list(self.options.size),
            "crop": crop if isinstance(crop, str) else list(crop),
            "videos": len(names),
            "frames": sum(clip.frames for clip in self.store.sequences),
            "skipped": self.skipped,
            "passed_over": self.ignored,
            "too_short": self.short,
            "split": self.split,
            "splits": {
                split: [[names[number], start, stop] for number, start, stop in part]
                for split, part in self.parts.items()
            },
            "split_gap": self.split_gap,
            "shuffle": self.shuffle,
            **self.lengths._asdict(),
            "window_stride": self.window_stride,
            "version": VERSION,
            "source": "files of the user's",
            "licence": "see the files' owner",
        }

    @property
    def inferred_options(self) -> Sequence[InferredOption]:
        frames = sum(clip.frames for clip in self.store.sequences)
        height, width = self.options.size
        found = [
            InferredOption("videos", f"{len(self.store.sequences)}, {frames} frames"),
            InferredOption(
                "frames", f"{height}×{width}, {self.options.colour}, crop {self.options.crop}"
            ),
        ]
        if self.asked_split == "auto":
            found.append(InferredOption("split", f"by {self.split}", "split", self.split))
        found.append(InferredOption("splits", shown_fractions(self.parts)))
        if self.split == "time" and self.asked_gap is None:
            between = f"{self.split_gap} frames between splits belong to none"
            found.append(InferredOption("split_gap", between, "split_gap", self.split_gap))
        asked = self.wanted._asdict()
        for name, value in self.lengths._asdict().items():
            if asked[name] is None:
                found.append(InferredOption(name, f"{value} frames", name, value))
        if self.bits_found is not None:
            bits = self.bits_found
            found.append(InferredOption("bits", f"{bits}, by the largest value", "bits", bits))
        facts = {name: ClipFacts(*item) for name, item in self.store.notes["facts"].items()}
        even = self.options.frames_per_second is not None
        found += [InferredOption("note", text) for text in remarks_on(facts, even=even)]
        if self.ignored:
            found.append(InferredOption("passed over", named(self.ignored, "no videos")))
        if self.skipped:
            found.append(InferredOption("skipped", named(self.skipped, "damaged")))
        if self.short:
            found.append(InferredOption("skipped", named(self.short, "too short for a window")))
        return found


def named(names: Iterable[str], why: str) -> str:
    """The first of some clips, and how many there are."""
    everyone = list(names)
    more = f" and {len(everyone) - NAMED} more" if len(everyone) > NAMED else ""
    return f"{len(everyone)} {why}: {', '.join(everyone[:NAMED])}{more}"
