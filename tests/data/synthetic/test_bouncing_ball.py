"""Bouncing ball: constant speed, reflection at the walls, frames that show both."""

import pytest
import torch

from statecast.data.synthetic.bouncing_ball import WALL, BouncingBall, reflected

EVERY = torch.arange(60)


@pytest.fixture(scope="module")
def batch():
    return BouncingBall(test_videos=60, test_horizon=60).windows("test").batch(EVERY)


def test_the_ball_keeps_its_speed_and_stays_in_the_box(batch):
    position, velocity = (batch.latents[name][:, :, 0] for name in ("position", "velocity"))
    speed = velocity.norm(dim=2)
    torch.testing.assert_close(speed, speed[:, :1].expand_as(speed))
    assert 2 <= float(speed.min()) <= float(speed.max()) <= 3
    low, high = BouncingBall().room
    assert low - 1e-4 <= float(position.min()) < low + 0.5
    assert high - 0.5 < float(position.max()) <= high + 1e-4


def test_between_bounces_positions_follow_velocities(batch):
    position, velocity = (batch.latents[name][:, :, 0] for name in ("position", "velocity"))
    straight = (velocity[:, 1:] == velocity[:, :-1]).all(dim=2)
    moved = position.diff(dim=1) - velocity[:, :-1]
    assert 0.5 < float(straight.float().mean()) < 0.95
    assert float(moved[straight].abs().max()) < 1e-3


def test_what_is_reflected_has_its_mirror_image_as_a_straight_path():
    places = torch.linspace(-7, 9, 50)
    found, signs = reflected(places, 1.0, 3.0)
    again, _ = reflected(2 * 3.0 - places, 1.0, 3.0)
    torch.testing.assert_close(found, again)
    assert set(signs.tolist()) == {-1.0, 1.0}
    inside = (places > 1) & (places < 3)
    torch.testing.assert_close(found[inside], places[inside])
    assert bool((signs[inside] == 1).all())


def test_frames_are_black_and_white_and_show_ball_and_box(batch):
    frames = batch.values[:, :, 0]
    assert set(frames.unique().tolist()) == {0.0, 1.0}
    inner = frames[:, :, WALL + 1 : -WALL - 1, WALL + 1 : -WALL - 1]
    place = torch.arange(32.0)[WALL + 1 : -WALL - 1]
    x = (inner.sum(dim=2) @ place) / inner.sum(dim=(2, 3))
    y = (inner.sum(dim=3) @ place) / inner.sum(dim=(2, 3))
    found = torch.stack([x, y], dim=2)
    torch.testing.assert_close(found, batch.latents["position"][:, :, 0], atol=0.5, rtol=0)
    assert bool((frames[:, :, WALL, WALL:-WALL] == 1).all())
    assert bool((frames[:, :, :WALL] == 0).all())
