"""Recipes of published results: they are complete, and build models of the published sizes."""

import pytest
import torch
from helpers.labelled_fields import one_zone

from statecast.models import MODELS
from statecast.runs.recipes import read_recipe, resolve
from statecast.runs.run import build_data

MILLIONS = {  # parameters of the published models
    "srvp-digits-stochastic": 10.68,
    "srvp-digits-deterministic": 10.68,
    "srvp-kth": 23.88,
    "srvp-human36m": 23.88,
    "srvp-bair": 23.85,
    "svg-digits-stochastic": 12.61,
    "drnet-digits": 14.39,
    "svg-bair": 22.83,
    "svg-kth": 22.21,
    "phydnet-digits": 3.09,
    "phydnet-digits-paper": 2.95,
    "mcnet-kth": 18.44,  # of 64×64 frames: the adversary has fewer than of 128×128
    "ddpae-digits": 0.71,
    "pknl-sst": 22.2,
    "pknl-sst-2018": 22.2,
    "separable-digits": 10.99,
    "separable-chairs": 27.2,
    "separable-taxibj": 25.6,
    "separable-sst": 15.8,
    "separable-wave": 60.8,
    "separable-wave-100": 15.0,
    "kvae-ball": 0.14,
    "td-vae-rolling-digits": 1.82,
    "mim-digits": 13.89,
    "mim-digits-openstl": 37.95,  # published: 38.0, with 0.1 that it never uses
}
# Known to one decimal.
ROUGH = {
    "separable-chairs",
    "separable-taxibj",
    "separable-sst",
    "separable-wave",
    "separable-wave-100",
}


@pytest.mark.parametrize("name", MILLIONS)
def test_a_published_recipe_builds_a_model_of_the_published_size(name, tmp_path, monkeypatch):
    monkeypatch.setenv("STATECAST_CACHE", str(tmp_path))  # without any prepared data
    monkeypatch.chdir(tmp_path)
    if "-sst" in name:
        one_zone(tmp_path / "sst")
    tables = resolve(read_recipe(name))
    options = {key: value for key, value in tables["model"].items() if key != "name"}
    with torch.device("meta"):  # sizes without numbers
        model = MODELS[tables["model"]["name"]](build_data(tables).spec, **options)
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert round(count, 1 if name in ROUGH else 2) == MILLIONS[name]
