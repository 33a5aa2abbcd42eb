"""Videos: split first, cut afterwards, decoded once; what cannot be read is refused or named."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.sample_videos import cut, noise, ramp, write_video
from PIL import Image

from statecast.data.base import SPLITS
from statecast.data.user.video_splits import Wanted, clip_lengths
from statecast.data.user.videos import Videos
from statecast.errors import CorruptionError, FileError, InputError
from statecast.io.video import decoding

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def folder(tmp_path):
    """Ten lossless clips of different lengths, frames alike nowhere."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(10):
        write_video(folder / f"clip{number}.mkv", clip(number))
    return folder


def clip(number):
    return noise(8 + number % 3, seed=number)


def open_videos(folder, **options):
    options = {"size": 32, "colour": "rgb", "context": 2, "horizon": 3} | options
    return Videos(path=str(folder), **options)


def entries(cache):
    return sorted(path.name for path in cache.iterdir())


def test_windows_hold_the_frames_of_their_clips(folder):
    data = open_videos(folder, test_horizon=5, window_stride=2)
    assert {s: [n for n, _, _ in part] for s, part in data.parts.items()} == {
        "train": list(range(8)), "validation": [8], "test": [9],
    }  # fmt: skip
    for split in SPLITS:
        windows, length = data.windows(split), 7 if split == "test" else 5
        expected = [
            clip(number)[start : start + length]
            for number, _, _ in data.parts[split]
            for start in range(0, len(clip(number)) - length + 1, 2)
        ]
        batch = windows.batch(torch.arange(len(windows)))
        values = np.stack(expected).transpose(0, 1, 4, 2, 3) / np.float32(255)
        torch.testing.assert_close(batch.values, torch.from_numpy(values))
    assert data.spec.channels == ("red", "green", "blue")
    assert data.spec.value_range == (0.0, 1.0)


def test_videos_are_decoded_once(folder, cache, monkeypatch):
    first = open_videos(folder)
    names = entries(cache)
    assert len(names) == 1
    monkeypatch.setattr(decoding, "opened", None)  # decoding again would fail
    again = open_videos(folder, context=1, horizon=2)
    assert entries(cache) == names
    assert isinstance(again.store.frames, np.memmap)
    assert first.windows("test").digest != again.windows("test").digest


def test_other_options_or_files_are_another_entry(folder, cache):
    open_videos(folder)
    open_videos(folder, size=16)
    assert len(entries(cache)) == 2
    write_video(folder / "clip3.mkv", noise(9, seed=99))
    data = open_videos(folder)
    assert len(entries(cache)) == 3
    found = data.windows("train").batch(torch.arange(len(data.windows("train")))).values
    expected = torch.from_numpy(noise(9, seed=99)[0].transpose(2, 0, 1) / np.float32(255))
    assert any(torch.equal(window[0], expected) for window in found)


def test_a_damaged_entry_is_refused(folder, cache):
    open_videos(folder)
    (shard,) = cache.rglob("frames.bin")
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    with pytest.raises(CorruptionError, match="differs from its recorded digest"):
        open_videos(folder)
    shard.unlink()
    with pytest.raises(CorruptionError, match="cannot be read"):
        open_videos(folder)
    shutil.rmtree(next(iter(cache.iterdir())))
    open_videos(folder)


def broken(folder):
    """A folder with clips that are cut off, text, and cut within their frames."""
    cut(folder / "clip0.mkv", 0.5)
    (folder / "clip4.mp4").write_text("ffconcat version 1.0\nfile clip1.mkv\n")
    (folder / "clip7.mkv").write_bytes(b"")
    return folder


def test_damaged_videos_are_refused_by_name(folder, cache):
    with pytest.raises(CorruptionError, match=r"clip0\.mkv is cut off .* on_error: skip"):
        open_videos(broken(folder))
    assert entries(cache) == []


def test_or_skipped_named_and_counted(folder):
    data = open_videos(broken(folder), on_error="skip")
    assert sorted(data.card["skipped"]) == ["clip0.mkv", "clip4.mp4", "clip7.mkv"]
    assert data.card["videos"] == 8
    said = " ".join(choice.chosen for choice in data.inferred_options)
    assert "3 damaged: clip0.mkv, clip4.mp4, clip7.mkv" in said
    first = data.windows("train").batch(torch.tensor([0])).values[0, 0]
    expected = torch.from_numpy(clip(1)[0].transpose(2, 0, 1) / np.float32(255))
    torch.testing.assert_close(first, expected)  # nothing of the cut one is left before it
    assert json.loads(json.dumps(data.card)) == data.card


def test_nothing_but_damaged_videos_is_an_error(tmp_path):
    (tmp_path / "a.mp4").write_text("text")
    with pytest.raises(FileError, match="None of 1 video"):
        open_videos(tmp_path, on_error="skip")


def test_clips_too_short_for_a_window_are_named(folder):
    write_video(folder / "clip1.mkv", noise(1))
    data = open_videos(folder)
    assert data.short == ["clip1.mkv"]
    assert 1 not in data.windows("train").starts[:, 0]
    assert any("1 too short for a window: clip1.mkv" in c.chosen for c in data.inferred_options)
    with pytest.raises(InputError, match=r"No video holds a train window of 42 frames"):
        open_videos(folder, context=40, horizon=2)


