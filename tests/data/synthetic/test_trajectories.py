"""Motion of digits: published positions, a slow twin, and what a bounce may do."""

from pathlib import Path

import numpy as np
from helpers.seeds import seeded

from statecast.data.synthetic.trajectories import move, trajectories

GOLDEN = Path(__file__).parents[2] / "golden" / "moving_digits_deterministic.npz"
ROOM = 36


def test_deterministic_motion_equals_the_published_one():
    golden = np.load(GOLDEN)
    start, speed = golden["initial"][:, :2], golden["initial"][:, 2:]
    found = move(start, speed, 100, room=ROOM)
    np.testing.assert_allclose(found.positions.swapaxes(0, 1), golden["positions"], atol=1e-12)
    np.testing.assert_array_equal(found.velocities.swapaxes(0, 1), golden["velocities"])


def slow_step(position, velocity, draw):
    """One object, one frame, wall by wall."""
    position, velocity, left = list(position), list(velocity), 1.0
    while True:
        crossed = []
        for axis in (0, 1):
            aim = position[axis] + velocity[axis] * left
            if aim < -1e-9:
                crossed.append((-position[axis] / velocity[axis], axis, 0))
            elif aim > ROOM + 1e-9:
                crossed.append(((ROOM - position[axis]) / velocity[axis], axis, ROOM))
        if not crossed:
            return [p + v * left for p, v in zip(position, velocity, strict=True)], velocity
        time = min(crossed)[0]
        position = [p + v * time for p, v in zip(position, velocity, strict=True)]
        left -= time
        fresh = draw() if draw else None
        if fresh is not None:
            velocity = list(fresh)
        for when, axis, wall in crossed:
            if when == time:
                position[axis] = wall
                velocity[axis] = abs(velocity[axis]) * (1 if wall == 0 else -1)


def test_stochastic_motion_equals_a_slow_twin():
    rng = np.random.default_rng(0)
    for _ in range(60):
        start, speed = rng.integers(0, ROOM + 1, 2), rng.integers(-9, 10, 2)
        fresh = rng.integers(-9, 10, (400, 2)).astype(float)
        ours, theirs = iter(fresh), iter(fresh)
        found = move(start[None], speed[None], 40, room=ROOM, draw=lambda s=ours: next(s)[None])
        position, velocity = start.astype(float), speed.astype(float)
        for time in range(1, 40):
            position, velocity = slow_step(position, velocity, lambda s=theirs: next(s))
            np.testing.assert_allclose(found.positions[time, 0], position, atol=1e-9)
            np.testing.assert_allclose(found.velocities[time, 0], velocity)


def made(seed, **options):
    generator = seeded(seed)
    defaults = {"room": ROOM, "max_speed": 4, "stochastic": True}
    return trajectories(500, 60, **(defaults | options), generator=generator)


def test_objects_stay_in_the_frame_at_whole_speeds():
    found = made(0)
    assert found.positions.min() >= 0
    assert found.positions.max() <= ROOM
    assert set(np.unique(found.velocities)) == set(range(-4, 5))


def test_between_bounces_motion_is_straight():
    found = made(1)
    change = np.diff(found.positions, axis=0)
    steady = (found.velocities[1:] == found.velocities[:-1]).all(axis=-1)
    np.testing.assert_allclose(change[steady], found.velocities[1:][steady], atol=1e-9)


def test_a_bounce_draws_every_speed_away_from_the_wall_alike():
    found = made(2)
    left_wall = (found.velocities[:-1, :, 0] < 0) & (found.velocities[1:, :, 0] > 0)
    speeds, counts = np.unique(found.velocities[1:, :, 0][left_wall], return_counts=True)
    assert list(speeds) == [1, 2, 3, 4]
    np.testing.assert_allclose(counts / counts.sum(), 0.25, atol=0.05)


def test_a_reflection_keeps_speeds():
    found = made(3, stochastic=False)
    speed = np.abs(found.velocities)
    np.testing.assert_array_equal(speed, np.broadcast_to(speed[:1], speed.shape))


def test_without_standing_no_object_rests_and_all_other_speeds_are_alike():
    found = made(6, standing=False, max_speed=2)
    speeds = found.velocities.astype(int)
    assert np.abs(speeds).sum(axis=-1).min() > 0
    pairs, counts = np.unique(speeds[0], axis=0, return_counts=True)
    assert len(pairs) == 24
    assert counts.min() > 5
    assert (np.abs(made(6, max_speed=2).velocities).sum(axis=-1) == 0).any()


def test_same_seed_same_motion():
    np.testing.assert_array_equal(made(4).positions, made(4).positions)
    assert (made(4).positions != made(5).positions).any()
