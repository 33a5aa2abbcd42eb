"""`benchmarks/gpu.py` runs on a processor as well, and refuses where no GPU is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
RECIPE = "srvp-digits-small"


def run(*words):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def run_parts(folder, *parts):
    words = ["--device", "cpu", "--quick", "--recipes", RECIPE, "--output", str(folder)]
    code, printed, said = run(*words, "--parts", *parts)
    assert code == 0, said
    assert printed == (folder / "gpu.md").read_text() + "\n"
    return {
        name: table["rows"][0]
        for name, table in json.loads((folder / "gpu.json").read_text()).items()
    }


def test_parts_of_one_process_run_on_a_processor(tmp_path):
    rows = run_parts(tmp_path, "parity", "steps", "best", "memory")
    assert {row["recipe"] for row in rows.values()} == {RECIPE}
    assert rows["parity"]["loss off by"] == "0.0e+00"  # float32 on the processor itself
    assert rows["parity"]["agrees"] == "yes"
    assert rows["steps"]["of peak"].endswith("%")


@pytest.mark.slow
def test_compiling_and_two_processes_run_on_a_processor(tmp_path):
    rows = run_parts(tmp_path, "compile", "processes")
    assert float(rows["compile"]["gain"]) > 0
    assert float(rows["processes"]["losses off by"]) < 1e-2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_script_says_what_to_do():
    code, printed, said = run("--parts", "parity")
    assert (code, printed) == (2, "")
    assert "There is no device 'cuda' here." in said
    assert "--device cpu --quick" in said


def test_published_recipes_are_what_the_steps_are_of(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    from gpu_parts.recipes import published, spec_of

    found = published()
    assert {"srvp-kth", "svg-bair", "mim-taxibj", "separable-wave-100", "kvae-ball"} <= set(found)
    assert not {"dmd-wave-100", "fields", "srvp-digits-small", "srvp-forks"} & set(found)
    assert spec_of("mim-taxibj").frame_shape == (2, 32, 32)