@pytest.mark.parametrize("seed", [None, 3])
def test_splits_are_disjoint_whatever_the_shares(folder, seed):
    for split_fractions in (
        (0.8, 0.1, 0.1),
        (0.1, 0.1, 0.8),
        (0.34, 0.33, 0.33),
        (0.98, 0.01, 0.01),
    ):
        data = open_videos(folder, split_fractions=split_fractions, shuffle=seed)
        clips = [number for part in data.parts.values() for number, _, _ in part]
        assert sorted(clips) == list(range(10))
        assert all(data.parts.values())
        assert (clips == sorted(clips)) == (seed is None)


def test_folders_of_splits_are_taken_as_they_are(folder):
    for number in range(10):
        name = "train" if number < 6 else "test"
        (folder / name).mkdir(exist_ok=True)
        (folder / f"clip{number}.mkv").rename(folder / name / f"clip{number}.mkv")
    data = open_videos(folder)
    splits = {s: [name for name, _, _ in part] for s, part in data.card["splits"].items()}
    assert splits["test"] == [f"test/clip{n}.mkv" for n in range(6, 10)]
    assert splits["train"] + splits["validation"] == [f"train/clip{n}.mkv" for n in range(6)]
    write_video(folder / "stray.mkv", noise(8))
    with pytest.raises(InputError, match=r"got stray\.mkv"):
        open_videos(folder, split="folder")


def test_one_video_is_split_in_time(tmp_path):
    write_video(tmp_path / "a.mkv", noise(60))
    for options, gap in (({"split_gap": 3}, 3), ({}, open_videos(tmp_path).lengths.context)):
        data = open_videos(tmp_path, **options)
        assert data.split == "time"
        (start, one), (two, three), (four, end) = (data.parts[s][0][1:] for s in SPLITS)
        assert (start, two - one, four - three, end) == (0, gap, gap, 60)
    with pytest.raises(InputError, match="too few"):
        open_videos(tmp_path, split="video")


def test_lengths_are_what_there_is_room_for(folder):
    data = Videos(path=str(folder), size=8)
    chosen = {c.option: c.value for c in data.inferred_options if c.option}
    assert data.lengths.context + data.lengths.horizon <= 8
    assert chosen["context"] == data.lengths.context >= 2
    assert chosen["split"] == "video"


def test_a_batch_may_be_larger_than_the_split(folder):
    windows = open_videos(folder, window_stride=100).windows("train")
    assert len(windows) == 8
    batch = windows.training_batch(0, 20, seed=1)
    assert len(batch) == 20
    assert torch.equal(batch.values, windows.training_batch(0, 20, seed=1).values)


def test_folders_of_images_need_no_decoder(tmp_path, monkeypatch):
    for number in range(4):
        place = tmp_path / "images" / f"clip{number}"
        place.mkdir(parents=True)
        for time, frame in enumerate(ramp(6, 8, 8)):
            Image.fromarray(frame).save(place / f"{time}.png")
    monkeypatch.setattr("statecast.data.user.videos.require", None)
    data = Videos(path=str(tmp_path / "images"), size=8, context=2, horizon=2)
    values = data.windows("train").batch(torch.tensor([0])).values
    expected = torch.tensor([10.0, 30.0, 50.0, 70.0]) / 255
    torch.testing.assert_close(values[0, :, 0, 0, 0], expected)


def test_a_missing_decoder_is_not_a_damaged_video(folder, monkeypatch):
    def missing(*_):
        raise ImportError("no av")

    monkeypatch.setattr("statecast.data.user.videos.require", missing)
    with pytest.raises(ImportError):
        open_videos(folder, on_error="skip")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": None}, "Which videos"),
        ({"window_stride": 0}, "window_stride"),
        ({"split_fractions": (0.5, 0.5, 0.5)}, "add up to 1"),
        ({"context": 0}, "at least 1"),
        ({"crop": (0, 0, 90, 90)}, "but the crop"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, options, message):
    with pytest.raises(InputError, match=message):
        Videos(**({"path": str(folder), "context": 2, "horizon": 3} | options))


def test_paths_of_a_card_are_those_below_the_folder(folder):
    card = open_videos(folder).card
    assert not any(Path(name).is_absolute() for name, _, _ in card["splits"]["train"])


@pytest.mark.parametrize(("frames", "part"), [(90, 11), (192, 24), (2000, 400)])
def test_a_single_clip_leaves_several_windows_to_its_splits(frames, part):
    parts = {name: [(0, 0, part)] for name in SPLITS} | {"train": [(0, 0, frames)]}
    found = clip_lengths(parts, Wanted(None, None, None, None))
    for split in ("validation", "test"):
        windows = part - found.context - found.horizon_of(split) + 1
        assert windows >= found.horizon_of(split)
    several = {name: [(n, 0, 24) for n in range(3)] for name in SPLITS}
    assert clip_lengths(several, Wanted(5, 10, None, None)).test_horizon == 19
