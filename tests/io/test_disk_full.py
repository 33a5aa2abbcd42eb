"""A full disk, for real: what was there before stays, nothing half is left, one line says why."""

import hashlib
import multiprocessing
import os
import resource
import shutil
import subprocess

import numpy as np
import pytest
import torch
from helpers.golden import GOLDEN

from statecast.data.cache.entries import open_or_make
from statecast.data.user.videos import Videos
from statecast.errors import FileError
from statecast.evaluation.evaluation import Evaluation
from statecast.frames import Forecast, Frames
from statecast.io.atomic_files import PART, atomic_path, sweep, write_text
from statecast.io.locks import process_mark
from statecast.io.video.encoding import write_mp4
from statecast.metrics.base import Score
from statecast.plots.animations import animate_forecast
from statecast.plots.forecasts import plot_forecast
from statecast.reports.page.write_report import write_report
from statecast.runs.create import create_run
from statecast.runs.official.export_run import export_official
from statecast.runs.official.import_run import import_official
from statecast.runs.run import train_run
from statecast.training.logs import TrainingLog, read_log

SIZE, LIMIT = 8 << 20, 2000  # bytes of the disk, and of a file under a limit
FULL = "the disk is full (0 MiB are free). Free space, or write elsewhere."
LIMITED = "a limit on the size of files is reached (ulimit -f). Raise it, or write less."
UNCLEAR = "the disk, a quota or a limit on file sizes may be reached"  # libraries do not say more


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A small disk, where one may be mounted."""
    place = tmp_path_factory.mktemp("disk")
    options = ["-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", *options], check=False, stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("no disk may be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def small_disk(disk):
    yield disk
    for path in disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def fill(folder):
    """Fill the disk of a folder; its ballast."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            return ballast


def content(folder):
    """Digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def call(write, folder, queue, limit):
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    torch.set_num_threads(1)
    try:
        write(folder, 4)
        queue.put("no error")
    except FileError as error:
        queue.put(str(error))
    except BaseException as error:
        queue.put(repr(error))


def said(write, folder, *, limit=False):
    """What writing more than there is room for says, tried in a process of its own."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=call, args=(write, folder, queue, limit))
    process.start()
    message = queue.get(timeout=60)
    process.join()
    assert process.exitcode == 0
    return message


VALUES = torch.from_numpy(np.random.default_rng(0).random((4, 1, 8, 1, 24, 24), dtype=np.float32))
CONTEXT = Frames(values=VALUES[0, :, :4], times=torch.arange(-3.0, 1.0), channels=("u",))


def forecast(samples):
    return Forecast(samples=VALUES[:samples], times=torch.arange(1.0, 9.0), channels=("u",))


def saved(name):
    return lambda folder, size: forecast(size).save(folder / name)


def animated(name):
    return lambda folder, size: animate_forecast(CONTEXT, forecast(size), folder / name)


