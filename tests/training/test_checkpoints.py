"""Checkpoints: exact, whole or not at all, and damage is named."""

import json
import shutil
import subprocess

import pytest
import torch
from helpers import killable_jobs

from statecast.errors import CorruptionError, FileError
from statecast.io.atomic_files import atomic_path
from statecast.io.locks import process_mark
from statecast.training.checkpoint_folders import REPLACED
from statecast.training.checkpoints import (
    MANIFEST,
    MODEL_FILE,
    STATE_FILE,
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    sweep_temporaries,
    verify_checkpoint,
)

STATE = {
    "optimizer": {
        "state": {0: {"step": torch.tensor(3.0), "moment": torch.randn(2, 3).t()}, 1: {}},
        "param_groups": [{"lr": 0.1 + 0.2, "betas": (0.9, 0.999), "params": [0, 1], "fused": True}],
    },
    "random": torch.arange(5, dtype=torch.uint8),
    "half": torch.randn(3).bfloat16(),
    "nothing": None,
    "not a number": float("inf"),
    "$": "a key like our mark",
}


def save(run, step=7, **options):
    model = {"weight": torch.full((2, 3), float(step)), "count": torch.tensor(step)}
    return save_checkpoint(run, step, model=model, state=STATE, info={"note": 1}, **options)


def equal(one, other):
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        pairs = zip(one, other, strict=True)
        return type(one) is type(other) and all(equal(a, b) for a, b in pairs)
    return type(one) is type(other) and one == other


def test_what_is_saved_is_loaded_exactly(tmp_path):
    save(tmp_path)
    found = load_checkpoint(tmp_path)
    assert found.step == 7
    assert found.info == {"note": 1}
    assert equal(found.state, STATE)
    assert set(found.model) == {"weight", "count"}
    assert equal(found.model["weight"], torch.full((2, 3), 7.0))
    assert equal(found.model["count"], torch.tensor(7))


def test_the_best_and_the_last_ones_are_kept(tmp_path):
    for step in (1, 2, 3, 4, 5):
        save(tmp_path, step, best=step == 2, keep=2)
    assert [int(p.name[5:]) for p in list_checkpoints(tmp_path)] == [2, 4, 5]
    assert load_checkpoint(tmp_path, "best").step == 2
    assert load_checkpoint(tmp_path, "last").step == 5
    assert load_checkpoint(tmp_path, "4").step == 4
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_one_besides_the_best_is_kept_and_of_none_the_newest_is_the_best(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path, step, keep=3)
    assert load_checkpoint(tmp_path, "best").step == 3
    save(tmp_path, 4, best=True)
    for step in (5, 6):
        save(tmp_path, step)
    assert [int(p.name[5:]) for p in list_checkpoints(tmp_path)] == [4, 6]


@pytest.mark.parametrize("name", [MODEL_FILE, STATE_FILE, MANIFEST])
def test_one_changed_byte_anywhere_is_found_and_the_file_named(tmp_path, name):
    save(tmp_path, 6, keep=2)
    path = save(tmp_path, 7, keep=2) / name
    content = path.read_bytes()
    middle = content.index(b'"sha256": "') + 15 if name == MANIFEST else len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(CorruptionError, match="step 6") as caught:
        load_checkpoint(tmp_path)
    assert "step=000007" in str(caught.value)
    with pytest.raises(CorruptionError):
        verify_checkpoint(path.parent)
    assert load_checkpoint(tmp_path, 6).step == 6


@pytest.mark.parametrize("name", [MODEL_FILE, STATE_FILE, MANIFEST])
@pytest.mark.parametrize("keep", [None, 0, 10])
def test_a_missing_or_cut_off_file_is_found(tmp_path, name, keep):
    path = save(tmp_path) / name
    if keep is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptionError, match=name):
        load_checkpoint(tmp_path)


def test_only_folders_that_are_named_by_a_step_are_checkpoints(tmp_path):
    path = save(tmp_path)
    for name in ("step=x", "step=", "step=٣", "step=²"):
        shutil.copytree(path, path.with_name(name))
    path.with_name("step=000009").write_text("")
    path.with_name("step=000010").symlink_to(path)
    assert list_checkpoints(tmp_path) == [path]


