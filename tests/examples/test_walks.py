"""The walks of docs/ for a student, an oceanographer and an engineer run, with fewer steps."""

import re
import shlex
from pathlib import Path

import numpy as np
import xarray

from statecast.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"
FEWER = {
    "train": (
        "--train.steps=3 --train.batch_size=4 --train.validate_every=3 --train.validation_windows=4"
    ),
    "evaluate": "--evaluate.max_windows=4 --evaluate.samples=2 --evaluate.analyses=[]",
}


def walk(page, folder, monkeypatch):
    """Run the commands and the Python of a page in a folder, in their order; its variables."""
    monkeypatch.chdir(folder)
    text = (DOCS / page).read_text(encoding="utf-8")
    variables = {}
    for kind, code in re.findall(r"```(bash|python)\n(.*?)```", text, re.DOTALL):
        if kind == "python":
            exec(compile(code, page, "exec"), variables)
            continue
        for line in code.replace("\\\n", " ").splitlines():
            program, verb, *words = shlex.split(line)
            assert program == "statecast"
            assert main([verb, *words, *FEWER.get(verb, "").split()]) == 0, line
    return variables


def test_a_student_compares_two_models(tmp_path, monkeypatch, capsys):
    walk("student.md", tmp_path, monkeypatch)
    compared = capsys.readouterr().out
    assert "convlstm" in compared
    assert "persistence" in compared
    assert "cannot be compared" not in compared
    assert (tmp_path / "srvp.pdf").read_bytes().startswith(b"%PDF")


def test_an_oceanographer_forecasts_a_file(tmp_path, monkeypatch, capsys):
    found = walk("oceanographer.md", tmp_path, monkeypatch)
    land = np.isnan(found["values"]).all(axis=0)
    np.testing.assert_array_equal(found["future"]["sst_mean"].isnull().all("lead_time"), land)
    assert found["future"]["valid_time"][0] == np.datetime64("2022-12-31")
    assert found["forecast"]["sst"].sizes["realization"] == 20
    with xarray.open_zarr("hindcast.zarr", consolidated=False, decode_timedelta=True) as store:
        assert store["sst"].sizes["init_time"] == 4


def test_an_engineer_keeps_a_latent_state(tmp_path, monkeypatch):
    found = walk("engineer.md", tmp_path, monkeypatch)
    assert found["future"].samples.shape == (10, 1, 20, 1, 32, 32)
    assert found["soon"].times.tolist() == [0.5, 1.0, 1.5]
