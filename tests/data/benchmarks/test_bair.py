"""BAIR from TFRecord bytes: checksums, fields of Examples, videos in the order of their numbers."""

import builtins

import google_crc32c
import numpy as np
import pytest
import torch
from helpers.fake_benchmark_files import (
    TRAJECTORY,
    bair_folder,
    bair_record,
    bair_series,
    bair_videos,
    example,
    framed,
)

from statecast.data.benchmarks.bair import BAIR
from statecast.data.benchmarks.tfrecords import example_features, read_records
from statecast.data.prepare import prepare
from statecast.errors import CorruptionError, FileError
from statecast.io.crc32c import checksum, crc32c


@pytest.fixture
def source(tmp_path, cache):
    return bair_folder(tmp_path / "source")


def one_file(source, split="test"):
    return source / "softmotion30_44k" / split / TRAJECTORY.format(0, 255)


def test_checksums_are_those_of_the_standard():
    assert crc32c(b"") == 0
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, appendix B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    content = np.random.default_rng(0).bytes(1000)
    assert crc32c(content) == google_crc32c.value(content)


def test_without_google_crc32c_our_own_checks(monkeypatch):
    original = builtins.__import__

    def without(name, *rest):
        if name == "google_crc32c":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert checksum() is crc32c


def test_records_come_back_and_each_byte_of_a_file_is_guarded(tmp_path):
    path, records = tmp_path / "records", [b"abc", b"", bytes(300)]
    content = b"".join(map(framed, records))
    path.write_bytes(content)
    assert list(read_records(path)) == records
    for place in (0, 7, 9, 13, 16, 19, 40, len(content) - 1):
        flipped = bytearray(content)
        flipped[place] ^= 16
        path.write_bytes(flipped)
        with pytest.raises(CorruptionError, match=r"record \d (differs|has a damaged length)"):
            list(read_records(path))
    for length in (5, 13, 17, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(CorruptionError, match="is cut off"):
            list(read_records(path))
    with pytest.raises(FileError, match="cannot be read"):
        list(read_records(tmp_path / "gone"))


def test_fields_of_an_example_are_found_among_others():
    found = example_features(example({"a": b"x" * 300, "b": [1.0, 2.0], "c": b""}))
    floats = found.pop("b")
    assert {name: bytes(value) for name, value in found.items()} == {"a": b"x" * 300, "c": b""}
    assert np.frombuffer(floats, "<f4").tolist() == [1.0, 2.0]
    # Fields that we do not know, of each wire type, are passed over.
    others = b"\x18\x96\x01" + b"\x21" + bytes(8) + b"\x2d" + bytes(4)
    assert bytes(example_features(others + example({"a": b"y"}))["a"]) == b"y"
    for broken in (b"\x0a\xff", b"\x0b", b"\x0a\x05ab", b"\x80" * 12):
        with pytest.raises(ValueError, match=r"cut off|longer|unknown wire type"):
            example_features(broken)


def test_videos_are_those_of_the_files_in_the_order_of_their_numbers(source):
    prepared = prepare("bair", source)
    store = prepared.store
    assert [one.name for one in store.sequences] == [
        "train/00000", "train/00001", "train/00002", "train/00003", "test/00000", "test/00001",
    ]  # fmt: skip
    videos = np.concatenate([bair_videos(2, seed) for seed in (1, 2, 3)])
    frames = store.frames.reshape(6, 30, 3, 64, 64)
    np.testing.assert_array_equal(frames, videos.transpose(0, 1, 4, 2, 3))
    assert prepared.warnings[0].startswith("4 train videos were found, but 43264 were expected")


def test_tests_are_all_test_videos_from_their_first_frame(source):
    prepare("bair", source)
    windows = BAIR().windows("test")
    assert len(windows) == 2
    expected = torch.from_numpy(bair_videos(2, 3).transpose(0, 1, 4, 2, 3) / 255).float()
    torch.testing.assert_close(windows.batch(torch.arange(2)).values, expected)
    assert len(BAIR().windows("train")) == 3 * 19
    assert len(BAIR().windows("validation")) == 19


def test_actions_and_positions_are_those_between_and_of_the_frames(source):
    prepare("bair", source)
    windows, plain = BAIR(actions=True).windows("test"), BAIR().windows("test")
    assert windows.digest == plain.digest  # whose frames are the same
    batch = windows.batch(torch.arange(2))
    series = torch.from_numpy(bair_series(2, 3))
    assert torch.equal(batch.context.actions, series[:, :29, :4])
    assert torch.equal(batch.agent_states, series[:, :, 4:])
    assert len(batch.context.agent_states[0]) == 2
    assert plain.batch(torch.arange(2)).context.actions is None
    spec = BAIR(actions=True).spec
    assert (spec.actions, spec.agent_states) == (4, 3)
    assert (BAIR().spec.actions, BAIR().spec.agent_states) == (0, 0)
    train = BAIR(actions=True).windows("train")
    number = int((train.starts == [1, 7]).all(axis=1).nonzero()[0][0])
    (found,) = train.batch(torch.tensor([number])).context.actions
    assert torch.equal(found, torch.from_numpy(bair_series(2, 1))[1, 7:18, :4])


def test_a_flipped_bit_in_a_file_is_refused_by_name(source):
    path = one_file(source)
    content = bytearray(path.read_bytes())
    content[100_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptionError, match=r"traj_0_to_255.tfrecords: record 0 differs"):
        prepare("bair", source)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (bair_record(bair_videos(1, 0)[0][:29]), "without 29/endeffector_pos"),
        (bair_record(bair_videos(1, 0)[0][:, :32]), r"12288 bytes \(64×64 RGB\), got 6144"),
        (b"\x0b", "no TensorFlow Examples"),
        (bair_record(bair_videos(1, 0)[0], np.zeros((30, 6))), r"pos should have 12 bytes .*got 8"),
    ],
)
def test_a_record_that_is_no_video_is_refused(source, record, said):
    one_file(source).write_bytes(framed(record))
    with pytest.raises(CorruptionError, match=said):
        prepare("bair", source)


def test_a_missing_part_is_named(source):
    one_file(source).unlink()
    with pytest.raises(FileError, match=r"test holds none of softmotion30_44k/train"):
        prepare("bair", source)
    one_file(source).parent.rmdir()
    with pytest.raises(FileError, match="has no folder test"):
        prepare("bair", source)
