"""Moving digits, one video after the other: each digit moved and drawn frame by frame in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

ROUNDING = 1e-9  # pixels; a wall that is missed by less is touched, not crossed

Numbers = Callable[[int, int], np.ndarray]  # two whole numbers from the first to the second


def batch(
    glyphs: np.ndarray, count: int, length: int, *, size: int, speed: int, stochastic: bool,
    generator: np.random.Generator, digits: int = 2,
) -> np.ndarray:  # fmt: skip
    """Videos (video, time, 1, size, size) in [0, 1] of digits chosen at random."""

    def numbers(low: int, high: int) -> np.ndarray:
        return generator.integers(low, high + 1, 2)

    videos = []
    for _ in range(count):
        chosen = glyphs[generator.integers(len(glyphs), size=digits)]
        room = size - glyphs.shape[-1]
        paths = [
            path(length, room=room, speed=speed, stochastic=stochastic, numbers=numbers)
            for _ in range(digits)
        ]
        videos.append(draw(chosen, paths, size))
    return np.stack(videos)[:, :, None].astype(np.float32) / 255


def path(
    length: int, *, room: int, speed: int, stochastic: bool, numbers: Numbers
) -> list[np.ndarray]:
    """Positions (x, y) of one digit, which starts at random."""
    position = numbers(0, room).astype(np.float64)
    velocity = numbers(-speed, speed).astype(np.float64)
    positions = [position]
    redraw = (lambda: numbers(-speed, speed).astype(np.float64)) if stochastic else None
    for _ in range(length - 1):
        position, velocity = move(position, velocity, room, redraw)
        positions.append(position)
    return positions


def move(
    position: np.ndarray, velocity: np.ndarray, room: int, redraw: Callable[[], np.ndarray] | None
) -> tuple[np.ndarray, np.ndarray]:
    """One frame: to the first wall, a bounce, and on with what is left of the frame."""
    left = 1.0
    while True:
        aim = position + velocity * left
        walls = []  # axis, wall, and time until it is reached
        for axis in range(2):
            if aim[axis] < -ROUNDING:
                walls.append((axis, 0.0, (0.0 - position[axis]) / velocity[axis]))
            elif aim[axis] > room + ROUNDING:
                walls.append((axis, float(room), (room - position[axis]) / velocity[axis]))
        if not walls:
            return aim.clip(0, room), velocity
        first = min(time for _, _, time in walls)
        position = position + velocity * min(first, left)
        left = left - min(first, left)
        fresh = -velocity if redraw is None else redraw()
        after = velocity.copy() if redraw is None else fresh.copy()
        for axis, wall, time in walls:
            if time == first:
                position[axis] = wall
                after[axis] = abs(fresh[axis]) if wall == 0 else -abs(fresh[axis])
        velocity = after


def draw(glyphs: np.ndarray, paths: list[list[np.ndarray]], size: int) -> np.ndarray:
    """Frames (time, size, size), uint8: digits added at their positions, and clipped."""
    side = glyphs.shape[-1]
    frames = []
    for time in range(len(paths[0])):
        frame = np.zeros((size, size), np.int32)
        for glyph, positions in zip(glyphs, paths, strict=True):
            x, y = np.rint(positions[time]).astype(int)
            frame[y : y + side, x : x + side] += glyph
        frames.append(np.minimum(frame, 255).astype(np.uint8))
    return np.stack(frames)
