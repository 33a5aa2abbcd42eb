"""Fixtures that several tests share: a tiny data source, and recipes for it."""

from __future__ import annotations

import os
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
def recipe(tmp_path, monkeypatch):
    """Path of a recipe that trains in a second, on a registered tiny data set."""
    from statecast.data import DATASETS

    monkeypatch.setitem(DATASETS, "pendulum", Pendulum)
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
