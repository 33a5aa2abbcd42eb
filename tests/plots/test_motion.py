"""Arrows of motion point where things go, and their lengths have a unit."""

import numpy as np
import pytest
import torch

from statecast.errors import InputError
from statecast.frames import Forecast, Frames
from statecast.io.fields.coordinates import Coordinates, Variable
from statecast.io.fields.time_steps import Step
from statecast.models.pknl.motion import MotionField
from statecast.plots.motion import arrows_of, plot_motion, round_number

pytest.importorskip("matplotlib")
TIMES = torch.arange(1.0, 4.0)


def labels(latitudes):
    return Coordinates(
        space=("lat", "lon"),
        variables={
            "lat": Variable(("lat",), latitudes, {"units": "degrees_north"}),
            "lon": Variable(("lon",), np.arange(12.0), {"units": "degrees_east"}),
        },
        channels={"sst": {"units": "degC"}},
        times=np.array(["2001-01-01", "2001-01-02"], "datetime64[ns]"),
        step=Step(86400.0, "seconds"),
    )


def moving(coordinates=None):
    """A context, its forecast, and a motion by 2 columns to the right and 1 row down."""
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(1, 2, 1, 8, 12, generator=generator)
    context = Frames(
        values=values, times=torch.tensor([-1.0, 0.0]), channels=("sst",), coordinates=coordinates
    )
    samples = torch.rand(1, 1, 3, 1, 8, 12, generator=generator)
    forecast = Forecast(samples=samples, times=TIMES, channels=("sst",), coordinates=coordinates)
    pixels = torch.tensor([2.0, 1.0]).view(1, 1, 2, 1, 1).expand(1, 3, 2, 8, 12).clone()
    pixels[..., :2, :] = 0.0
    return context, forecast, MotionField(pixels=pixels, times=TIMES, coordinates=coordinates)


def test_arrows_of_bare_frames_are_pixels():
    arrows, unit = arrows_of(moving()[2], 0, flip=False)
    assert unit == "pixels per frame"
    assert arrows.shape == (2, 3, 8, 12)
    assert np.allclose(arrows[:, 0, 5, 5], [2, 1])
    assert np.allclose(arrows[:, 0, 0], 0)


def test_arrows_go_with_the_map_which_is_drawn_north_up():
    field = moving(labels(np.arange(8.0)))[2]  # rows go northwards: down is up on the map
    arrows, unit = arrows_of(field, 0, flip=True)
    assert unit == "m/s"
    assert np.allclose(arrows[0, 0, 2, 5] / -arrows[1, 0, 2, 5], 2)
    assert arrows[0, 0, 2, 5] > 0
    assert np.allclose(arrows[:, 0, -1], 0)  # the first rows come last
    speed = np.hypot(*arrows[:, 0, 2, 5])
    assert speed == pytest.approx(np.hypot(2, 1) * 111_195 / 86400, rel=1e-2)


@pytest.mark.parametrize("latitudes", [None, np.arange(8.0), -np.arange(8.0)])
def test_a_picture_has_an_arrow_of_known_length(tmp_path, latitudes):
    context, forecast, field = moving(None if latitudes is None else labels(latitudes))
    path = tmp_path / "motion.png"
    figure = plot_motion(context, forecast, field, path, title="A sea")
    assert path.read_bytes().startswith(b"\x89PNG")
    keys = [key.text.get_text() for axes in figure.axes for key in axes.artists]
    assert keys == ["2 pixels per frame" if latitudes is None else "2 m/s"]


def test_what_does_not_belong_together_is_refused():
    context, forecast, field = moving()
    short = MotionField(pixels=field.pixels[:, :2], times=TIMES[:2])
    with pytest.raises(InputError, match=r"got 2 frames .* and 3 frames"):
        plot_motion(context, forecast, short)


def test_round_numbers():
    found = [round_number(value) for value in (0.0123, 0.2, 0.49, 5.0, 99.0)]
    assert found == pytest.approx([0.01, 0.2, 0.2, 5.0, 50.0])
