"""Registries: every name leads to a class, and to its title without importing it."""

import subprocess
import sys

import pytest

from statecast.data import DATASETS
from statecast.evaluation.analyses import ANALYSES
from statecast.metrics import METRICS
from statecast.models import MODELS


@pytest.mark.parametrize("registry", [MODELS, DATASETS, METRICS, ANALYSES], ids=lambda r: r.group)
def test_titles_read_from_source_are_those_of_the_classes(registry):
    titles = subprocess.run(
        [sys.executable, "-c", f"from {registry.group.replace('analyses', 'evaluation.analyses')} "
         f"import {NAMES[registry.group]} as found; print(found.titles())"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert eval(titles) == {name: c.__doc__.split("\n")[0] for name, c in registry.items()}
    assert all(eval(titles).values())


NAMES = {
    "statecast.models": "MODELS", "statecast.data": "DATASETS",
    "statecast.metrics": "METRICS", "statecast.analyses": "ANALYSES",
}  # fmt: skip
