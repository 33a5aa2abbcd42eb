"""The worked examples of docs/extend.md run as they stand, and their model learns."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from statecast.errors import InputError

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"


def test_the_model_of_the_page_beats_persistence(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("example_of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, str(PAGE), "exec"), module.__dict__)
    scores = module.scores.forecasters
    assert module.result.step == module.options.steps
    assert mean_of(scores["carry"]) < 0.5 * mean_of(scores["persistence"])
    context = module.data.windows("test").batch(torch.tensor([0])).context
    whole = module.model.forecast(context, 3).samples
    assert torch.equal(module.model.forecast(context, times=[2.9999999]).samples, whole[:, :, 2:])
    for times in ([0.5, 1.0], [2.9], [0, 1], [-1.0]):  # its `predict` would give other frames
        with pytest.raises(InputError, match="Carry works in whole frames only"):
            module.model.forecast(context, times=times)


def test_a_recipe_names_the_model_of_an_installed_package(tmp_path, monkeypatch):
    text = PAGE.read_text(encoding="utf-8")
    code, entry, recipe = (
        re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL).group(1)
        for kind in ("python", "toml", "yaml")
    )
    package, folder = tmp_path / "installed", tmp_path / "user"
    (package / "carry-1.0.dist-info").mkdir(parents=True)
    folder.mkdir()
    source, script = code.split("folder = ")
    (package / "carry.py").write_text(source)
    (package / "carry-1.0.dist-info" / "METADATA").write_text("Name: carry\nVersion: 1.0\n")
    (package / "carry-1.0.dist-info" / "entry_points.txt").write_text(
        "[statecast.models]\n" + entry.splitlines()[1].replace('"', "") + "\nbroken = absent:It\n"
    )
    waves = script[script.index("shift") : script.index("data =")].replace(
        "folder /", "'.' + '/' +"
    )
    monkeypatch.chdir(folder)
    exec("import numpy as np\n" + waves, {})
    (folder / "my_recipe.yaml").write_text(recipe)
    (folder / "broken.yaml").write_text(recipe.replace("{name: carry, width: 8}", "{name: broken}"))

    def statecast(*words):
        paths = os.pathsep.join([str(package), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-m", "statecast", *words], capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": paths}, check=False,
        )  # fmt: skip

    assert re.search("carry +Carries a hidden map", statecast("list").stdout)
    assert statecast("train", "my_recipe.yaml").returncode == 0
    assert statecast("evaluate", "runs/my_recipe-1").returncode == 0
    scores = json.loads((folder / "runs/my_recipe-1/scores.json").read_text())["forecasters"]
    carry, persistence = (scores[name]["mse"]["mean"]["value"] for name in ("carry", "persistence"))
    assert carry < 0.5 * persistence
    refused = statecast("train", "broken.yaml")
    assert refused.returncode == 2
    assert "package carry announces 'broken'" in refused.stderr


def mean_of(scores):
    """The mean of MSE over lead times."""
    return scores["mse"]["mean"].value
