"""KTH and Human3.6M from AVI and MP4 files: decoding, splits, clips as published."""

import numpy as np
import pytest
import torch
from helpers.fake_benchmark_files import halves, human_folder, kth_folder, write_video

from statecast.data.benchmarks.human36m import Human36M, cropped_frames
from statecast.data.benchmarks.kth import KTH
from statecast.data.benchmarks.video_frames import decode_frames
from statecast.data.prepare import prepare
from statecast.errors import CorruptionError, FileError, InputError, MissingExtraError

SHORT = {"context": 3, "horizon": 2, "validation_horizon": 2, "test_horizon": 4}
SPARSE = {"context": 2, "horizon": 1, "validation_horizon": 1, "test_horizon": 2, "frame_step": 2}


@pytest.fixture(scope="module")
def kth(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kth")
    return prepare("kth", kth_folder(folder / "source"), folder / "store")


@pytest.fixture(scope="module")
def human(tmp_path_factory):
    folder = tmp_path_factory.mktemp("human")
    return prepare("human36m", human_folder(folder / "source"), folder / "store")


def test_kth_frames_are_the_videos_own_grey_and_in_order(kth):
    names = [one.name for one in kth.store.sequences]
    assert names == [f"person{person:02d}_boxing_d1" for person in (1, 2, 3, 21)]
    for sequence, person in zip(kth.store.sequences, (1, 2, 3, 21), strict=True):
        assert sequence.labels == {"person": person, "action": "boxing", "trial": 1}
        frames = kth.store.frames[sequence.first : sequence.first + 10, 0].astype(int)
        levels = 100 + 3 * person + np.arange(10)
        assert np.abs(frames[:, 4:60, 36:60].mean(axis=(1, 2)) - levels).max() < 3
        assert frames[:, 4:60, 4:28].max() < 8  # the black half is at the left
    assert "4 videos were found, but 599 were expected" in kth.warnings[0]


def test_kth_splits_are_by_person(kth):
    data = KTH(path=str(kth.store.folder), **SHORT)
    sequences, people = kth.store.sequences, {}
    for split in ("train", "validation", "test"):
        chosen = np.unique(data.windows(split).starts[:, 0])
        people[split] = {sequences[number].labels["person"] for number in chosen}
    assert people["train"] | people["validation"] == {1, 2, 3}
    assert not people["train"] & people["validation"]
    assert people["test"] == {21}


def test_kth_clips_follow_the_published_draws(kth):
    windows = KTH(path=str(kth.store.folder), **SHORT, test_clips=7).windows("test")
    state, expected = np.random.RandomState(42), []
    while len(expected) < 7:
        action, person, trial = state.randint(6), state.randint(21, 26), state.randint(1, 5)
        if (action, person, trial) == (0, 21, 1):  # the only test video that is there
            expected.append([3, state.randint(10 - 7 + 1)])
    assert windows.starts.tolist() == expected
    assert KTH(path=str(kth.store.folder), **SHORT, test_clips=7).windows("test").digest == (
        windows.digest
    )


def test_kth_without_persons_of_a_split_is_refused(tmp_path):
    source = kth_folder(tmp_path / "source", persons=(1, 2), length=3)
    with pytest.raises(FileError, match="no videos of persons 21 to 25"):
        prepare("kth", source, tmp_path / "store")
    twice = source / "again" / "person01_boxing_d1_uncomp.avi"
    twice.parent.mkdir()
    twice.write_bytes(b"")
    with pytest.raises(InputError, match="have the same name"):
        prepare("kth", source, tmp_path / "store")


def test_human_frames_are_cropped_and_subjects_in_the_published_order(human):
    names = [one.name for one in human.store.sequences]
    assert names == [f"S{s}-Walking 1.54138969" for s in ("1", "11", "5", "6", "7", "8", "9")]
    for sequence in human.store.sequences:
        frames = human.store.frames[sequence.first : sequence.first + 9].astype(int)
        levels = 100 + 5 * sequence.labels["subject"] + np.arange(9)
        assert np.abs(frames[..., 36:].mean(axis=(1, 2, 3)) - levels).max() < 2
        assert frames[..., :28].max() < 8


def test_human_windows_take_every_so_many_frames_and_clips_follow_the_published_draws(human):
    data = Human36M(path=str(human.store.folder), **SPARSE, test_clips=6)
    windows = data.windows("test")
    state, tested = np.random.RandomState(42), [1, 6]
    expected = [[tested[state.randint(2)], state.randint(9 - 7 + 1)] for _ in range(6)]
    assert windows.starts.tolist() == expected
    seen = windows.batch(torch.arange(6)).values[:, :, 0, 32, 50] * 255
    steps = seen.diff(dim=1)
    assert (steps - 2).abs().max() < 1.5  # levels rise by 1 a frame
    chosen = [human.store.sequences[n].labels["subject"] for n in windows.starts[:, 0]]
    assert set(chosen) <= {9, 11}


def test_human_without_a_subject_is_refused(tmp_path):
    source = human_folder(tmp_path / "source", subjects=(1, 5), length=1)
    with pytest.raises(FileError, match="no videos of subject 6: expected S1/Videos"):
        prepare("human36m", source, tmp_path / "store")


def test_videos_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "video.mp4"
    write_video(path, halves([100] * 3, 640, 640), rate=50)
    with pytest.raises(InputError, match="at least 900×900, got 640×640"):
        list(cropped_frames(path))
    with pytest.raises(InputError, match="25 frames per second, got 50"):
        list(decode_frames(path, "mp4", rate=25))
    with pytest.raises(FileError, match="not an AVI file"):
        list(decode_frames(path, "avi", rate=50))
    with pytest.raises(FileError, match="cannot be read"):
        list(decode_frames(tmp_path / "gone.avi", "avi", rate=50))


def test_frames_too_large_for_the_data_set_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "video.avi"
    write_video(path, halves([100] * 2, 64, 80), rate=25)
    monkeypatch.setattr("statecast.data.benchmarks.video_frames.LARGEST_FRAME", 64 * 79)
    with pytest.raises(InputError, match="frames of 64×80, larger than any"):
        list(decode_frames(path, "avi", rate=25))


@pytest.mark.parametrize("name", ["video.avi", "video.mp4"])
def test_a_cut_off_video_is_refused(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (40, 120, 160, 3), np.uint8)
    write_video(path, noise, rate=25)
    assert len(list(decode_frames(path, path.suffix[1:], rate=25))) == 40
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        CorruptionError, match=r"video.(avi|mp4)( should hold| is cut off|: frame \d+ is damaged)"
    ):
        list(decode_frames(path, path.suffix[1:], rate=25))


def test_without_pyav_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"statecast\[video\]"):
        list(decode_frames(tmp_path / "any.avi", "avi", rate=25))


def test_a_playlist_in_the_clothes_of_a_video_opens_nothing(tmp_path):
    path = tmp_path / "person01_boxing_d1_uncomp.avi"
    path.write_text("ffconcat version 1.0\nfile /etc/hostname\n")
    with pytest.raises(FileError, match="not an AVI file: it begins with b'ffconcat ver'"):
        list(decode_frames(path, "avi", rate=25))
