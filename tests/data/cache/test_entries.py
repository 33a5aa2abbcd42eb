"""Entries: sealed, made once by one of many, found damaged wherever a byte is wrong."""

import json
import multiprocessing
import os
import signal
import sys
import time

import numpy as np
import pytest
from helpers.prepared_stores import tiny_store

from statecast.cli.main import main
from statecast.data import DATASETS
from statecast.data.cache import entries as store
from statecast.data.cache.entries import (
    ARRAY_NAME,
    MANIFEST_NAME,
    cached,
    folder_or_make,
    open_or_make,
)
from statecast.errors import CorruptionError, FileError
from statecast.io.sealed_json import sealed

pytestmark = pytest.mark.usefixtures("cache")

SHAPE = (4, 3)
PARTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.full((2, 3), 7, np.float32)]
EXPECTED = np.concatenate(PARTS)


def array(parts=PARTS):
    return open_or_make("things", {"seed": 1}, SHAPE, iter(parts))


def entry(cache):
    (folder,) = [path for path in cache.iterdir() if not path.name.startswith(".")]
    return folder


def test_an_array_is_made_once_and_mapped(cache):
    np.testing.assert_array_equal(array(), EXPECTED)
    again = array(parts=[])  # nothing is asked of the parts
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(again, EXPECTED)
    assert open_or_make("things", {"seed": 2}, (1, 3), iter([EXPECTED[:1]])).shape == (1, 3)


@pytest.mark.parametrize("name", [ARRAY_NAME, MANIFEST_NAME])
def test_every_flipped_bit_is_found(cache, name):
    array()
    path = entry(cache) / name
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(CorruptionError, match=rf"{name} .*Delete {path.parent}; it is made"):
            array()
    for cut in (0, 1, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(CorruptionError, match=f"{name} "):
            array()
    path.write_bytes(content + b"\n")
    with pytest.raises(CorruptionError, match=f"{name} "):
        array()
    path.unlink()
    with pytest.raises(CorruptionError, match=f"{name} "):
        array()


def test_files_are_found_damaged_by_name(cache):
    def write(folder):
        for number in range(3):
            (folder / f"zone{number}").write_bytes(bytes([number]) * 9)

    folder = folder_or_make("zones", {}, write)
    assert (folder / "zone1").read_bytes() == b"\x01" * 9
    (folder / "zone2").write_bytes(b"\x02" * 8 + b"\x03")
    with pytest.raises(CorruptionError, match="zone2 differs from its recorded digest"):
        folder_or_make("zones", {}, write)
    (folder / "zone2").unlink()
    with pytest.raises(CorruptionError, match="zone2 cannot be read: No such file"):
        folder_or_make("zones", {}, write)


def test_a_manifest_that_leads_out_of_its_folder_is_refused(cache):
    array()
    path = entry(cache) / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    del manifest["sha256"]
    manifest["files"]["../other"] = manifest["files"][ARRAY_NAME]
    path.write_text(sealed(manifest))
    with pytest.raises(CorruptionError, match="files elsewhere"):
        array(parts=[])


def test_an_error_in_making_leaves_nothing(cache):
    def write(folder):
        (folder / "half").write_text("…")
        raise OSError(28, "No space left on device")

    with pytest.raises(FileError, match=r"the disk is full .*STATECAST_CACHE"):
        cached("things", {}, write)
    assert list(cache.iterdir()) == []


def make_slowly(folder, name, seconds):
    """Make an entry in a process of its own; what it does and says goes to a file."""
    with (folder / name).open("w", buffering=1) as stream:
        sys.stderr = stream

        def parts():
            print("making", file=stream)
            for number in range(4):
                time.sleep(seconds)
                yield np.full((1, 3), number, np.float32)

        print(float(open_or_make("slow", {}, (4, 3), parts()).sum()), file=stream)


def makers(folder, seconds, count):
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=make_slowly, args=(folder, f"said{number}", seconds))
        for number in range(count)
    ]
    for process in processes:
        process.start()
    return processes


def test_of_several_that_make_an_entry_the_others_wait_and_use_what_the_first_made(cache, tmp_path):
    for process in makers(tmp_path, 0.1, 3):
        process.join()
        assert process.exitcode == 0
    said = [(tmp_path / f"said{number}").read_text() for number in range(3)]
    assert sum("making" in text for text in said) == 1
    assert [text.splitlines()[-1] for text in said] == ["18.0"] * 3
    waited = [text for text in said if "is being prepared by process" in text]
    assert [text.count("\n") for text in waited] == [2] * 2
    assert [path.name[:5] for path in cache.iterdir()] == ["slow-"]


def test_what_a_killed_preparation_left_is_removed_by_the_next(cache, tmp_path):
    (process,) = makers(tmp_path, 20, 1)
    while not (tmp_path / "said0").exists() or not (tmp_path / "said0").read_text():
        time.sleep(0.01)
    assert len(list(cache.iterdir())) == 2  # what is being made, and its lock
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    parts = (np.full((1, 3), number, np.float32) for number in range(4))
    assert open_or_make("slow", {}, (4, 3), parts)[3, 0] == 3
    assert [path.name[:5] for path in cache.iterdir()] == ["slow-"]


def test_all_of_the_cache_is_verified_at_once(cache, capsys, monkeypatch):
    monkeypatch.setattr(store, "SMALL", 10)
    array()
    folder = tiny_store("bair", cache / "bair")
    (cache / "weights").mkdir()
    assert main(["data", "verify"]) == 0
    assert capsys.readouterr().out.count("whole, 0 MiB") == 2
    content = bytearray((folder / "frames.bin").read_bytes())
    content[7] ^= 1
    (folder / "frames.bin").write_bytes(content)
    assert main(["data", "verify"]) == 2
    said = capsys.readouterr()
    assert f"{folder}/frames.bin differs" in said.out
    assert "statecast data prepare bair --source DIR" in said.out
    assert said.out.count("whole, ") == 1
    assert said.err == "statecast: Damaged: bair.\n"
    (cache / "videos-0123456789abcdef").mkdir()
    assert main(["data", "verify"]) == 2
    said = capsys.readouterr()
    assert "videos-0123456789abcdef/manifest.json is missing" in said.out
    assert main(["data", "verify", "--path", str(folder)]) == 2
    assert "data verify NAME --path" in capsys.readouterr().err


def test_nothing_is_remembered_in_a_folder_that_cannot_be_written(cache, monkeypatch):
    monkeypatch.setattr(store, "SMALL", 10)
    array()

    folder = entry(cache)
    (folder / store.CHECKED_NAME).unlink()
    (folder / store.CHECKED_NAME).mkdir()  # in the way of the file
    np.testing.assert_array_equal(array(), EXPECTED)


MADE = {
    "sst": {"zones": 1, "days": 70, "land_zones": 0},
    "turntable": {"objects": 7, "frame_size": 8},
    "wave_equation": {"sequences": 10, "points": 5},
}


@pytest.mark.parametrize("name", MADE)
def test_data_that_are_made_once_are_found_damaged(cache, name):
    digest = DATASETS[name](**MADE[name]).windows("test").digest
    assert DATASETS[name](**MADE[name]).windows("test").digest == digest
    path = max(entry(cache).iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptionError, match="recorded digest"):
        DATASETS[name](**MADE[name]).windows("test")
