"""Fixtures that several tests share: a tiny data source, and recipes for it."""

from __future__ import annotations

import os
import re
import struct
import tempfile
from pathlib import Path

import pytest
from helpers.canary import NUMBERS, OPENED, TEXT, WATCHED, Canary
from helpers.fork_server import ForkServer
from helpers.toy_data import TINY, Pendulum


@pytest.fixture
def data():
    return Pendulum()


@pytest.fixture
def pendulum(monkeypatch):
    """The tiny data set, registered."""
    from statecast.data import DATASETS

    monkeypatch.setitem(DATASETS, "pendulum", Pendulum)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of prepared data, of this test alone."""
    monkeypatch.setenv("STATECAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def refused(capsys):
    """Check that a command ends with code 2 and one line, which says something."""
    from statecast.cli.main import MISTAKE, main

    def check(message, words):
        capsys.readouterr()
        assert main([str(word) for word in words]) == MISTAKE, words
        shown, error = capsys.readouterr()
        assert shown == ""
        assert error.startswith("statecast: ")
        assert error.count("\n") == 1
        assert message in error or re.search(message, error), (words, error)

    return check


@pytest.fixture
def recipe(tmp_path, pendulum):
    """Path of a recipe that trains in a second, on the tiny data set."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture
def quick_path(tmp_path):
    """A folder in memory where there is one: what is killed there was not waiting for a disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def fork_server():
    """Where processes are started that will be killed."""
    found = ForkServer()
    yield found
    found.close()


@pytest.fixture
def canary(tmp_path):
    """A canary; at the end, nothing ran, and Python opened no secret file."""
    outside = tmp_path / "outside"
    outside.mkdir()
    found = Canary(outside / "ran", outside / "secret.bin", outside / "secret.txt")
    found.secret.write_bytes(struct.pack(f"<{len(NUMBERS)}f", *NUMBERS))
    found.text.write_bytes(TEXT + b": 1\n")
    OPENED.clear()
    WATCHED[:] = [str(found.secret), str(found.text)]
    yield found
    WATCHED.clear()
    found.check()
    assert not OPENED