def drawn(folder, size):
    few = Forecast(samples=VALUES[: size // 2 + 1, :, :1], times=torch.ones(1), channels=("u",))
    plot_forecast(CONTEXT, few, folder / "a.png", columns=2)


def scored(folder, size):
    score = Score(torch.arange(1000.0 * size), 1.0, 0.1)
    Evaluation(protocol={}, lead_times=[], forecasters={"model": {"mse": {"mean": score}}}).save(
        folder
    )


FILES = {
    "a.npz": saved("a.npz"), "a.nc": saved("a.nc"), "a.zarr": saved("a.zarr"),
    "a.gif": animated("a.gif"), "a.mp4": animated("a.mp4"), "a.png": drawn,
    "scores.json": scored,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_on_a_full_disk_the_file_before_stays_and_nothing_else(small_disk, name):
    FILES[name](small_disk, 1)
    before = content(small_disk)
    ballast = fill(small_disk)
    message = said(FILES[name], small_disk)
    ballast.unlink()
    assert message == f"Cannot write {small_disk / name}: {FULL} The older {name} is unchanged."
    assert content(small_disk) == before
    FILES[name](small_disk, 4)
    assert content(small_disk) != before


@pytest.mark.parametrize("name", FILES)
def test_beyond_a_limit_on_file_sizes_too(tmp_path, name):
    FILES[name](tmp_path, 1)
    before = content(tmp_path)
    message = said(FILES[name], tmp_path, limit=True)
    assert message.startswith(f"Cannot write {tmp_path / name}: "), message
    assert message.endswith(f" The older {name} is unchanged.")
    assert LIMITED in message or (name == "a.nc" and UNCLEAR in message), message
    assert "\n" not in message
    assert content(tmp_path) == before


def arrayed(folder, _):
    os.environ["STATECAST_CACHE"] = str(folder / "cache")
    parts = (np.ones((1, 64, 1024), np.float32) for _ in range(64))
    return open_or_make("things", {}, (64, 64, 1024), parts)


def filmed(folder, _):
    os.environ["STATECAST_CACHE"] = str(folder / "cache")
    Videos(path=str(folder / "clips"), size=64, context=1, horizon=1, test_horizon=1)


@pytest.mark.parametrize("make", [arrayed, filmed])
def test_a_cache_on_a_full_disk_is_not_begun(small_disk, make, monkeypatch):
    monkeypatch.setenv("STATECAST_CACHE", "")
    (small_disk / "clips").mkdir()
    for number in range(3):
        pictures = [np.full((64, 64, 3), 9 * number + time, np.uint8) for time in range(9)]
        write_mp4(pictures, small_disk / "clips" / f"{number}.mp4", 10.0)
    (small_disk / "cache").mkdir()
    ballast = fill(small_disk)
    message = said(make, small_disk)
    assert f"Cannot write {small_disk / 'cache'}/" in message
    assert FULL in message
    assert "STATECAST_CACHE to use another folder" in message
    assert list((small_disk / "cache").iterdir()) == []
    ballast.unlink()
    if make is filmed:  # the array is larger than the disk
        make(small_disk, 1)
        assert len(list((small_disk / "cache").iterdir())) == 1


def test_a_run_on_a_full_disk_is_not_begun(small_disk, recipe):
    fill(small_disk)
    message = said(lambda folder, _: create_run(recipe, folder / "run"), small_disk)
    assert message == f"Cannot write {small_disk / 'run' / 'env.json'}: {FULL}"
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """A run with weights."""
    folder = tmp_path_factory.mktemp("imported") / "run"
    return import_official(GOLDEN / "srvp_dcgan", folder).folder


def test_folders_on_a_full_disk_are_there_whole_or_not_at_all(small_disk, imported):
    fill(small_disk)
    message = said(lambda folder, _: export_official(imported, folder / "theirs"), small_disk)
    assert message == f"Cannot write {small_disk / 'theirs' / 'model.pt'}: {FULL}"
    message = said(
        lambda folder, _: import_official(GOLDEN / "srvp_dcgan", folder / "ours"), small_disk
    )
    assert message.startswith(f"Cannot write {small_disk / 'ours'}/checkpoints/")
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_a_report_on_a_full_disk_leaves_the_last_one_and_its_pictures(small_disk, recipe, tmp_path):
    run = create_run(recipe, tmp_path / "run", ["--train.steps=2", "--train.validate_every=0"])
    train_run(run)
    output = small_disk / "report.html"
    write_report([run.folder], output, windows=1, samples=1)
    before = content(small_disk)
    assert "report.html" in before
    (run.folder / "metrics.csv").write_text("step,total\n1,5\n2,3\n")  # another chart
    ballast = fill(small_disk)
    message = said(lambda *_: write_report([run.folder], output, windows=1, samples=1), small_disk)
    ballast.unlink()
    assert FULL in message
    assert content(small_disk) == before
    assert all(PART not in path.name for path in small_disk.rglob("*"))


def rows(folder, _):
    with TrainingLog(folder, steps=500, start=0, every=1, tensorboard=False) as log:
        for step in range(1, 501):
            log.record(step, {f"term{number}": float(step) for number in range(30)})


def test_a_log_on_a_full_disk_ends_with_a_whole_row(small_disk, tmp_path):
    fill(small_disk)
    (small_disk / "ballast").write_bytes(b"")
    with (small_disk / "ballast").open("wb") as stream:
        stream.write(bytes(shutil.disk_usage(small_disk).free - (24 << 10)))
    message = said(rows, small_disk)
    resume = f"Continue from the last checkpoint: statecast train --resume {small_disk}."
    assert message == (
        f"Cannot write {small_disk / 'metrics.csv'}: {FULL} The older metrics.csv is unchanged. "
        f"{resume}"
    )
    text = (small_disk / "metrics.csv").read_text()
    assert text.endswith("\n")
    found = read_log(small_disk)
    assert 20 < len(found["step"]) < 500
    assert found["term29"] == found["step"]


def test_a_folder_that_may_not_be_written_is_named(disk, tmp_path, recipe):
    place = tmp_path / "fixed"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(place)], check=False)
    assert mounted.returncode == 0
    try:
        for name, write in FILES.items():
            message = said(write, place)
            assert message.startswith(f"Cannot write {place / name}: the ")
            assert "the disk is read-only" in message or "is not writable" in message
        message = said(lambda folder, _: create_run(recipe, folder / "run"), place)
        assert "read-only" in message
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_missing_folder_is_named(tmp_path):
    for name, write in FILES.items():
        assert said(write, tmp_path / "gone") == (
            f"Cannot write {tmp_path / 'gone' / name}: there is no folder {tmp_path / 'gone'}."
        )


def test_what_killed_writers_left_goes_with_the_next_write_and_no_more(tmp_path):
    host, number, started = process_mark().split("-")
    dead, other = f"{host}-{number}-17", f"00000000-{number}-17"
    left = [
        tmp_path / f".a.{mark}.12345678{PART}.txt"
        for mark in (dead, other, f"{host}-{number}-{started}")
    ]
    other_name = tmp_path / f".b.{dead}.12345678{PART}"
    for path in [*left, tmp_path / f".a.b{PART}.txt", other_name]:
        path.write_text("half")
    write_text(tmp_path / "a.txt", "whole")
    assert not left[0].exists()
    assert not other_name.exists()
    assert len(list(tmp_path.iterdir())) == 4  # of the living, of other hosts, of other programs


def test_a_store_whose_writer_was_killed_between_two_names_is_found_again(tmp_path):
    host, number, _ = process_mark().split("-")
    old = tmp_path / f".a.{host}-{number}-17.12345678.old{PART}.zarr"
    old.mkdir()
    (old / "values").write_text("earlier")
    sweep(tmp_path)
    assert (tmp_path / "a.zarr" / "values").read_text() == "earlier"
    with atomic_path(tmp_path / "a.zarr") as place:
        place.mkdir()
        (place / "values").write_text("later")
    assert (tmp_path / "a.zarr" / "values").read_text() == "later"
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


def test_a_file_takes_the_place_of_no_folder_and_a_folder_of_no_file(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    with pytest.raises(FileError, match=r"Cannot write .*mine: Is a directory"):
        write_text(tmp_path / "mine", "text")
    with (
        pytest.raises(FileError, match="Not a directory"),
        atomic_path(tmp_path / "mine/notes") as place,
    ):
        place.mkdir()
    assert content(tmp_path) == {"mine/notes": hashlib.sha256(b"mine").hexdigest()}


def test_a_name_of_greatest_length_can_be_written(tmp_path):
    for stem in ("x" * 251, "é" * 125):
        path = write_text(tmp_path / f"{stem}.txt", "long")
        assert path.read_text() == "long"
