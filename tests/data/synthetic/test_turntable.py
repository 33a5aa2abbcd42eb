"""Turning objects: rays against exact geometry, rings of views, objects apart, a checked cache."""

import math

import numpy as np
import pytest
import torch

from statecast.data.base import SPLITS, seeded_generator
from statecast.data.synthetic.chair_shapes import random_seat
from statecast.data.synthetic.ray_casting import (
    AMBIENT,
    BOX,
    CYLINDER,
    ELLIPSOID,
    HALF_WIDTH,
    Parts,
    camera_at,
    picture,
)
from statecast.data.synthetic.turntable import Turntable, angles
from statecast.data.view_windows import ViewWindows, split_objects
from statecast.errors import InputError

SMALL = {"objects": 8, "frame_size": 16}
RED = (1.0, 0.0, 0.0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("STATECAST_CACHE", str(folder))
        yield folder


def one(kind, half, centre=(0, 0, 0), colour=RED):
    return Parts(np.array([kind]), np.array([centre]), np.array([half]), np.array([colour]))


def both(first, second):
    return Parts(*(np.concatenate(pair) for pair in zip(first, second, strict=True)))


def covered(image):
    """Area of what is not white, in the units of objects."""
    ink = 1 - image[1].astype(float) / 255  # red on white: no green where it covers
    return ink.sum() * (2 * HALF_WIDTH / image.shape[1]) ** 2


def test_cameras_are_orthonormal_and_turn_around_the_object():
    for azimuth, elevation in ((0, 0), (1, 0.4), (4, 1.2)):
        axes = np.stack(camera_at(azimuth, elevation))
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(camera_at(0, 0).forward, [0, 0, -1], atol=1e-7)
    np.testing.assert_allclose(camera_at(math.pi / 2, 0).forward, [-1, 0, 0], atol=1e-7)
    assert camera_at(0, 0.5).forward[1] < 0  # from above


@pytest.mark.parametrize("azimuth", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("elevation", [0.0, 0.5])
class TestSilhouette:
    """Areas of shadows, which are known exactly."""

    def test_of_a_box(self, azimuth, elevation):
        half = np.array([0.5, 0.3, 0.4])
        image = picture(one(BOX, half), camera_at(azimuth, elevation), 128)
        forward = np.abs(camera_at(azimuth, elevation).forward)
        faces = 4 * np.array([half[1] * half[2], half[0] * half[2], half[0] * half[1]])
        assert covered(image) == pytest.approx(faces @ forward, rel=0.015)

    def test_of_an_ellipsoid(self, azimuth, elevation):
        half = np.array([0.5, 0.3, 0.4])
        image = picture(one(ELLIPSOID, half), camera_at(azimuth, elevation), 128)
        forward = camera_at(azimuth, elevation).forward
        area = math.pi * half.prod() * np.linalg.norm(forward / half)
        assert covered(image) == pytest.approx(area, rel=0.015)

    def test_of_a_cylinder(self, azimuth, elevation):
        radius, height = 0.4, 0.3
        half = (radius, height, radius)
        image = picture(one(CYLINDER, half), camera_at(azimuth, elevation), 128)
        area = 4 * radius * height * math.cos(elevation) + math.pi * radius**2 * math.sin(elevation)
        assert covered(image) == pytest.approx(area, rel=0.015)


def test_the_nearer_part_is_seen_whatever_the_order():
    front = one(BOX, (0.3, 0.3, 0.1), centre=(0, 0, 0.5), colour=(0, 0, 1))
    behind = one(BOX, (0.5, 0.5, 0.1), centre=(0, 0, -0.5))
    one_way, other = (
        picture(both(*pair), camera_at(0, 0), 32) for pair in ((front, behind), (behind, front))
    )
    assert np.array_equal(one_way, other)
    assert one_way[2, 16, 16] > 0
    assert one_way[0, 16, 16] == 0
    from_behind = picture(both(front, behind), camera_at(math.pi, 0), 32)
    assert from_behind[2, 16, 16] == 0


def test_a_sphere_is_brightest_towards_the_light_and_only_ambient_in_shadow():
    image = picture(one(ELLIPSOID, (0.9, 0.9, 0.9)), camera_at(0.7, 0.3), 64)[0].astype(int)
    inside = (picture(one(ELLIPSOID, (0.9, 0.9, 0.9)), camera_at(0.7, 0.3), 64)[1]) == 0
    row, column = np.unravel_index(np.where(inside, image, 0).argmax(), image.shape)
    assert row < 32  # from above …
    assert column < 32  # … and the left
    assert image[row, column] >= 253
    assert image[inside].min() == pytest.approx(255 * AMBIENT, abs=2)


def test_turning_the_object_is_turning_the_camera():
    box = one(BOX, (0.5, 0.2, 0.3), centre=(0.1, 0.2, -0.3))
    quarter = one(BOX, (0.3, 0.2, 0.5), centre=(-0.3, 0.2, -0.1))  # by 90° about the y axis
    moved, turned = (
        picture(parts, camera_at(azimuth, 0.4), 32).astype(int)
        for parts, azimuth in ((box, 0.6), (quarter, 0.6 + math.pi / 2))
    )
    difference = np.abs(moved - turned)
    assert (difference > 8).mean() < 0.02  # rounding at edges
    assert (np.abs(moved - 255) > 8).any()


def test_seats_fit_the_picture_and_differ():
    seats = [random_seat(seeded_generator(3, number)) for number in range(30)]
    assert len({len(seat.kinds) for seat in seats}) > 4
    for seat in seats[:10]:
        for azimuth, elevation in np.radians(angles())[::7]:
            image = picture(seat, camera_at(azimuth, elevation), 24)
            rim = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], 1)
            assert (rim == 255).all()
            assert (image < 255).any()


