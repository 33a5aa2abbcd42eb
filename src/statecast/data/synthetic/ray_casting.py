"""Pictures of boxes, cylinders and ellipsoids, by casting rays from a distant camera."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

BOX, CYLINDER, ELLIPSOID = 0, 1, 2
HALF_WIDTH = 1.1  # of the picture, in the units of objects
LIGHT = (-0.5, 0.8, 0.9)  # direction to the light, along the camera's right, up and back
AMBIENT = 0.4  # light that comes from everywhere; the rest is from the light, as Lambert has it
FINER = 2  # rays along each side of a pixel
SMALLEST = 1e-9  # least component of a ray's direction: every ray meets every pair of planes


class Parts(NamedTuple):
    """Parts of an object; the y axis points up."""

    kinds: Array  # (part,): BOX, CYLINDER (around a vertical axis) or ELLIPSOID
    centres: Array  # (part, 3)
    halves: Array  # (part, 3): half sizes along x, y, z
    colours: Array  # (part, 3) in [0, 1]


class Camera(NamedTuple):
    """Orthonormal axes of a camera that looks at the origin from far away."""

    right: Array
    up: Array
    forward: Array


class Hits(NamedTuple):
    """Where rays enter a part, in units in which the part reaches from −1 to 1."""

    distance: Array  # along the ray, infinite where it misses
    normal: Callable[[Array], Array]  # for some of the rays: (3, ray), of any length


def camera_at(azimuth: float, elevation: float) -> Camera:
    """The camera at these angles, in radians; azimuth 0 looks along −z."""
    sin_a, cos_a = math.sin(azimuth), math.cos(azimuth)
    sin_e, cos_e = math.sin(elevation), math.cos(elevation)
    return Camera(
        np.array([cos_a, 0.0, -sin_a], np.float32),
        np.array([-sin_e * sin_a, cos_e, -sin_e * cos_a], np.float32),
        np.array([-cos_e * sin_a, -sin_e, -cos_e * cos_a], np.float32),
    )


def picture(parts: Parts, camera: Camera, size: int) -> Array:
    """An object on white, shaded, (3, size, size), uint8, row 0 on top.

    Rays are parallel, several in each pixel. Each shows the nearest part, shaded by Lambert's law.
    The light moves with the camera.
    """
    many = size * FINER
    places = ((np.arange(many) + 0.5) / many * 2 - 1).astype(np.float32) * HALF_WIDTH
    x, y = places, -places
    nearest = np.full((many, many), np.inf, np.float32)
    image = np.ones((3, many, many), np.float32)
    light = (np.array(LIGHT) / np.linalg.norm(LIGHT)).astype(np.float32)
    towards = light[0] * camera.right + light[1] * camera.up - light[2] * camera.forward
    for kind, *numbers in zip(*parts, strict=True):
        centre, half, colour = (np.asarray(values, np.float32) for values in numbers)
        columns, rows = (
            extent(places, float(axis @ centre), float(np.abs(axis) @ half), flipped)
            for axis, flipped in ((camera.right, False), (camera.up, True))
        )
        origins = [
            ((x[columns] * r)[None, :] + (y[rows] * u)[:, None] - c) / h
            for r, u, c, h in zip(camera.right, camera.up, centre, half, strict=True)
        ]
        direction = camera.forward / half
        direction[np.abs(direction) < SMALLEST] = SMALLEST
        hits = INTERSECTIONS[int(kind)](origins, direction, half)
        seen = hits.distance < nearest[rows, columns]
        nearest[rows, columns][seen] = hits.distance[seen]
        normal = hits.normal(seen)
        cosine = towards @ normal / np.maximum(np.linalg.norm(normal, axis=0), SMALLEST)
        shade = AMBIENT + (1 - AMBIENT) * np.maximum(cosine, 0)
        image[:, rows, columns][:, seen] = colour[:, None] * shade
    fine = [image[:, i::FINER, j::FINER] for i in range(FINER) for j in range(FINER)]
    rounded: Array = np.rint(sum(fine) * (255 / FINER**2)).clip(0, 255).astype(np.uint8)
    return rounded


def extent(places: Array, centre: float, half: float, flipped: bool) -> slice:
    """Rays that a part of this extent along an axis of the picture can meet."""
    if flipped:
        centre = -centre
    first, last = np.searchsorted(places, [centre - half, centre + half])
    return slice(int(first), int(last))


def box_hits(origins: list[Array], direction: Array, half: Array) -> Hits:
    """Rays into the box from −1 to 1, which lies between three pairs of planes."""
    centred = [-o / d for o, d in zip(origins, direction, strict=True)]
    reach = 1 / np.abs(direction)
    enter = [c - r for c, r in zip(centred, reach, strict=True)]
    leave = [c + r for c, r in zip(centred, reach, strict=True)]
    near = np.maximum(np.maximum(enter[0], enter[1]), enter[2])
    far = np.minimum(np.minimum(leave[0], leave[1]), leave[2])

    def normal(rays: Array) -> Array:
        first = near[rays]
        faces = [(e[rays] == first) * -np.sign(d) for e, d in zip(enter, direction, strict=True)]
        return np.stack(faces)

    return Hits(np.where(near <= far, near, np.float32(np.inf)), normal)


def ellipsoid_hits(origins: list[Array], direction: Array, half: Array) -> Hits:
    """Rays into the unit sphere."""
    enter, _ = roots(origins, direction)

    def normal(rays: Array) -> Array:
        along = enter[rays]
        parts = zip(origins, direction, half, strict=True)
        return np.stack([(o[rays] + d * along) / h for o, d, h in parts])

    return Hits(enter, normal)


def cylinder_hits(origins: list[Array], direction: Array, half: Array) -> Hits:
    """Rays into the unit cylinder around the y axis, between −1 and 1."""
    enter, leave = roots(origins[::2], direction[::2])
    top = (-np.sign(direction[1]) - origins[1]) / direction[1]
    bottom = (np.sign(direction[1]) - origins[1]) / direction[1]
    near, far = np.maximum(enter, top), np.minimum(leave, bottom)
    hit = np.isfinite(enter) & (near <= far)

    def normal(rays: Array) -> Array:
        along, side = enter[rays], enter[rays] > top[rays]
        x, z = ((origins[i][rays] + direction[i] * along) / half[i] * side for i in (0, 2))
        return np.stack([x, np.where(side, 0, -np.sign(direction[1])), z])

    return Hits(np.where(hit, near, np.float32(np.inf)), normal)


def roots(origins: list[Array], direction: Array) -> tuple[Array, Array]:
    """Where rays enter and leave the unit circle or sphere; ∞ and −∞ where they miss."""
    square = float(direction @ direction)
    along = sum(o * d for o, d in zip(origins, direction, strict=True))
    rest = sum(o * o for o in origins) - 1
    discriminant = along * along - square * rest
    hit = discriminant >= 0
    root = np.sqrt(np.where(hit, discriminant, 0))
    return (
        np.where(hit, (-along - root) / square, np.float32(np.inf)),
        np.where(hit, (-along + root) / square, np.float32(-np.inf)),
    )


INTERSECTIONS = {BOX: box_hits, CYLINDER: cylinder_hits, ELLIPSOID: ellipsoid_hits}
