"""Random values that are a pure function of a key: a counter-based generator.

Counters are mixed by the finaliser of SplitMix64: Steele, Lea and Flood (2014),
https://doi.org/10.1145/2660193.2660195. Box and Muller (1958) give normal values.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

WEYL = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's step from one counter to the next
NODE = 0xA0761D6478BD642F  # step between nodes: odd, and no small multiple of WEYL
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)

Integers = np.ndarray[Any, np.dtype[np.uint64]]
Floats = np.ndarray[Any, np.dtype[Any]]


def numbers(first: int, count: int) -> Integers:
    """`count` consecutive whole numbers, starting at `first`."""
    return np.arange(first, first + count, dtype=np.uint64)


def mix(values: Integers) -> Integers:
    """Mix 64-bit values in place, so that their bits look random and independent."""
    shifted = values >> SHIFTS[0]
    values ^= shifted
    values *= FIRST
    np.right_shift(values, SHIFTS[1], out=shifted)
    values ^= shifted
    values *= SECOND
    np.right_shift(values, SHIFTS[2], out=shifted)
    values ^= shifted
    return values


def counter_bits(keys: Integers, count: int) -> Integers:
    """`count` times 64 bits for each key, along a new last axis."""
    return mix(np.add.outer(mix(keys.copy()), numbers(1, count) * WEYL))


def counter_normals(keys: Integers, size: int, *, double: bool) -> Floats:
    """`size` standard normal values for each key, along a new last axis."""
    return box_muller(counter_bits(keys, (size + 1) // 2), double)[..., :size]


def counter_uniforms(keys: Integers, size: int) -> Floats:
    """`size` values in (0, 1) for each key, of 52 bits each, along a new last axis."""
    bits = counter_bits(keys, size) >> np.uint64(12)
    return (bits.astype(np.float64) + 0.5) * 2.0**-52


def node_keys(keys: Integers, node: int) -> Integers:
    """Keys of one node below each key; for node 0, the keys themselves."""
    if node == 0:
        return keys
    return mix(mix(keys.copy()) + np.uint64(node * NODE % 2**64))


def box_muller(bits: Integers, double: bool) -> Floats:
    """Normal values (…, 2 * pair) from 64 bits for each pair.

    Half of the bits give the radius, which is at most 6.8, and half the angle.
    """
    kind: Any = np.float64 if double else np.float32
    fractions: Floats = bits.view(np.uint32).reshape(*bits.shape, 2).astype(kind)
    fractions *= kind(2**-32)
    radius = fractions[..., 0]
    radius += kind(2**-33)  # never 0
    np.log(radius, out=radius)
    radius *= kind(-2)
    np.sqrt(radius, out=radius)
    angle = fractions[..., 1] * kind(2 * math.pi)
    count = bits.shape[-1]
    values = np.empty((*bits.shape[:-1], 2 * count), kind)
    np.multiply(np.cos(angle), radius, out=values[..., :count])
    np.multiply(np.sin(angle), radius, out=values[..., count:])
    return values
