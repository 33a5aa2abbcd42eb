"""Random values per sample and window that do not depend on the number of samples or windows.

A draw takes one whole number, its key, from a generator (one per window from `Streams`). The values
of sample s of window b come from a counter-based generator, `statecast.solvers.counters`, whose key
combines that number, b and s. So they do not depend on the number of samples, on the batch, or on
how processes share a batch; and only values that are used are drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statecast.distributed import Part
from statecast.errors import InputError
from statecast.solvers.counters import WEYL, Integers, counter_normals, mix, numbers

WINDOW = np.uint64(0xD1342543DE82EF95)  # step between windows: odd, and no small multiple of WEYL
KEYS = 2**63 - 1


class Streams(torch.Generator):
    """A generator for a batch of windows, each with its own stream.

    Draws for a window do not depend on its batch. A function that does not distinguish windows
    draws from this generator itself.

    Args:
        generators: generators of the windows, in the order of the batch.
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
    """A generator for this process's windows of a batch that processes share.

    Args:
        seeded: generator for the whole batch, which gives the seed.
        part: the windows of this process.
    """

    part: Part

    def __new__(cls, seeded: torch.Generator, part: Part) -> Self:
        made = super().__new__(cls)
        made.part = part
        return made

    def __init__(self, seeded: torch.Generator, part: Part) -> None:
        self.manual_seed(seeded.initial_seed())


class LaterSamples(torch.Generator):
    """A generator for later samples of a forecast, as if the samples before had been drawn too.

    Args:
        seeded: generator for all samples, which gives the seed.
        first: index of the first sample to draw.
    """

    first: int

    def __new__(cls, seeded: torch.Generator, first: int) -> Self:
        made = super().__new__(cls)
        made.first = first
        return made

    def __init__(self, seeded: torch.Generator, first: int) -> None:
        self.manual_seed(seeded.initial_seed())


def branch(generator: torch.Generator | None) -> torch.Generator:
    """A new, independent generator for the same windows and samples.

    It takes one number per window from `generator`, however much is drawn from the branch.
    """
    if isinstance(generator, Streams):
        return Streams(branch(stream) for stream in generator.generators)
    made = torch.Generator().manual_seed(int(keys_of(generator, 1)[0]))
    if isinstance(generator, LaterSamples):
        return LaterSamples(made, generator.first)
    if isinstance(generator, PartGenerator):
        return PartGenerator(made, generator.part)
    return made


def copy_of(generator: torch.Generator) -> torch.Generator:
    """A copy of a generator, with the same draws."""
    if isinstance(generator, Streams):
        return Streams(copy_of(stream) for stream in generator.generators)
    made = torch.Generator()
    if isinstance(generator, LaterSamples):
        made = LaterSamples(generator, generator.first)
    elif isinstance(generator, PartGenerator):
        made = PartGenerator(generator, generator.part)
    made.set_state(generator.get_state())
    return made


def standard_normal(
    shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None
) -> Float[Tensor, "sample batch *shape"]:
    """Standard normal values (sample, batch, …) with the dtype and device of `like`.

    They are computed on the CPU, so that a seed gives the same values on all devices.

    Errors:
        InputError: the generator is for another number of windows.
    """
    return normal_draws(1, shape, like, generator)[0]


def normal_draws(
    count: int, shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None
) -> Float[Tensor, "draw sample batch *shape"]:
    """The values of `count` calls of `standard_normal`, in one call."""
    samples, batch = shape[:2]
    keys = sample_keys(generator, samples, batch, count)
    values = counter_normals(keys, math.prod(shape[2:]), double=like.dtype == torch.float64)
    return torch.from_numpy(values).reshape(count, *shape).to(like.device, like.dtype)


def sample_keys(
    generator: torch.Generator | None, samples: int, batch: int, count: int
) -> Integers:
    """Keys (draw, sample, window) of `count` draws, for `statecast.solvers.counters`."""
    first = generator.first if isinstance(generator, LaterSamples) else 0
    return window_keys(generator, batch, count)[:, None] + numbers(first, samples)[:, None] * WEYL


def uniform(
    shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None
) -> Float[Tensor, "batch *shape"]:
    """Uniform values (batch, …) in [0, 1), in float32 on the device of `like`.

    Errors:
        InputError: the generator is for another number of windows.
    """
    (keys,) = window_keys(generator, shape[0], 1)
    bits = mix(np.add.outer(keys, numbers(1, math.prod(shape[1:])) * WEYL))
    # 24 bits, which float32 represents exactly, so that no value rounds to 1.
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
    """Raise `InputError` unless a generator has as many windows as the batch."""
    if known != batch:
        raise InputError(
            f"A generator for {known} windows cannot draw for a batch of {batch}. Pass a single "
            "generator."
        )