class TestWindows:
    def test_rings_go_round_at_one_elevation(self, cache):
        windows = Turntable(**SMALL, horizon=40).windows("train")
        batch = windows.batch(torch.tensor([0, 30, 31, 61, 62]))
        azimuth, elevation = batch.latents["azimuth"], batch.latents["elevation"]
        steps = azimuth.diff(dim=1) % 360
        torch.testing.assert_close(steps, torch.full_like(steps, 360 / 31), atol=1e-3, rtol=0)
        assert (elevation == elevation[:, :1]).all()
        assert elevation[:, 0].tolist() == [20, 20, 30, 30, 20]
        torch.testing.assert_close(batch.values[:, 31:], batch.values[:, :14])
        assert not torch.equal(batch.values[:, 30], batch.values[:, 0])

    def test_the_papers_windows_go_on_to_the_other_elevation(self, cache):
        windows = Turntable(**SMALL, protocol="paper").windows("train")
        elevation = windows.batch(torch.tensor([25, 55])).latents["elevation"]
        assert elevation[0].tolist() == [20] * 6 + [30] * 9
        assert elevation[1].tolist() == [30] * 7 + [20] * 8

    def test_views_are_those_of_the_seats(self, cache):
        data = Turntable(**SMALL)
        batch = data.windows("test").batch(torch.tensor([40]))
        seat = random_seat(seeded_generator(42, 8, int(batch.latents["object"][0])))
        for time in (0, 14):
            view = [batch.latents[name][0, time] for name in ("azimuth", "elevation")]
            expected = picture(seat, camera_at(*np.radians(view)), 16)
            found = batch.values[0, time].mul(255).round().numpy()
            assert (np.abs(found - expected) <= 2).mean() > 0.99

    def test_latents_are_those_of_the_seats(self, cache):
        data = Turntable(**SMALL)
        latents = data.windows("test").batch(torch.tensor([40])).latents
        seat = random_seat(seeded_generator(42, 8, int(latents["object"][0])))
        assert float(latents["width"][0]) == pytest.approx(2 * seat.halves[0, 0])
        assert float(latents["depth"][0]) == pytest.approx(2 * seat.halves[0, 2])
        top = (seat.centres + seat.halves)[:, 1].max()
        assert float(latents["height"][0]) == pytest.approx(2 * top)  # the camera looks halfway up
        back = torch.atan2(latents["direction"][..., 1], latents["direction"][..., 0])
        torch.testing.assert_close(back.rad2deg() % 360, latents["azimuth"], atol=1e-3, rtol=0)

    def test_no_object_is_in_two_splits_and_all_in_one(self, cache):
        data = Turntable(**SMALL)
        seen = []
        for split in SPLITS:
            windows = data.windows(split)
            objects = windows.batch(torch.arange(len(windows))).latents["object"]
            seen += objects.unique().tolist()
        assert sorted(seen) == list(range(8))
        assert {k: len(v) for k, v in split_objects(1393).items()} == {
            "train": 1066, "validation": 118, "test": 209,
        }  # fmt: skip

    def test_an_exchange_shows_another_object_from_the_same_sides(self, cache):
        windows = Turntable(**SMALL).windows("train")
        indices = torch.arange(0, len(windows), 5)
        batch, swapped = windows.batch(indices), windows.swap_content(indices, seed=3)
        (truth,) = swapped.truths
        assert (truth.values != batch.target.values).flatten(1).any(dim=1).all()
        # It is one of the windows of the split that begin at the same view.
        for row in (0, 7, 20):
            same_view = torch.arange(int(indices[row]) % 62, len(windows), 62)
            targets = windows.batch(same_view).target.values
            assert (targets == truth.values[row]).flatten(1).all(dim=1).sum() == 1
        # Content from the first views of a window of that object; not from the same side.
        contexts = windows.batch(torch.arange(len(windows)))
        place = [
            int((contexts.context.values == content).flatten(1).all(dim=1).nonzero()[0])
            for content in swapped.content.values[:6]
        ]
        objects = contexts.latents["object"][place]
        assert (objects != batch.latents["object"][:6]).all()
        again = windows.swap_content(indices[:3], seed=3)
        assert torch.equal(again.content.values, swapped.content.values[:3])


class TestBadInput:
    def test_rings_that_do_not_fit(self):
        views = np.zeros((7, 10, 1, 4, 4), np.uint8)
        with pytest.raises(InputError, match="Rings of 4"):
            ViewWindows(
                views, np.arange(7), context=2, length=4, ring=4, channels=("grey",),
                angles=np.zeros((10, 2)),
            )  # fmt: skip

    def test_one_object_has_none_to_exchange_with(self, cache):
        windows = Turntable(**SMALL).windows("test")
        assert len(windows.objects) == 1
        with pytest.raises(InputError, match="at least 2 objects"):
            windows.swap_content(torch.tensor([0]), seed=1)
