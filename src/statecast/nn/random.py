"""Random values of which each sample and each window has its own, however many there are.

A draw takes one whole number from a generator (one per window from `Streams`), its key. The values
of sample s of window b are those of a counter-based generator with a key of their own, made of that
number, b and s. So they do not depend on the number of samples, on the batch, or on how a batch is
shared by processes, and nothing is drawn that is not used.

Counters are mixed by the finaliser of SplitMix64: Steele, Lea and Flood (2014),
https://doi.org/10.1145/2660193.2660195. Normal values are made of them by Box and Muller (1958).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statecast.distributed import Part
from statecast.errors import InputError

WEYL = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's step from one counter to the next
WINDOW = np.uint64(0xD1342543DE82EF95)  # step between windows: odd, and no small multiple of WEYL
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
KEYS = 2**63 - 1

Integers = np.ndarray[Any, np.dtype[np.uint64]]
Floats = np.ndarray[Any, np.dtype[Any]]


class Streams(torch.Generator):
    """A generator for a batch of windows, each of which draws from a stream of its own.

    What is drawn for a window is the same whatever batch it is in. Whatever takes a generator
    without knowing of windows draws from the generator that this one is as well.

    Args:
        generators: of the windows, in the order of the batch.
    """

    generators: tuple[torch.Generator, ...]

    def __new__(cls, generators: Iterable[torch.Generator]) -> Self:
        made = super().__new__(cls)
        made.generators = tuple(generators)
        return made

    def __init__(self, generators: Iterable[torch.Generator]) -> None:
        if not self.generators:
            raise InputError("Streams need at least 1 generator, got none.")
        self.manual_seed(self.generators[0].initial_seed())


class PartGenerator(torch.Generator):
    """A generator for some windows of a batch, whose others fall to other processes.

    Args:
        seeded: gives the seed; a generator for the whole batch.
        part: of the windows.
    """

    part: Part

    def __new__(cls, seeded: torch.Generator, part: Part) -> Self:
        made = super().__new__(cls)
        made.part = part
        return made

    def __init__(self, seeded: torch.Generator, part: Part) -> None:
        self.manual_seed(seeded.initial_seed())


class LaterSamples(torch.Generator):
    """A generator for the samples of a forecast from one on, those before being drawn apart.

    Args:
        seeded: gives the seed; a generator for all samples.
        first: number of the first sample.
    """

    first: int

    def __new__(cls, seeded: torch.Generator, first: int) -> Self:
        made = super().__new__(cls)
        made.first = first
        return made

    def __init__(self, seeded: torch.Generator, first: int) -> None:
        self.manual_seed(seeded.initial_seed())


def standard_normal(
    shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None
) -> Float[Tensor, "sample batch *shape"]:
    """Standard normal values (sample, batch, …) of the type and on the device of `like`.

    Made on the processor, so that one seed gives the same values everywhere.

    Errors:
        InputError: the generator is of another number of windows.
    """
    return normal_draws(1, shape, like, generator)[0]


def normal_draws(
    count: int, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None
) -> Float[Tensor, "draw sample batch *shape"]:
    """The values of `count` calls of `standard_normal`, in one call."""
    samples, batch = shape[:2]
    size = math.prod(shape[2:])
    first = generator.first if isinstance(generator, LaterSamples) else 0
    keys = window_keys(generator, batch, count)[:, None] + numbers(first, samples)[:, None] * WEYL
    counters = numbers(1, (size + 1) // 2) * WEYL
    values = box_muller(mix(np.add.outer(mix(keys), counters)), like.dtype == torch.float64)
    found = torch.from_numpy(values[..., :size]).view(count, *shape)
    return found.to(like.device, like.dtype)


def box_muller(bits: Integers, double: bool) -> Floats:
    """Normal values (…, 2 * pair) from 64 bits for each pair.

    Half of the bits make the radius, which is at most 6.8, and half the angle.
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


def uniform(
    shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None
) -> Float[Tensor, "batch *shape"]:
    """Uniform values (batch, …) in [0, 1) on the device of `like`.

    Errors:
        InputError: the generator is of another number of windows.
    """
    (keys,) = window_keys(generator, shape[0], 1)
    bits = mix(np.add.outer(keys, numbers(1, math.prod(shape[1:])) * WEYL))
    # 24 bits, all of which float32 holds: none is rounded up to 1.
    values = (bits >> np.uint64(40)).astype(np.float32) * np.float32(2**-24)
    return torch.from_numpy(values).view(shape).to(like.device)


def window_keys(generator: torch.Generator | None, batch: int, count: int) -> Integers:
    """Keys (draw, window) of `count` draws: each takes one number of each generator."""
    if isinstance(generator, Streams):
        check_count(len(generator.generators), batch)
        return np.stack([keys_of(stream, count) for stream in generator.generators], axis=1)
    start = 0
    if isinstance(generator, PartGenerator):
        check_count(len(generator.part), batch)
        start = generator.part.start
    return keys_of(generator, count)[:, None] + numbers(start, batch) * WINDOW


def keys_of(generator: torch.Generator | None, count: int) -> Integers:
    """Whole numbers drawn from a generator."""
    device = "cpu" if generator is None else generator.device
    drawn = torch.randint(KEYS, (count,), generator=generator, device=device)
    return drawn.cpu().numpy().view(np.uint64)


def check_count(known: int, batch: int) -> None:
    """Raise `InputError` where a generator of other windows is asked for those of a batch."""
    if known != batch:
        raise InputError(
            f"A generator of {known} windows draws for as many, got a batch of {batch}. Pass a "
            "single generator."
        )


def numbers(first: int, count: int) -> Integers:
    """`count` whole numbers from `first` on."""
    return np.arange(first, first + count, dtype=np.uint64)


def mix(values: Integers) -> Integers:
    """Bits that look independent of each other, whatever the values' own; in place."""
    shifted = values >> SHIFTS[0]
    values ^= shifted
    values *= FIRST
    np.right_shift(values, SHIFTS[1], out=shifted)
    values ^= shifted
    values *= SECOND
    np.right_shift(values, SHIFTS[2], out=shifted)
    values ^= shifted
    return values
