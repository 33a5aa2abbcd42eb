"""Locks: one owner, named; they end with their process, even a killed one, flock or not."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from statecast.errors import FileError, OwnedError
from statecast.io import locks, owners
from statecast.io.locks import BY_NAME, content_of, owned
from statecast.io.owners import Owner, Process, mark_has_ended, this_host, this_owner, this_process

HEAD = """
import os, sys, time
from pathlib import Path
from statecast.io import locks
if sys.argv[2] == "by-name":
    locks.fcntl = None
path = Path(sys.argv[1])
"""
HOLD = f"""{HEAD}
with locks.owned(path, "RUN is being trained"):
    if "fork" in sys.argv and os.fork() == 0:
        time.sleep(60)
    print(os.getpid(), flush=True)
    time.sleep(60)
"""
COUNT = f"""{HEAD}
locks.PAUSE, counter = 0.003, path.with_name("counter")
for _ in range(5):
    with locks.owned(path, "COUNTER is being raised", wait=True):
        value = int(counter.read_text())
        time.sleep(0.002)
        counter.write_text(str(value + 1))
"""
MODES = ("system", "by-name")


@pytest.fixture(params=MODES)
def mode(request, monkeypatch):
    if request.param == "by-name":
        monkeypatch.setattr(locks, "fcntl", None)
    return request.param


def started(code, *words, **options):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], text=True, **options)


@pytest.fixture
def holder(tmp_path, mode):
    """A process that has the lock, and the lock."""
    path = tmp_path / ".lock"
    process = started(HOLD, path, mode, "fork", stdout=subprocess.PIPE)
    assert int(process.stdout.readline()) == process.pid
    yield process, path
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_owner_is_refused_and_told_of_the_first(holder):
    process, path = holder
    message = rf"RUN is being trained by process {process.pid} on \S+ \(`-c .*`, since 20.* UTC\)"
    with pytest.raises(OwnedError, match=message), owned(path, "RUN is being trained"):
        pytest.fail("owned twice")


def test_a_killed_owner_frees_its_lock_at_once_though_a_child_of_it_lives(holder, mode, tmp_path):
    process, path = holder
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with owned(path, "RUN is being trained"):
        assert [p.name for p in tmp_path.iterdir()] == [
            path.name + (BY_NAME if mode == "by-name" else "")
        ]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_owner_that_its_parent_has_not_asked_for_is_dead(holder):
    process, path = holder
    os.kill(process.pid, signal.SIGKILL)
    while owners.start_of(process.pid) is not None:  # a zombie until it is waited for
        time.sleep(0.01)
    with owned(path, "RUN is being trained"):
        pass


def test_within_a_process_too_there_is_one_owner(tmp_path, mode):
    path = tmp_path / ".lock"
    with (
        owned(path, "RUN is being trained"),
        pytest.raises(OwnedError, match=f"process {os.getpid()}"),
        owned(path, "RUN is being trained"),
    ):
        pytest.fail("owned twice")
    with owned(path, "RUN is being trained"):
        pass


def test_one_waits_for_the_other(tmp_path, mode, monkeypatch, capfd):
    path = tmp_path / ".lock"
    monkeypatch.setattr(locks, "PAUSE", 0.01)
    process = started(HOLD.replace("time.sleep(60)", "time.sleep(0.3)"), path, mode,
                      stdout=subprocess.PIPE)  # fmt: skip
    process.stdout.readline()
    before = time.monotonic()
    with owned(path, "CACHE is being prepared", wait=True):
        assert time.monotonic() - before > 0.1
    assert f"CACHE is being prepared by process {process.pid} on" in capfd.readouterr().err
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("mode", MODES)
def test_many_at_once_are_one_after_another(tmp_path, mode):
    path, counter = tmp_path / ".lock", tmp_path / "counter"
    counter.write_text("0")
    dead = Owner(this_process()._replace(started="0.0"), "long ago", "train")
    path.with_name(path.name + (BY_NAME if mode == "by-name" else "")).write_bytes(content_of(dead))
    processes = [started(COUNT, path, mode, stderr=subprocess.DEVNULL) for _ in range(6)]
    assert [process.wait() for process in processes] == [0] * 6
    assert counter.read_text() == "30"
    assert [p.name for p in tmp_path.iterdir()] == ["counter"]


def place_of(path, mode):
    return path.with_name(path.name + BY_NAME) if mode == "by-name" else path


def left_by(process):
    return content_of(Owner(process, "2026-01-02 03:04:05", "statecast train kth"))


def test_a_number_in_use_again_is_not_its_former_owner(tmp_path, mode):
    path = tmp_path / ".lock"
    former = Process(this_host(), os.getpid(), "0badb007.17")
    place_of(path, mode).write_bytes(left_by(former))
    with owned(path, "RUN is being trained"):
        pass
    assert former.has_ended() is True
    assert this_process().has_ended() is False


def test_an_owner_on_another_host_is_named_with_what_to_do(tmp_path, mode):
    path = tmp_path / ".lock"
    place_of(path, mode).write_bytes(left_by(Process("node7", 4711, "0badb007.17")))
    message = (
        r"process 4711 on node7 \(`statecast train kth`.*cannot be seen .* "
        f"delete {place_of(path, mode)}"
    )
    for wait in (False, True):
        with (
            pytest.raises(OwnedError, match=message),
            owned(path, "RUN is being trained", wait=wait),
        ):
            pytest.fail("owned")
    place_of(path, mode).unlink()
    with owned(path, "RUN is being trained"):
        pass


def test_an_owner_on_another_host_whose_lock_is_seen_is_waited_for(tmp_path):
    path = tmp_path / ".lock"
    process = started(HOLD, path, "system", stdout=subprocess.PIPE)
    process.stdout.readline()
    path.write_bytes(left_by(Process("node7", 4711, "0badb007.17")))  # as seen on a shared disk
    with pytest.raises(OwnedError, match=r"on node7 .*Wait for it"), owned(path, "RUN is trained"):
        pytest.fail("owned")
    process.kill()
    process.communicate()


def test_a_container_of_the_same_machine_is_seen(tmp_path):
    if not owners.this_boot():
        pytest.skip("the system does not number its starts")
    path = tmp_path / ".lock"
    path.write_bytes(left_by(Process("container", 7, f"{owners.this_boot()}.17")))
    with owned(path, "RUN is being trained"):  # its lock would be seen, if it were held
        pass


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"process": {}}', b"\xff\xfe"])
def test_a_lock_file_that_names_nobody_is_no_lock(tmp_path, mode, content):
    path = tmp_path / ".lock"
    place = place_of(path, mode)
    place.write_bytes(content)
    os.utime(place, (1, 1))
    with owned(path, "RUN is being trained"):
        pass
    assert not place.exists()


def test_a_lock_by_name_that_is_being_signed_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    (tmp_path / f".lock{BY_NAME}").write_bytes(b"")
    with pytest.raises(OwnedError, match="by another process"), owned(tmp_path / ".lock", "A is"):
        pytest.fail("owned")


def test_a_disk_that_knows_no_locks_is_noticed(tmp_path, monkeypatch):
    def unable(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", unable)
    with owned(tmp_path / ".lock", "RUN is being trained"):
        assert [p.name for p in tmp_path.iterdir()] == [f".lock{BY_NAME}"]
        assert json.loads((tmp_path / f".lock{BY_NAME}").read_text())["process"]["number"] == (
            os.getpid()
        )
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_deleted_and_taken_by_another_is_left_to_it(tmp_path, mode):
    path = tmp_path / ".lock"
    place = place_of(path, mode)
    with owned(path, "RUN is being trained"):
        place.unlink()
        place.write_bytes(left_by(Process("node7", 1, "0badb007.1")))
    assert b"node7" in place.read_bytes()


def test_a_folder_that_is_missing_is_named(tmp_path, mode):
    with pytest.raises(FileError, match=r"Cannot lock .*gone"), owned(tmp_path / "gone/.lock", "A"):
        pytest.fail("owned")


def test_a_mark_tells_of_its_process(monkeypatch):
    mark = this_process().mark
    assert not mark_has_ended(mark)
    host, number, _ = mark.split("-")
    assert mark_has_ended(f"{host}-{number}-0badb007.17")
    assert not mark_has_ended(f"00000000-{number}-0badb007.17")  # of another host: cannot be known
    assert not mark_has_ended(f"{host}-{number}-0")  # started nobody knows when, but it is there


def test_a_command_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/statecast", "train", "a\nb`c", "x" * 900])
    text = str(this_owner())
    assert "\n" not in text
    assert "statecast train" in text
    assert len(text) < 400
