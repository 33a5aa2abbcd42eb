"""The demo: trains, scores and draws each part; a signal stops all of it."""

import pytest
from PIL import Image

from statecast.cli.demo_steps import demo
from statecast.cli.main import main
from statecast.cli.train import STOPPED


def test_every_part_is_trained_scored_and_drawn(recipe, tmp_path, capsys):
    folder = demo(tmp_path / "demo", recipes={"one": recipe, "two": recipe})
    printed = capsys.readouterr().out
    for part in ("one", "two"):
        for name in ("forecast.png", "forecast.gif", "scores.png", "history.png"):
            path = folder / part / name
            with Image.open(path) as picture:
                assert picture.size[0] > 100
            assert str(path) in printed
        assert (folder / part / "scores.json").is_file()
    assert "persistence" in printed
    assert (folder / "summary.txt").read_text().strip() in printed


def test_a_folder_in_use_is_left_alone(recipe, tmp_path):
    first = demo(tmp_path / "demo", recipes={"one": recipe})
    second = demo(tmp_path / "demo", recipes={"one": recipe})
    assert (first.name, second.name) == ("demo", "demo-2")


@pytest.mark.parametrize("part", [1, 2])
def test_a_signal_stops_it(recipe, tmp_path, monkeypatch, capsys, part):
    from helpers.trainings import interrupt_at

    import statecast.cli.demo_steps

    interrupt_at(3 + 12 * (part - 1), monkeypatch)
    parts = {"one": recipe, "two": recipe, "three": recipe}
    monkeypatch.setattr(statecast.cli.demo_steps, "RECIPES", parts)
    assert main(["demo", "--output", str(tmp_path / "demo")]) == STOPPED
    assert "Stopped" in capsys.readouterr().out
    made = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert made == ["one", "two"][:part]
