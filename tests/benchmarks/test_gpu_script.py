"""`benchmarks/gpu.py` runs on a processor as well, and refuses where no GPU is."""

import json
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
RECIPE = "srvp-digits-small"
PARTS = ("gpu", "gpu_parts", "measuring", "plain", "speed_rows")


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in PARTS]:
        del sys.modules[name]


def run_parts(folder, capsys, *parts):
    import gpu

    words = ["--device", "cpu", "--quick", "--recipes", RECIPE, "--output", str(folder)]
    gpu.main([*words, "--parts", *parts])
    assert capsys.readouterr().out == (folder / "gpu.md").read_text() + "\n"
    tables = json.loads((folder / "gpu.json").read_text())
    return {name: table["rows"][0] for name, table in tables.items()}


def test_parts_of_one_process_run_on_a_processor(tmp_path, capsys, monkeypatch):
    from measuring import peaks

    monkeypatch.setattr(peaks, "SIDES", {"cpu": (64,)})
    rows = run_parts(tmp_path, capsys, "parity", "steps", "best", "memory")
    assert {row["recipe"] for row in rows.values()} == {RECIPE}
    assert rows["parity"]["loss off by"] == "0.0e+00"  # float32 on the processor itself
    assert rows["parity"]["agrees"] == "yes"
    assert rows["steps"]["of peak"].endswith("%")


@pytest.mark.slow
def test_compiling_and_two_processes_run_on_a_processor(tmp_path, capsys):
    rows = run_parts(tmp_path, capsys, "compile", "processes")
    assert float(rows["compile"]["gain"]) > 0
    assert float(rows["processes"]["losses off by"]) < 1e-2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_script_says_what_to_do(capsys):
    import gpu

    with pytest.raises(SystemExit):
        gpu.main(["--parts", "parity"])
    said = capsys.readouterr().err
    assert "This machine has no device 'cuda'." in said
    assert "--device cpu --quick" in said


def test_published_recipes_are_what_the_steps_are_of():
    from gpu_parts.recipes import published, spec_of

    found = published()
    assert {"srvp-kth", "svg-bair", "mim-taxibj", "separable-wave-100", "kvae-ball"} <= set(found)
    assert not {"dmd-wave-100", "fields", "srvp-digits-small", "srvp-forks"} & set(found)
    assert spec_of("mim-taxibj").frame_shape == (2, 32, 32)
