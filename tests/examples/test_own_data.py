"""docs/own_data.md: every command that it shows prints what it shows, on files of that kind."""

import re
import shlex
from pathlib import Path

import pytest
from helpers.own_data_files import MAKERS

from statecast.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "own_data.md"
# What a training prints comes before its first step.
SHORT = ("--train.steps", "2", "--train.batch_size", "2", "--train.validate_every", "2",
         "--train.validation_windows", "2", "--train.checkpoint_every", "2",
         "--model.width", "2")  # fmt: skip
LEFT_OUT = re.compile(r"\[?…\]?")


def sections():
    """Commands with the output that is shown, of each part of the page that has any."""
    found = []
    for part in re.split(r"\n(?=\*\*|#+ )", PAGE.read_text(encoding="utf-8")):
        blocks = "\n".join(re.findall(r"```\n(.*?)```", part, flags=re.DOTALL))
        shown = re.split(r"^\$ statecast ", blocks.replace("\\\n", " "), flags=re.MULTILINE)[1:]
        if shown:
            commands = [(shlex.split(text.partition("\n")[0]), text.partition("\n")[2])
                        for text in shown]  # fmt: skip
            trains = any(words[0] != "inspect" for words, _ in commands)
            name = re.sub(r"\W+", "-", part.strip("*# \n")[:24])
            marks = [pytest.mark.slow, pytest.mark.timeout(900)] if trains else []
            found.append(pytest.param(commands, id=name, marks=marks))
    return found


def agrees(shown, printed):
    """Whether the pieces of what is shown are there, in order; white space is any."""
    place, whole = 0, " ".join(printed.split())
    for piece in LEFT_OUT.split(shown):
        found = whole.find(" ".join(piece.split()), place)
        assert found >= 0, f"{piece!r} is not printed in:\n{printed}"
        place = found + len(" ".join(piece.split()))


@pytest.mark.parametrize("commands", sections())
def test_commands_print_what_is_shown(commands, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATECAST_CACHE", str(tmp_path / "cache"))
    training = None
    for words, shown in commands:
        for name in set(MAKERS) & {word.split("/")[0] for word in words}:
            if not Path(name).exists():
                MAKERS[name](tmp_path / name)
        if words[0] == "forecast":
            assert main([*training, *SHORT, "--output", words[1]]) == 0
        if words[0] == "train":
            training = words
        capsys.readouterr()
        assert main([*words, *(SHORT if words[0] == "train" else ())]) == 0
        printed = capsys.readouterr()
        agrees(shown, printed.out + printed.err)
        if words[0] == "inspect":
            training = shlex.split(re.search(r"Train: statecast (.*)", printed.out)[1])
