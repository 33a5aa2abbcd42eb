"""Moving shapes: straight ways between walls, the near hides the far, the view moves."""

import math

import pytest
import torch

from statecast.data.synthetic.moving_shapes import KINDS, MARGIN, MovingShapes, Scene, render


def windows(split="test", **options):
    return MovingShapes(test_videos=40, **options).windows(split)


@pytest.mark.parametrize("stochastic", [True, False])
def test_shapes_go_straight_at_one_speed_and_turn_at_walls_alone(stochastic):
    source = MovingShapes(test_videos=40, stochastic=stochastic, shapes=3)
    latents = source.windows("test").batch(torch.arange(40)).latents
    position, velocity = latents["position"], latents["velocity"]
    speed = velocity.norm(dim=-1)
    torch.testing.assert_close(speed, speed[:, :1].expand_as(speed))
    smallest = source.shape_size * 2 / 3 + MARGIN
    assert smallest <= position.min() <= position.max() <= source.frame_size - smallest
    aim = position[:, :-1] + velocity[:, :-1]
    straight = (aim - position[:, 1:]).abs().amax(dim=-1) < 1e-4
    kept = (velocity[:, 1:] - velocity[:, :-1]).abs().amax(dim=-1) < 1e-5
    assert torch.equal(straight, kept)
    assert 0.05 < 1 - float(straight.float().mean()) < 0.5
    # A reflection keeps the speed along each axis; a new direction does not.
    turned = (velocity[:, 1:].abs() - velocity[:, :-1].abs()).abs().amax(dim=-1)[~straight]
    assert bool((turned < 1e-4).all()) != stochastic


def still(kind, **changed):
    """One shape of radius 6 in the middle of 32 pixels, on black."""
    fields = {
        "positions": torch.full((1, 1, 1, 2), 16.0),
        "velocities": torch.zeros(1, 1, 1, 2),
        "radii": torch.full((1, 1), 6.0),
        "angles": torch.full((1, 1), 0.4),
        "kinds": torch.tensor([[KINDS.index(kind)]]),
        "colours": torch.ones(1, 1, 3),
        "camera": torch.zeros(1, 1, 2),
        "background": torch.zeros(1, 6),
    }
    return Scene(**(fields | changed))


@pytest.mark.parametrize(
    ("kind", "area"),
    [("disc", math.pi), ("square", 2.0), ("triangle", 0.75 * 3**0.5), ("ring", 0.75 * math.pi)],
)
def test_shapes_have_the_area_of_their_kind(kind, area):
    drawn = render(still(kind), 32)[0, 0].mean(dim=0)
    assert float(drawn.sum()) == pytest.approx(36 * area, rel=0.03)


def test_the_nearest_shape_hides_the_others():
    pair = {
        "positions": torch.full((1, 1, 2, 2), 16.0),
        "velocities": torch.zeros(1, 1, 2, 2),
        "radii": torch.full((1, 2), 6.0),
        "angles": torch.zeros(1, 2),
        "kinds": torch.zeros(1, 2, dtype=torch.long),
        "colours": torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]]),
    }
    assert render(still("disc", **pair), 32)[0, 0, :, 16, 16].tolist() == [0, 0, 1]


def test_a_view_that_moves_shifts_what_is_seen():
    moved = still("disc", camera=torch.tensor([[[3.0, -2.0]]]))
    torch.testing.assert_close(
        render(moved, 32).roll((-2, 3), dims=(3, 4)), render(still("disc"), 32)
    )
