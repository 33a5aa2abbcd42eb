"""What the command says besides results, and how threads wait."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from statecast.cli.main import MISTAKE, main
from statecast.data.progress import progress

FULL = Path("/dev/full")  # every write to it fails, as on a full disk


@pytest.mark.parametrize("words", [["train", "--quiet"], ["--quiet", "train"]])
def test_quiet_says_results_alone(recipe, tmp_path, capsys, words):
    command = [*words, recipe, "--train.validate_every", "0"]
    assert main([*command, "--output", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert "Trained 12 steps" in said.out
    assert said.err == ""
    assert main([w for w in command if w != "--quiet"] + ["--output", str(tmp_path / "two")]) == 0
    told = capsys.readouterr().err
    assert re.search(r"step 12/12  .*\([\d.e+]+ steps/s, 0 min left\)", told)


@pytest.mark.parametrize("quiet", [True, False])
def test_progress_bars_mind_quiet(capsys, monkeypatch, quiet):
    assert main(["--quiet", "list"] if quiet else ["list"]) == 0
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress([1, 2], "counting")) == [1, 2]
    assert ("counting: 100%" in capsys.readouterr().err) is not quiet


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_one_line_with_code_2(monkeypatch, capsys):
    with FULL.open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(["list"]) == MISTAKE
    told = capsys.readouterr().err
    assert told.startswith("statecast: cannot write the output: ")
    assert told.count("\n") == 1


def test_an_error_that_is_not_of_the_output_is_not_told_as_one(monkeypatch):
    def lose_connection(arguments):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr("statecast.cli.main.run_command", lose_connection)
    with pytest.raises(ConnectionResetError):
        main(["list"])


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
