"""Fixtures that several tests share: a tiny data source, and recipes for it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from nursery import Nursery
from pendulum import TINY, Pendulum


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
def nursery():
    """Where processes are started that will be killed."""
    found = Nursery()
    yield found
    found.close()