def test_one_that_stepped_aside_counts_while_no_other_has_its_name(tmp_path):
    path = save(tmp_path)
    aside = path.with_name(path.name + REPLACED)
    shutil.copytree(path, aside)
    assert list_checkpoints(tmp_path) == [path]
    shutil.rmtree(path)
    sweep_temporaries(tmp_path)
    assert list_checkpoints(tmp_path) == [aside]
    assert load_checkpoint(tmp_path).step == 7
    assert save(tmp_path) == path
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_without_checkpoints_says_what_to_do(tmp_path):
    with pytest.raises(FileError, match="Train the run first"):
        load_checkpoint(tmp_path)
    save(tmp_path)
    with pytest.raises(FileError, match="it holds steps 7"):
        load_checkpoint(tmp_path, 9)
    with pytest.raises(FileError, match="last, best or a number"):
        load_checkpoint(tmp_path, "newest")


def test_a_best_one_that_is_saved_again_stays_the_best(tmp_path):
    save(tmp_path, 6, best=True)
    save(tmp_path, 6)
    save(tmp_path, 7)
    assert load_checkpoint(tmp_path, "best").step == 6


def test_a_damaged_manifest_does_not_make_another_the_best(tmp_path):
    path = save(tmp_path, 6, best=True)
    save(tmp_path, 7, keep=2)
    (path / MANIFEST).write_text("{")
    with pytest.raises(CorruptionError, match="step=000006"):
        load_checkpoint(tmp_path, "best")


def test_rubbish_of_living_processes_stays(tmp_path):
    save(tmp_path)
    folder = tmp_path / "checkpoints"
    host, number, started = process_mark().split("-")
    ours = folder / f".step=000008.{host}-{number}-{started}.12345678.part"
    theirs = folder / f".step=000009.{host}-{number}-17.12345678.part"
    ours.mkdir()
    theirs.mkdir()
    sweep_temporaries(tmp_path)
    assert ours.is_dir()
    assert not theirs.exists()
    # Scores that another process writes into the folder meanwhile.
    with atomic_path(tmp_path / "scores.json") as place:
        place.write_text("{}")
        save(tmp_path)
    assert (tmp_path / "scores.json").read_text() == "{}"


@pytest.mark.parametrize("limit", range(0, 4000, 400))
def test_no_file_may_be_so_large(fork_server, tmp_path, limit):
    """As on a full disk, wherever in a checkpoint it is met; for real, in a process of its own."""
    killable_jobs.save(tmp_path, 6, best=True)
    ended = fork_server.run(
        "limited", run=str(tmp_path), bytes_at_most=limit, step=7, says=str(tmp_path / "says")
    )
    whole = [6] if ended else [6, 7]
    assert [int(path.name[5:]) for path in list_checkpoints(tmp_path)] == whole
    assert load_checkpoint(tmp_path).step == whole[-1]
    assert load_checkpoint(tmp_path, "best").step == 6
    assert not list(tmp_path.rglob("*.part*"))
    if limit < 1600:  # bytes of the weights alone
        assert ended == 3
        (said,) = (tmp_path / "says").read_text().splitlines()
        assert said.startswith(f"Cannot write {tmp_path / 'checkpoints'}/step=000007: a limit")
        assert said.endswith("Earlier checkpoints are intact.")


def test_nothing_in_a_checkpoint_is_a_pickle(tmp_path):
    path = save(tmp_path)
    assert {p.name for p in path.iterdir()} == {MODEL_FILE, STATE_FILE, MANIFEST}
    json.loads((path / MANIFEST).read_text())
    for name in (MODEL_FILE, STATE_FILE):
        content = (path / name).read_bytes()
        json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def test_links_are_not_followed(tmp_path):
    path = save(tmp_path)
    secret = tmp_path / "secret"
    (path / MODEL_FILE).rename(secret)
    (path / MODEL_FILE).symlink_to(secret)
    with pytest.raises(CorruptionError, match="missing"):
        load_checkpoint(tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_for_real(small_disk):
    killable_jobs.save(small_disk, 1, best=True)
    for step in range(2, 40):  # each a page of 4 KiB less
        (small_disk / f"other-{step}").write_bytes(b"x" * 4096)
        try:
            killable_jobs.save(small_disk, step)
        except FileError as error:
            said = str(error)
            break
    assert "the disk is full" in said
    assert load_checkpoint(small_disk).step == step - 1
    assert load_checkpoint(small_disk, "best").step == 1
    for path in list_checkpoints(small_disk):
        verify_checkpoint(path)
    assert not list(small_disk.rglob(".*"))
    for path in small_disk.glob("other-*"):
        path.unlink()
    killable_jobs.save(small_disk, step)
    assert load_checkpoint(small_disk).step == step
