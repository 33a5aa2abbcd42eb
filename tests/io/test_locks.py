"""Locks: one process at a time, named to the others, and free as soon as it has ended."""

import os
import signal
import subprocess
import sys
import time

import pytest

from statecast.errors import FileError, OwnedError
from statecast.io.locks import (
    describe_process,
    exclusive_lock,
    has_ended,
    process_mark,
    read_holder,
    start_of,
)

HEAD = """
import os, sys, time
from pathlib import Path
from statecast.io.locks import exclusive_lock
path, seconds = Path(sys.argv[1]), float(sys.argv[2])
"""
HOLD = f"""{HEAD}
with exclusive_lock(path, "RUN is being trained"):
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)
    print(os.getpid(), flush=True)
    time.sleep(seconds)
"""
COUNT = f"""{HEAD}
counter = path.with_name("counter")
for _ in range(5):
    with exclusive_lock(path, "COUNTER is being raised", wait=True):
        value = int(counter.read_text())
        time.sleep(seconds)
        counter.write_text(str(value + 1))
"""


def started(code, *words, **options):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], text=True, **options)


def hold(path, seconds):
    process = started(HOLD, path, seconds, stdout=subprocess.PIPE)
    assert int(process.stdout.readline()) == process.pid
    return process


@pytest.fixture
def holder(tmp_path):
    """A process that holds a lock, with a child, and the lock."""
    path = tmp_path / ".lock"
    process = hold(path, 60)
    yield process, path
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_and_told_of_the_first(holder):
    process, path = holder
    message = rf"RUN is being trained by process {process.pid} on \S+ \(`-c .*`, since 20.* UTC\)"
    with pytest.raises(OwnedError, match=message), exclusive_lock(path, "RUN is being trained"):
        pytest.fail("held twice")


def test_a_killed_holder_frees_its_lock_at_once_though_a_child_of_it_lives(holder, tmp_path):
    process, path = holder
    os.kill(process.pid, signal.SIGKILL)
    while start_of(process.pid) is not None:  # a zombie, until it is waited for
        time.sleep(0.01)
    with exclusive_lock(path, "RUN is being trained"):
        assert read_holder(path).startswith(f"process {os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []


def test_within_a_process_too_there_is_one_holder(tmp_path):
    path = tmp_path / ".lock"
    with (
        exclusive_lock(path, "RUN is being trained"),
        pytest.raises(OwnedError, match=f"process {os.getpid()}"),
        exclusive_lock(path, "RUN is being trained"),
    ):
        pytest.fail("held twice")
    with exclusive_lock(path, "RUN is being trained"):
        pass


def test_one_waits_for_the_other_and_says_so(tmp_path, capfd):
    path = tmp_path / ".lock"
    process = hold(path, 0.3)
    with exclusive_lock(path, "CACHE is being prepared", wait=True):
        process.wait(timeout=5)
    assert f"CACHE is being prepared by process {process.pid} on" in capfd.readouterr().err
    process.stdout.close()


def test_many_at_once_are_one_after_another(tmp_path):
    path, counter = tmp_path / ".lock", tmp_path / "counter"
    counter.write_text("0")
    path.write_text("process 1 on earth (`train`, since long ago UTC)\n")  # left by a killed one
    processes = [started(COUNT, path, 0.002, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert counter.read_text() == "20"
    assert [p.name for p in tmp_path.iterdir()] == ["counter"]


@pytest.mark.parametrize("content", [b"", b"process 1 on \x1b[2J", b"[]", b"\xff\xfe", b"x" * 9999])
def test_a_left_over_file_is_no_lock_and_what_it_says_is_not_believed(tmp_path, content):
    path = tmp_path / ".lock"
    path.write_bytes(content)
    assert read_holder(path) == "another process"
    with exclusive_lock(path, "RUN is being trained"):
        pass
    assert not path.exists()


def test_a_lock_file_that_was_deleted_and_made_by_another_is_left_to_it(tmp_path):
    path = tmp_path / ".lock"
    with exclusive_lock(path, "RUN is being trained"):
        path.unlink()
        path.write_text("theirs")
    assert path.read_text() == "theirs"


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(FileError, match=r"Cannot lock .*file: "),
        exclusive_lock(tmp_path / "file/.lock", "A"),
    ):
        pytest.fail("held")


def test_a_mark_tells_whether_its_process_has_ended():
    mark = process_mark()
    assert not has_ended(mark)
    host, number, started_at = mark.split("-")
    assert has_ended(f"{host}-{number}-17")  # the number is in use again
    assert not has_ended(f"{host}-{number}-0")  # the start is not known, the number is in use
    assert not has_ended(f"00000000-{number}-17")  # of another host: cannot be known
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert has_ended(f"{host}-{child.pid}-{started_at}")


def test_a_command_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/statecast", "train", "a\nb`c", "x" * 900])
    text = describe_process()
    assert "\n" not in text
    assert "statecast train" in text
    assert len(text) < 400
