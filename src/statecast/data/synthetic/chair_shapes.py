"""Random seats: chairs and stools of random proportions and colours, made of simple parts."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import torch

from statecast.data.synthetic.ray_casting import BOX, CYLINDER, ELLIPSOID, Parts

Array = np.ndarray[Any, np.dtype[Any]]
Part = tuple[int, tuple[float, float, float], tuple[float, float, float], Array]


class Draw:
    """Random numbers from a generator, one by one."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def between(self, low: float, high: float) -> float:
        """Uniform between two numbers."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def one_of(self, *choices: int) -> int:
        """One of these numbers, all equally likely."""
        return choices[int(torch.randint(len(choices), (), generator=self.generator))]

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.between(0, 1) < probability

    def colour(self) -> Array:
        """A colour that contrasts with white."""
        hue, saturation = self.between(0, 1), self.between(0.35, 0.95)
        return np.array(colorsys.hsv_to_rgb(hue, saturation, self.between(0.45, 0.95)))


def random_seat(generator: torch.Generator) -> Parts:
    """A seat with legs, and by chance a back, arms and a cushion; its front is towards +z."""
    draw = Draw(generator)
    width, depth = draw.between(0.3, 0.55), draw.between(0.3, 0.5)
    thick, level = draw.between(0.03, 0.1), draw.between(-0.2, 0.05)
    wood, cloth = draw.colour(), draw.colour()
    round_seat = draw.chance(0.25)
    seat = (CYLINDER if round_seat else BOX, (0.0, level, 0.0), (width, thick, depth), cloth)
    standing = legs(
        draw, level - thick, width=width, depth=depth, colour=wood, round_seat=round_seat
    )
    parts: list[Part] = [seat, *standing]
    top = level + thick
    if draw.chance(0.85):
        parts += back(draw, top, width=width, depth=depth, wood=wood, cloth=cloth)
        if draw.chance(0.45):
            parts += arms(draw, top, width, depth, wood)
    if draw.chance(0.4):
        height = draw.between(0.05, 0.12)
        size = (0.8 * width, height, 0.8 * depth)
        parts.append((ELLIPSOID, (0.0, top, 0.0), size, draw.colour()))
    kinds, centres, halves, colours = zip(*parts, strict=True)
    # Halfway up is where the camera looks.
    low = min(c[1] - h[1] for c, h in zip(centres, halves, strict=True))
    high = max(c[1] + h[1] for c, h in zip(centres, halves, strict=True))
    shift = np.array([0.0, (low + high) / 2, 0.0])
    return Parts(np.array(kinds), np.array(centres) - shift, np.array(halves), np.array(colours))


def legs(
    draw: Draw, top: float, *, width: float, depth: float, colour: Array, round_seat: bool
) -> list[Part]:
    """Four legs, or a column on a foot."""
    length = draw.between(0.2, 0.32)
    if draw.chance(0.3):
        thin, foot = draw.between(0.04, 0.08), draw.between(0.6, 0.95)
        return [
            (CYLINDER, (0.0, top - length, 0.0), (thin, length, thin), colour),
            (CYLINDER, (0.0, top - 2 * length, 0.0), (foot * width, 0.03, foot * depth), colour),
        ]
    thin, kind = draw.between(0.025, 0.06), draw.one_of(BOX, CYLINDER)
    reach = 0.65 if round_seat else 0.95
    x, z = reach * width - thin, reach * depth - thin
    return [
        (kind, (side * x, top - length, front * z), (thin, length, thin), colour)
        for side in (-1, 1)
        for front in (-1, 1)
    ]


def back(
    draw: Draw, top: float, *, width: float, depth: float, wood: Array, cloth: Array
) -> list[Part]:
    """A board, an oval, or bars between two posts."""
    height, thin = draw.between(0.25, 0.5), draw.between(0.025, 0.06)
    z, style = thin - depth, draw.one_of(0, 1, 2)
    if style == 0:
        return [(BOX, (0.0, top + height, z), (width, height, thin), cloth)]
    post = 0.03
    posts: list[Part] = [
        (BOX, (side * (width - post), top + height, z), (post, height, post), wood)
        for side in (-1, 1)
    ]
    if style == 1:
        oval = (ELLIPSOID, (0.0, top + 1.1 * height, z), (0.9 * width, 0.8 * height, thin), cloth)
        return [*posts, oval]
    count = draw.one_of(2, 3, 4)
    bars: list[Part] = [
        (BOX, (0.0, top + 2 * height * (bar + 1) / count - 0.05, z), (width, 0.05, thin), cloth)
        for bar in range(count)
    ]
    return [*posts, *bars]


def arms(draw: Draw, top: float, width: float, depth: float, colour: Array) -> list[Part]:
    """Two rests on posts."""
    height, thin = draw.between(0.1, 0.18), draw.between(0.025, 0.045)
    parts: list[Part] = []
    for side in (-1, 1):
        x = side * (width - thin)
        parts.append((BOX, (x, top + 2 * height, 0.0), (thin, thin, depth), colour))
        parts.append((BOX, (x, top + height, depth - thin), (thin, height, thin), colour))
    return parts
