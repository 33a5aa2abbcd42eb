"""The worked example of docs/extend.md runs as it stands, and its model learns."""

import re
import sys
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[2] / "docs" / "extend.md"


def test_the_model_of_the_page_beats_persistence(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    module = ModuleType("example_of_the_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, str(PAGE), "exec"), module.__dict__)
    scores = module.scores["forecasters"]
    assert module.result.step == module.options.steps
    assert mean_of(scores["carry"]) < 0.5 * mean_of(scores["persistence"])


def mean_of(scores):
    """The mean of MSE over lead times."""
    return scores["mse"]["mean"]["value"]
