"""What the command says besides results, and how threads wait."""

import os
import subprocess
import sys

import pytest

from statecast.cli.main import MISTAKE, main


@pytest.mark.parametrize("words", [["train", "--quiet"], ["--quiet", "train"]])
def test_quiet_says_results_alone(recipe, tmp_path, capsys, words):
    command = [*words, recipe, "--train.validate_every", "0"]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "Trained 12 steps" in said.out
    assert said.err == ""
    assert main([w for w in command if w != "--quiet"] + ["--output", str(tmp_path / "two")]) == 0
    assert "step 12/12" in capsys.readouterr().err


def test_the_bare_command_says_where_to_start(capsys):
    assert main([]) == MISTAKE
    assert "statecast demo" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "wanted"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "9"}, "9"), ({"OMP_WAIT_POLICY": "active"}, "None")],
)
def test_threads_wait_briefly_unless_told_otherwise(given, wanted):
    code = (
        "import os, sys; from statecast.cli.main import main; main(['list']); "
        "sys.stderr.write(str(os.environ.get('GOMP_SPINCOUNT')))"
    )
    unset = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=unset | given
    )
    assert found.stderr == wanted
