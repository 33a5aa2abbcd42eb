"""Pictures: readable files, as many frames as there are, borders and gaps in their colours."""

import numpy as np
import pytest
import torch
from PIL import Image

from statecast.errors import FileError, InputError
from statecast.frames import Forecast, Frames
from statecast.plots.animations import BORDER, GAP, animate_forecast
from statecast.plots.forecasts import (
    FORECAST,
    MISSING,
    OBSERVED,
    plot_forecast,
    plot_history,
    plot_scores,
)


def rgb(colour):
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def example(space=(16, 16), channels=("u",), samples=4):
    generator = torch.Generator().manual_seed(0)
    shape = (len(channels), *space)
    context = Frames.context_of(torch.rand(2, 3, *shape, generator=generator), channels)
    target = Frames.target_of(torch.rand(2, 5, *shape, generator=generator), channels)
    drawn = torch.rand(samples, 2, 5, *shape, generator=generator)
    return context, Forecast(samples=drawn, times=target.times, channels=channels), target


def kind_and_size(path):
    with Image.open(path) as image:
        return image.format, image.size


def pixels(path):
    with Image.open(path) as opened:
        image = np.asarray(opened.convert("RGB"))
    return {tuple(p) for p in image.reshape(-1, 3)}


@pytest.mark.parametrize(
    ("space", "channels"),
    [
        ((16, 16), ("u",)),
        ((12, 20), ("red", "green", "blue")),
        ((30,), ("u",)),
        ((8, 8), ("u", "v")),
    ],
)
def test_a_forecast_of_any_kind_is_drawn(tmp_path, space, channels):
    context, forecast, target = example(space, channels)
    path = plot_forecast(context, forecast, tmp_path / "a.png", target=target, title="a title")
    kind, size = kind_and_size(path)
    assert kind == "PNG"
    assert min(size) > 200
    if len(space) == 2:
        assert {rgb(OBSERVED), rgb(FORECAST)} <= pixels(path)


def test_a_gap_is_drawn_in_its_own_colour(tmp_path):
    context, forecast, target = example()
    without = plot_forecast(context, forecast, tmp_path / "a.png", target=target)
    assert rgb(MISSING) not in pixels(without)
    target.values[0, 0, 0, 3:6, 3:6] = torch.nan
    path = plot_forecast(context, forecast, tmp_path / "b.png", target=target)
    assert rgb(MISSING) in pixels(path)


def test_a_row_for_the_spread_where_samples_differ(tmp_path):
    sizes = []
    for samples in (1, 4):
        context, forecast, _ = example(samples=samples)
        path = plot_forecast(context, forecast, tmp_path / "a.png")
        sizes.append(kind_and_size(path)[1][1])
    assert sizes[1] > 3 * sizes[0]  # mean, 3 samples, spread instead of one row


def test_an_animation_has_a_frame_for_every_time_and_its_borders(tmp_path):
    context, forecast, target = example()
    path = animate_forecast(context, forecast, tmp_path / "a.gif", target=target, samples=2)
    with Image.open(path) as animation:
        assert animation.n_frames == 8
        for time in range(8):
            animation.seek(time)
            image = np.asarray(animation.convert("RGB"))
            corner = GAP + BORDER // 2
            second = GAP + (96 + 2 * BORDER + GAP) + BORDER // 2
            assert tuple(image[corner, corner]) == pytest.approx(rgb(OBSERVED), abs=8)
            expected = OBSERVED if time < 3 else FORECAST
            assert tuple(image[corner, second]) == pytest.approx(rgb(expected), abs=8)


@pytest.mark.parametrize("space", [(16, 16), (30,)])
def test_animations_of_colours_and_points(tmp_path, space):
    channels = ("red", "green", "blue") if len(space) == 2 else ("u",)
    context, forecast, _ = example(space, channels, samples=1)
    with Image.open(animate_forecast(context, forecast, tmp_path / "a.gif")) as animation:
        assert animation.n_frames == 8


def test_scores_and_curves_are_drawn(tmp_path):
    line = {"per_lead_time": [1.0, 2.0], "value": 1.5, "half_width": 0.1}
    scores = {
        "lead_times": [1.0, 2.0],
        "forecasters": {
            "model": {"mse": {"mean": line}, "crps": {"ensemble": line}},
            "persistence": {"mse": {"mean": line}},
        },
    }
    assert kind_and_size(plot_scores(scores, tmp_path / "a.png"))[0] == "PNG"
    # A score of whole videos has no value at a lead time, and takes no panel.
    whole = {"per_lead_time": [float("nan")] * 2, "value": 300.0, "half_width": 9.0}
    scores["forecasters"]["model"]["fvd"] = {"mean": whole}
    assert kind_and_size(plot_scores(scores, tmp_path / "d.png")) == kind_and_size(
        tmp_path / "a.png"
    )
    scores["forecasters"] = {"model": {"fvd": {"mean": whole}}}
    assert kind_and_size(plot_scores(scores, tmp_path / "e.png"))[0] == "PNG"
    history = {"step": [1, 2], "total": [3.0, 2.0], "rate": [1e-5, 1.0]}
    assert kind_and_size(plot_history(history, tmp_path / "b.png"))[0] == "PNG"
    with pytest.raises(InputError, match="logged nothing"):
        plot_history({"step": []}, tmp_path / "c.png")


def test_bad_arguments_leave_no_file(tmp_path):
    context, forecast, _ = example()
    with pytest.raises(InputError, match="0 to 1, got sequence=2"):
        plot_forecast(context, forecast, tmp_path / "a.png", sequence=2)
    with pytest.raises(InputError, match="positive speed"):
        animate_forecast(context, forecast, tmp_path / "a.gif", frames_per_second=0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileError, match="Cannot write"):
        plot_forecast(context, forecast, tmp_path / "none" / "a.png")


def test_a_failure_in_writing_leaves_the_old_picture(tmp_path, monkeypatch):
    context, forecast, _ = example()
    path = plot_forecast(context, forecast, tmp_path / "a.png")
    before = path.read_bytes()

    def full(self, place, **options):
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(FileError, match="the disk is full"):
        plot_forecast(context, forecast, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
