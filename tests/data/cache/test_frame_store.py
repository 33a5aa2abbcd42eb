"""Prepared stores: made once and whole, checked when opened, refused where they do not fit."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from helpers.fake_benchmark_files import taxi_folder
from helpers.prepared_stores import CHOSEN, tiny_store

from statecast.cli.main import main
from statecast.data import DATASETS
from statecast.data.benchmarks.prepared_source import Count
from statecast.data.benchmarks.stored_windows import hold_out
from statecast.data.cache import entries as store
from statecast.data.cache.entries import CHECKED_NAME, make_entry
from statecast.data.cache.frame_store import (
    FRAMES_NAME,
    SERIES_NAME,
    StoreWriter,
    open_prepared,
    write_frames,
)
from statecast.data.prepare import mismatches, preparable, prepare, verify
from statecast.errors import CorruptionError, FileError, InputError
from statecast.runs.create import create_run

pytestmark = pytest.mark.usefixtures("cache")

KIND = preparable()["bair"].kind


def test_a_store_gives_back_each_sequence(tmp_path):
    store = open_prepared(tiny_store("bair", tmp_path / "bair"), KIND)
    expected = np.random.default_rng(0).integers(0, 256, (8, 3, 64, 64)).astype(np.uint8)
    np.testing.assert_array_equal(store.frames[:8], expected)
    assert [one.first for one in store.sequences] == list(range(0, 48, 8))
    assert store.frames.shape == (48, 3, 64, 64)
    with pytest.raises(ValueError, match="read-only"):
        store.frames[0] = 0


def test_a_worker_is_told_where_the_frames_are(tmp_path):
    windows = DATASETS["bair"](path=str(tiny_store("bair", tmp_path / "b")), **CHOSEN["bair"])
    windows = windows.windows("train")
    sent = pickle.dumps(windows)
    assert len(sent) < windows.store.frames.nbytes / 50
    numbers = torch.tensor([0, 5])
    assert torch.equal(pickle.loads(sent).batch(numbers).values, windows.batch(numbers).values)


@pytest.mark.parametrize("name", [FRAMES_NAME, SERIES_NAME, "manifest.json"])
def test_a_flipped_bit_is_found_on_each_opening(tmp_path, name):
    folder = tiny_store("bair", tmp_path / "bair")
    open_prepared(folder, KIND)
    path = folder / name
    content = path.read_bytes()
    for place in (0, 1, len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(CorruptionError, match=rf"{name} .*Delete .* prepare it again"):
            open_prepared(folder, KIND)
    path.write_bytes(content)
    open_prepared(folder, KIND)


def test_of_large_files_the_digest_is_remembered_until_they_change(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SMALL", 1000)
    folder = tiny_store("bair", tmp_path / "bair")
    open_prepared(folder, KIND)
    assert set(json.loads((folder / CHECKED_NAME).read_text())) == {FRAMES_NAME, SERIES_NAME}
    read = []
    monkeypatch.setattr(store, "sha256_of", lambda path: read.append(path.name) or "0" * 64)
    open_prepared(folder, KIND)
    assert read == []
    with pytest.raises(CorruptionError, match=f"{FRAMES_NAME} differs"):
        verify("bair", folder)
    os.utime(folder / FRAMES_NAME, ns=(1, 1))
    with pytest.raises(CorruptionError, match=f"{FRAMES_NAME} differs"):
        open_prepared(folder, KIND)
    assert read == [FRAMES_NAME] * 2


def test_where_time_and_size_are_put_back_a_change_is_still_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SMALL", 1000)
    folder = tiny_store("bair", tmp_path / "bair")
    open_prepared(folder, KIND)
    path = folder / FRAMES_NAME
    state, content = path.stat(), bytearray(path.read_bytes())
    content[5] ^= 4
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(CorruptionError, match="digest"):
        open_prepared(folder, KIND)


def test_a_store_cut_off_or_with_a_broken_manifest_is_refused(tmp_path):
    folder = tiny_store("bair", tmp_path / "bair")
    path = folder / FRAMES_NAME
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CorruptionError, match="should have 589824 bytes, got 589817"):
        open_prepared(folder, KIND)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(CorruptionError, match="prepare it again: statecast data prepare bair"):
        open_prepared(folder, KIND)


def test_a_store_of_another_data_set_or_version_is_refused(tmp_path):
    folder = tiny_store("bair", tmp_path / "bair")
    with pytest.raises(FileError, match=r"holds bair of version 2 .* expected chairs of version 1"):
        DATASETS["chairs"](path=str(folder)).windows("train")
    with pytest.raises(FileError, match="expected bair of version 3"):
        open_prepared(folder, KIND._replace(version=3))


@pytest.mark.parametrize("name", CHOSEN)
def test_without_a_store_the_command_that_makes_it_is_named(name, tmp_path):
    data = DATASETS[name]()
    assert data.spec.context >= 2  # known without data
    with pytest.raises(FileError, match=f"statecast data prepare {name} --source DIR"):
        data.windows("train")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{{model: {{name: persistence}}, data: {{name: {name}}}}}")
    with pytest.raises(FileError, match="There is no prepared"):
        create_run(str(recipe), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["kth", "human36m", "bair"])
def test_windows_longer_than_all_sequences_are_refused(name, tmp_path):
    tiny_store(name, tmp_path / name)
    data = DATASETS[name](path=str(tmp_path / name), context=50)
    for split in ("train", "test"):
        with pytest.raises(InputError, match="Shorten context or"):
            data.windows(split)


def test_windows_are_the_frames_of_the_store(tmp_path):
    data = DATASETS["human36m"](
        path=str(tiny_store("human36m", tmp_path / "h")), **CHOSEN["human36m"]
    )
    windows = data.windows("train")
    frames, number = data.store.frames, 4
    sequence, first = windows.starts[number]
    start = data.store.sequences[sequence].first + first
    expected = torch.from_numpy(frames[start : start + 7 : 2] / 255)
    torch.testing.assert_close(windows.batch(torch.tensor([number])).values[0].double(), expected,
                               atol=1e-6, rtol=0)  # fmt: skip


def test_training_draws_sequences_alike_however_long_they_are(tmp_path):
    kind, folder = preparable()["kth"].kind, tmp_path / "kth"

    def fill(writer):
        for person, length in ((1, 5), (2, 95), (3, 10), (21, 5)):
            frame = np.full(kind.frame_shape, person, np.uint8)
            labels = {"person": person, "action": "boxing", "trial": 1}
            writer.add(f"{person}", [frame] * length, labels)
        return {}

    make_entry(folder, kind.identity, lambda place: write_frames(place, kind, fill))
    data = DATASETS["kth"](path=str(folder), context=2, horizon=2, validation_horizon=2,
                           test_horizon=2)  # fmt: skip
    windows = data.windows("train")
    drawn = (windows.training_batch(3, 4000, seed=1).values[:, 0, 0, 0, 0] * 255).round()
    trained = np.unique(windows.starts[:, 0]) + 1
    assert len(trained) == 2
    for person in trained:  # half each, within five standard deviations
        assert abs(float((drawn == person).float().mean()) - 0.5) < 5 * 0.5 / 4000**0.5
    assert torch.equal(
        windows.training_batch(3, 9, seed=1).values, windows.training_batch(3, 9, seed=1).values
    )
    assert not torch.equal(
        windows.training_batch(3, 40, seed=1).values, windows.training_batch(4, 40, seed=1).values
    )


def test_the_hold_out_is_the_published_one():
    sequences = list(range(40))
    trained, held_out = hold_out(sequences, "train"), hold_out(sequences, "validation")
    order = list(range(40))
    np.random.RandomState(42).shuffle(order)
    assert set(trained) == set(order[:38])
    assert set(held_out) == set(order[38:])
    with pytest.raises(InputError, match="at least 2"):
        hold_out([0], "train")


def test_frames_of_another_shape_and_empty_sequences_are_refused(tmp_path):
    with (tmp_path / "frames").open("wb") as stream:
        writer = StoreWriter(stream, KIND)
        with pytest.raises(InputError, match=r"odd: frame 0 should be uint8 \(3, 64, 64\)"):
            writer.add("odd", [np.zeros((64, 64, 3), np.uint8)])
        with pytest.raises(InputError, match="none holds no frames"):
            writer.add("none", [])


def test_preparation_is_done_once_and_leaves_a_card(tmp_path, cache, capsys):
    source = taxi_folder(tmp_path / "source")
    assert main(["data", "prepare", "taxibj", "--source", str(source)]) == 0
    assert f"Prepared: {cache / 'taxibj'}; 8 sequences" in capsys.readouterr().out
    assert main(["data", "prepare", "taxibj", "--source", str(tmp_path / "gone")]) == 0
    assert "Already prepared" in capsys.readouterr().out
    card = (cache / "taxibj" / "README.md").read_text()
    assert "https://arxiv.org/abs/1610.00081" in card
    assert "756 slots" in card
    assert main(["data", "verify", "taxibj"]) == 0
    assert main(["data", "list"]) == 0
    listed = capsys.readouterr().out
    assert f"taxibj: TaxiBJ, prepared in {cache / 'taxibj'}" in listed
    assert "kth: KTH human actions, not prepared" in listed
    assert "sst: set data.folder" in listed


def test_a_store_elsewhere_is_read_by_its_path(tmp_path, capsys):
    source, output = taxi_folder(tmp_path / "source"), tmp_path / "deep" / "store"
    assert (
        main(["data", "prepare", "taxibj", "--source", str(source), "--output", str(output)]) == 0
    )
    assert f"--data.path {output}" in capsys.readouterr().out
    assert len(DATASETS["taxibj"](path=str(output), test_windows=6).windows("test")) == 6
    with pytest.raises(InputError, match="must lie outside"):
        prepare("taxibj", source, source / "store")


def test_a_mistake_leaves_nothing_behind(tmp_path, cache):
    source = taxi_folder(tmp_path / "source")
    path = source / "BJ15_M32x32_T30_InOut.h5"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CorruptionError, match="BJ15"):
        prepare("taxibj", source)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sst", "sst needs no preparation: set data.folder"),
        ("moving_digits", "set data.folder to the folder of MNIST's IDX files"),
        ("turntable", "It is made by statecast itself"),
        ("kht", "'kht' is not a data set to prepare; these are: kth"),
    ],
)
def test_what_is_not_prepared_says_so(name, said, tmp_path, capsys):
    assert main(["data", "prepare", name, "--source", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", CHOSEN)
def test_a_source_without_the_files_says_what_was_expected(name, tmp_path):
    with pytest.raises(FileError, match=r"\.(avi|mp4|png|h5|tfrecords)|BJ16|has no folder train"):
        prepare(name, tmp_path, tmp_path.with_name("store"))
    with pytest.raises(FileError, match="should be a folder of the owner's files"):
        prepare(name, tmp_path / "missing")
    archive = tmp_path / "data.zip"
    archive.write_bytes(b"PK")
    with pytest.raises(FileError, match="Unpack it first"):
        prepare(name, archive)


def test_a_count_that_is_not_the_known_one_is_a_warning():
    counts = [Count("videos", 4, 599), Count("persons", 25, 25), Count("slots", 3, None)]
    assert [text[:48] for text in mismatches(counts)] == [
        "4 videos were found, but 599 were expected. Scor"
    ]


def test_the_card_of_a_store_is_json(tmp_path):
    folder = tiny_store("chairs", tmp_path / "chairs")
    assert json.loads((folder / "manifest.json").read_text())["options"] == {
        "format": 1, "data": "chairs", "version": 1,
    }  # fmt: skip
