"""Recipes of published results: they are complete, and build models of the published sizes."""

from pathlib import Path

import pytest
import torch
from noise_source import Noise

from statecast.data import DATASETS
from statecast.models import MODELS
from statecast.options import read_recipe, resolve
from statecast.runs import build_data

FIXTURES = Path(__file__).parent / "recipes"
MILLIONS = {  # parameters of the published models
    "srvp-digits-stochastic": 10.68,
    "srvp-digits-deterministic": 10.68,
    "separable-digits": 10.99,
    "separable-chairs": 27.2,
    "separable-taxibj": 25.6,
    "separable-sst": 15.8,
    "separable-wave": 60.8,
    "separable-wave-100": 15.0,
}


@pytest.mark.parametrize("name", MILLIONS)
def test_a_published_recipe_builds_a_model_of_the_published_size(name, monkeypatch):
    monkeypatch.setitem(DATASETS, "fields", Noise)
    fixture = FIXTURES / f"{name}.yaml"
    tables = resolve(read_recipe(str(fixture) if fixture.is_file() else name))
    options = {key: value for key, value in tables["model"].items() if key != "name"}
    with torch.device("meta"):  # sizes without numbers
        model = MODELS[tables["model"]["name"]](build_data(tables).spec, **options)
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert round(count, 1 if MILLIONS[name] > 11 else 2) == MILLIONS[name]
