"""Fixtures that several tests share: a tiny data source, and recipes for it."""

from __future__ import annotations

import pytest
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
