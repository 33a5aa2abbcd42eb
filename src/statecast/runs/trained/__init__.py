"""Trained models, shipped with the package: a folder each."""

import json
from importlib import resources


def trained_names() -> dict[str, str]:
    """Name and title of every model that comes with the package."""
    found = {}
    for folder in sorted(resources.files("statecast.runs.trained").iterdir(), key=lambda f: f.name):
        if (folder / "config.yaml").is_file():
            first = (folder / "config.yaml").read_text("utf-8").splitlines()[0]
            found[folder.name] = first.lstrip("# ")
    return found


def training_command(name: str) -> str:
    """The command that trained a model that comes with the package."""
    record = resources.files("statecast.runs.trained") / name / "training.json"
    return str(json.loads(record.read_text("utf-8"))["command"])
