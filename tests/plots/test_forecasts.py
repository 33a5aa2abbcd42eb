"""Pictures: readable files, as many frames as there are, borders and gaps in their colours."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from statecast.errors import FileError, InputError
from statecast.frames import Forecast, Frames
from statecast.io.fields.coordinates import Coordinates, Variable
from statecast.io.fields.time_steps import Step
from statecast.plots.animations import BAR, BORDER, GAP, WORDS, animate_forecast
from statecast.plots.curves import lead_time_axis, plot_history, plot_scores, score_charts
from statecast.plots.forecasts import plot_forecast
from statecast.plots.panels import (
    FORECAST,
    LAND,
    MISSING,
    OBSERVED,
    dates_of,
    panels_of,
    round_ticks,
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
        found = opened.convert("RGB").getcolors(opened.width * opened.height)
    return {colour for _, colour in found}


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
    path = tmp_path / "a.png"
    plot_forecast(context, forecast, path, target=target, title="a title")
    kind, size = kind_and_size(path)
    assert kind == "PNG"
    assert min(size) > 200
    if len(space) == 2:
        assert {rgb(OBSERVED), rgb(FORECAST)} <= pixels(path)


def drawn(path, context, forecast, **options):
    plot_forecast(context, forecast, path, **options)
    return path


def test_what_the_data_lack_is_grey_and_what_a_forecast_lacks_is_pink(tmp_path):
    context, forecast, target = example()
    colours = pixels(drawn(tmp_path / "a.png", context, forecast, target=target))
    assert not {rgb(MISSING), rgb(LAND)} & colours
    target.values[0, 0, 0, 3:6, 3:6] = torch.nan
    colours = pixels(drawn(tmp_path / "b.png", context, forecast, target=target))
    assert rgb(LAND) in colours
    assert rgb(MISSING) not in colours
    forecast.samples[:, 0, 1, 0, 3:6, 3:6] = torch.nan
    assert rgb(MISSING) in pixels(drawn(tmp_path / "c.png", context, forecast, target=target))


def labels(latitude, channels=("u",)):
    space = {"lat": latitude, "lon": np.linspace(0, 30, 16)}
    units = {"lat": "degrees_north", "lon": "degrees_east"}
    return Coordinates(
        space=("lat", "lon"),
        variables={n: Variable((n,), v, {"units": units[n]}) for n, v in space.items()},
        channels={name: {"units": "degC"} for name in channels},
        times=np.array(["2001-03-29", "2001-03-30", "2001-03-31"], dtype="datetime64[ns]"),
        step=Step(86400.0, "seconds"),
    )


def test_maps_are_north_up_whatever_the_order_of_latitudes():
    context, forecast, target = example()
    latitude = np.linspace(-30, 30, 16)
    seen = {}
    for name, values in (("ascending", latitude), ("descending", latitude[::-1])):
        labelled = replace(context, coordinates=labels(values))
        (seen[name],) = panels_of(labelled, forecast, target, 0, 1)
    assert (seen["ascending"].observed == context.values[0, :, 0].flip(1).numpy()).all()
    assert (seen["descending"].observed == context.values[0, :, 0].numpy()).all()
    for row, values in seen["ascending"].rows.items():
        assert (values[:, ::-1] == seen["descending"].rows[row]).all()


def test_forecasts_are_masked_where_nothing_is_ever_known():
    context, forecast, target = example(channels=("u", "v"))
    for frames in (context, target):
        frames.values[:, :, 0, 2:4, 5:9] = torch.nan
    first, second = panels_of(context, forecast, target, 0, 2)
    assert first.land.sum() == 8
    assert first.land[2:4, 5:9].all()
    assert not second.land.any()
    grey = np.array(rgb(LAND)) / 255
    for row in first.rows:
        assert first.colours(row, 0)[2:4, 5:9] == pytest.approx(np.broadcast_to(grey, (2, 4, 3)))


def test_every_variable_has_rows_labels_dates_and_scales(tmp_path):
    context, forecast, target = example(channels=("sst", "ssh"))
    names = labels(np.linspace(-30, 30, 16), ("sst", "ssh"))
    labelled = replace(context, coordinates=names)
    figure = plot_forecast(labelled, forecast, target=target, samples=2)
    told = [text.get_text() for text in figure.texts]
    assert "sst / degC" in told
    assert "ssh / degC" in told
    assert told.count("truth") == told.count("spread") == 2
    titles = {axes.get_title() for axes in figure.axes}
    assert {"0\n2001-03-31", "+1 day\n2001-04-01", "+5 days\n2001-04-05"} <= titles
    assert sum(hasattr(axes, "_colorbar") for axes in figure.axes) == 4
    (first,) = {axes.get_ylabel() for axes in figure.axes} - {""}
    assert first == "lat / °N"


@pytest.mark.parametrize(
    ("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_a_picture_is_written_as_its_ending_says(tmp_path, ending, start):
    context, forecast, _ = example(samples=1)
    path = drawn(tmp_path / f"a.{ending}", context, forecast)
    assert path.read_bytes().startswith(start)


def test_frames_are_equally_spaced():
    context, forecast, _ = example()
    long = replace(forecast, samples=torch.rand(1, 2, 14, 1, 16, 16), times=torch.arange(1.0, 15.0))
    figure = plot_forecast(context, long, columns=6)
    shown = [float(t) for axes in figure.axes if (t := axes.get_title()).startswith("+")]
    assert shown == [1, 4, 7, 10, 13]


def test_an_animation_has_a_frame_for_every_time_and_its_borders(tmp_path):
    context, forecast, target = example()
    path = animate_forecast(context, forecast, tmp_path / "a.gif", target=target, samples=2)
    with Image.open(path) as animation:
        assert animation.n_frames == 8
        heads = []
        for time in range(8):
            animation.seek(time)
            image = np.asarray(animation.convert("RGB"))
            heads.append(image[:WORDS].tobytes())
            image = image[2 * WORDS :]  # below the time and the names
            corner = GAP + BORDER // 2
            second = GAP + (96 + 2 * BORDER + GAP) + BORDER // 2
            assert tuple(image[corner, corner]) == pytest.approx(rgb(OBSERVED), abs=8)
            expected = OBSERVED if time < 3 else FORECAST
            assert tuple(image[corner, second]) == pytest.approx(rgb(expected), abs=8)
        assert len(set(heads)) == 8  # each frame says its time


def test_animated_maps_have_a_colour_bar_and_grey_images_have_none(tmp_path):
    columns = {}
    for name in ("sst", "intensity"):
        context, forecast, _ = example(channels=(name,))
        path = animate_forecast(context, forecast, tmp_path / f"{name}.gif", samples=2)
        with Image.open(path) as animation:
            image = np.asarray(animation.convert("RGB"))
        columns[name] = image[2 * WORDS + GAP :, GAP + 3 * (96 + 2 * BORDER + GAP) :][:, :BAR]
    high, low = columns["sst"][0, 0].astype(int), columns["sst"][95 + 2 * BORDER, 0].astype(int)
    assert high[0] > 200  # viridis: yellow above, violet below
    assert high[2] < 90
    assert low[1] < 60
    assert columns["intensity"].size == 0


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
    plot_scores(scores, tmp_path / "a.png")
    assert kind_and_size(tmp_path / "a.png")[0] == "PNG"
    # A score of whole videos has no value at a lead time, and takes no panel.
    whole = {"per_lead_time": [float("nan")] * 2, "value": 300.0, "half_width": 9.0}
    scores["forecasters"]["model"]["fvd"] = {"mean": whole}
    assert [chart.title for chart in score_charts(scores)] == ["MSE ↓", "CRPS ↓"]
    scores["forecasters"] = {"model": {"fvd": {"mean": whole}}}
    plot_scores(scores, tmp_path / "e.png")
    assert kind_and_size(tmp_path / "e.png")[0] == "PNG"
    history = {"step": [1, 2], "total": [3.0, 2.0], "rate": [1e-5, 1.0]}
    figure = plot_history(history)
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "log"]
    with pytest.raises(InputError, match="logged nothing"):
        plot_history({"step": []}, tmp_path / "c.png")


def test_scores_of_fields_have_the_unit_of_the_fields_and_one_line_each():
    ways = {way: {"per_lead_time": [1.0, 2.0 + i]} for i, way in enumerate(("mean", "best"))}
    mean = {"per_lead_time": [1.0, 1.5]}
    found = {"mse": ways | {"ensemble_mean": mean}, "crps": {"ensemble": mean}}
    scores = {"lead_times": [1.0, 2.0], "unit": "K", "forecasters": {"m": found, "other": found}}
    squared, crps = score_charts(scores)
    assert (squared.y_label, crps.y_label) == ("(K)²", "K")
    assert [list(line.y) for line in squared.lines] == [[1.0, 1.5]] * 2
    # A baseline with the same scores is drawn over the model, whose line is wider.
    assert squared.lines[0].width > squared.lines[1].width


def test_lead_times_are_in_the_unit_of_the_data():
    assert lead_time_axis([1.0, 2.0], "2 years") == ([2.0, 4.0], "lead time / years")
    assert lead_time_axis([1.0, 2.0], None) == ([1.0, 2.0], "lead time / frames")
    assert lead_time_axis([1.0, 2.0], "6 hours") == ([6.0, 12.0], "lead time / hours")
    assert lead_time_axis([1.0, 2.0], "1 day") == ([1.0, 2.0], "lead time / days")


def test_scores_show_bands_whole_ticks_and_the_line_of_spread_that_equals_skill():
    line = {"per_lead_time": [0.5, 0.7, 0.8], "value": 0.7, "half_width": 0.1,
            "half_widths": [0.1, 0.2, 0.1]}  # fmt: skip
    found = {"spread_skill": {"ensemble": line}}
    figure = plot_scores({"lead_times": [1.0, 2.0, 3.0], "forecasters": {"model": found}})
    (panel,) = figure.axes
    assert panel.get_title() == "spread skill →1"
    assert any(list(drawn.get_ydata()) == [1.0, 1.0] for drawn in panel.get_lines())
    (band,) = panel.collections
    assert band.get_datalim(panel.transData).y1 == pytest.approx(0.9)
    assert all(tick == round(tick) for tick in panel.get_xticks())


def test_ticks_of_a_map_are_round_and_where_their_coordinate_is():
    latitudes = np.linspace(61.3, -43.7, 60)
    places, words = round_ticks(latitudes, degrees=True)
    assert words == ["-30", "0", "30", "60"]
    np.testing.assert_allclose(
        np.interp(places, np.arange(60), latitudes), [-30, 0, 30, 60], atol=1e-9
    )
    assert round_ticks(np.arange(0.5, 360), degrees=True)[1] == ["90", "180", "270"]
    assert round_ticks(np.linspace(13.1, 14.3, 9), degrees=True)[1] == ["13.5", "14"]
    across = round_ticks(np.array([350.0, 355.0, 0.0, 5.0]), degrees=True)
    assert across[1] == ["350", "0", "5"]


def test_bad_arguments_leave_no_file(tmp_path):
    context, forecast, _ = example()
    with pytest.raises(InputError, match="0 to 1, got sequence=2"):
        plot_forecast(context, forecast, tmp_path / "a.png", sequence=2)
    with pytest.raises(InputError, match=r"\.png, \.pdf or \.svg, got 'a.jpg'"):
        plot_forecast(context, forecast, tmp_path / "a.jpg")
    with pytest.raises(InputError, match="positive speed"):
        animate_forecast(context, forecast, tmp_path / "a.gif", frames_per_second=0)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileError, match="Cannot write"):
        plot_forecast(context, forecast, tmp_path / "none" / "a.png")


def test_equal_samples_are_drawn_as_one_forecast():
    context, forecast, target = example()
    equal = replace(forecast, samples=forecast.samples[:1].expand(4, -1, -1, -1, -1, -1))
    (panels,) = panels_of(context, equal, target, 0, 3)
    assert list(panels.rows) == ["truth", "forecast", "error"]
    (panels,) = panels_of(context, forecast, target, 0, 3)
    assert list(panels.rows) == ["truth", "mean", "sample 1", "sample 2", "sample 3", "spread"]


def test_the_spread_of_colours_is_that_of_all_three():
    context, forecast, target = example(channels=("red", "green", "blue"))
    forecast.samples[:, :, :, 0] = 0.5
    (panels,) = panels_of(context, forecast, target, 0, 1)
    expected = forecast.std[0].mean(dim=1)
    assert panels.rows["spread"] == pytest.approx(expected.numpy())


def waves(order):
    """A wave along a line whose points are numbered in some order, and its forecast."""
    place = torch.linspace(0, 3, 40)[order]
    times = torch.arange(-2.0, 6.0)
    values = torch.sin(place + 0.1 * times[:, None])[None, :, None]
    context = Frames.context_of(values[:, :3], ("u",))
    samples = torch.stack([values[:, 3:], values[:, 3:] + 0.1])
    forecast = Forecast(samples=samples, times=times[3:], channels=("u",))
    return context, forecast, Frames.target_of(values[:, 3:], ("u",))


def test_scattered_points_are_sorted_by_value_and_a_line_is_left_in_its_order():
    line = torch.arange(40)
    (panels,) = panels_of(*waves(line), 0, 1)
    assert (panels.order == line.numpy()).all()
    mixed = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    context, forecast, target = waves(mixed)
    (panels,) = panels_of(context, forecast, target, 0, 1)
    assert (np.diff(panels.observed[-1]) >= 0).all()
    assert (panels.rows["truth"] == target.values[0, :, 0, panels.order].numpy()).all()
    assert (panels.rows["sample 1"] == forecast.samples[0, 0, :, 0, panels.order].numpy()).all()
    figure = plot_forecast(context, forecast, target=target)
    assert "point, by its last observed value" in {axes.get_ylabel() for axes in figure.axes}


def test_images_and_curves_of_points_lie_at_their_times():
    context, forecast, target = waves(torch.arange(40))
    figure = plot_forecast(context, forecast, target=target, samples=1)
    images = {axes.get_title(): axes for axes in figure.axes if axes.collections}
    assert list(images)[:4] == ["truth", "mean", "sample 1", "spread"]
    (mesh,) = images["truth"].collections
    assert mesh.get_coordinates()[0, :, 0].tolist() == [t - 0.5 for t in range(-2, 7)]
    curves = next(axes for axes in figure.axes if axes.get_title().startswith("point "))
    point = int(curves.get_title().removeprefix("point "))
    known, mean = (line.get_ydata() for line in curves.get_lines()[:2])
    seen, came = (frames.values[0, :, 0, point].numpy() for frames in (context, target))
    assert known == pytest.approx(np.concatenate([seen, came]))
    assert mean == pytest.approx(came + 0.05, abs=1e-6)
    uneven = replace(forecast, samples=forecast.samples[:, :, :2], times=torch.tensor([0.5, 2.0]))
    (mesh,) = plot_forecast(context, uneven).axes[0].collections
    assert mesh.get_coordinates()[0, -3:, 0].tolist() == [0.25, 1.25, 2.75]


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Step(86400.0, "seconds"), ["2001-03-01", "2001-03-02", "2001-03-02T18:00:00"]),
        (Step(21600.0, "seconds"), ["2001-03-01T12:00:00", "2001-03-01T18:00:00"]),
        (Step(12.0, "months"), ["2001-03-01", "2002-03-01"]),
    ],
)
def test_daily_maps_show_no_time_of_day(step, expected):
    labels = Coordinates(
        space=("lat", "lon"), variables={}, channels={},
        times=np.array(["2001-03-01T12"], "M8[ns]"), step=step,
    )  # fmt: skip
    assert dates_of(labels, [0.0, 1.0, 1.25][: len(expected)]) == expected
