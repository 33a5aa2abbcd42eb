"""Golden files: settings and weights of small published models, and what their codes gave."""

import json
from pathlib import Path

import numpy as np
import torch

from statecast.runs.official import from_arrays

GOLDEN = Path(__file__).parents[1] / "golden"


def settings_of(name):
    return json.loads((GOLDEN / name / "config.json").read_text())


def arrays_of(name, file="weights"):
    with np.load(GOLDEN / name / f"{file}.npz") as arrays:
        return dict(arrays)


def tensors_of(name, file="expected"):
    return {key: torch.from_numpy(np.asarray(v)) for key, v in arrays_of(name, file).items()}


class Golden:
    """Settings and weights of a published model, ours with them, and what the published gave."""

    def __init__(self, name, **settings):
        self.config = settings_of(name) | settings
        self.weights, self.expected = arrays_of(name), tensors_of(name)
        self.model = from_arrays(name, self.weights, self.config)

    def __getitem__(self, key):
        return self.expected[key]

    def check(self, found, name, **tolerance):
        limits = {"atol": self.config["tolerance"]["absolute"], "rtol": 1e-5} | tolerance
        torch.testing.assert_close(found, self[name].view_as(found), **limits)
