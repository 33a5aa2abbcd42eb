"""The demo: trains, scores and draws each part; a signal stops all of it."""

import pytest
from PIL import Image

from statecast.cli.demo_steps import demo
from statecast.cli.main import main
from statecast.cli.train import STOPPED
from statecast.runs.trained import trained_names


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
    for name in trained_names():
        assert (folder / "trained" / name / "forecast.png").is_file()
    assert "persistence" in printed
    assert (folder / "summary.txt").read_text().strip() in printed


def test_started_again_it_goes_on_where_it_stopped(recipe, tmp_path, monkeypatch, capsys):
    from helpers.trainings import interrupt_at

    parts = {"one": recipe, "two": recipe}
    interrupt_at(15, monkeypatch)  # the third step of the second part
    assert demo(tmp_path / "demo", recipes=parts) is None
    first = (tmp_path / "demo" / "one" / "summary.txt").stat().st_mtime_ns
    interrupt_at(None, monkeypatch)
    folder = demo(tmp_path / "demo", recipes=parts)
    assert (folder / "one" / "summary.txt").stat().st_mtime_ns == first
    assert "12 steps" in (folder / "two" / "summary.txt").read_text()


@pytest.mark.parametrize("part", [1, 2])
def test_a_signal_stops_it(recipe, tmp_path, monkeypatch, capsys, part):
    from helpers.trainings import interrupt_at

    import statecast.cli.demo_steps

    interrupt_at(3 + 12 * (part - 1), monkeypatch)
    parts = {"one": recipe, "two": recipe, "three": recipe}
    monkeypatch.setattr(statecast.cli.demo_steps, "RECIPES", parts)
    assert main(["demo", "--output", str(tmp_path / "demo")]) == STOPPED
    assert "Stopped" in capsys.readouterr().out
    made = {path.name for path in (tmp_path / "demo").iterdir()} - {"trained"}
    assert made == {"one", "two"} if part == 2 else {"one"}
