"""Generators that know their sequences: a stream for each, or the draws of a part of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Self

import torch
from torch import Tensor

from statecast.distributed import Part
from statecast.errors import InputError


class Streams(torch.Generator):
    """A generator for a batch of sequences, each of which draws from a stream of its own.

    What is drawn for a sequence is the same whatever batch it is in. Normal draws of
    `DiagonalGaussian` know streams; whatever else takes a generator draws from the generator that
    this one is as well, a stream of the whole batch.

    Args:
        generators: of the sequences, in the order of the batch.
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

    def normal(self, shape: tuple[int, ...] | torch.Size, dtype: torch.dtype) -> Tensor:
        """Standard normal values (sample, batch, …) of this shape.

        Errors:
            InputError: the second dimension is not that of the sequences.
        """
        count = len(self.generators)
        if len(shape) < 2 or shape[1] != count:
            raise InputError(
                f"Streams of {count} sequences draw values (sample, {count}, …), got the shape "
                f"{tuple(shape)}. Pass a single generator."
            )
        options: dict[str, Any] = {"dtype": dtype, "device": self.device}
        each = (shape[0], *shape[2:])
        rows = [torch.randn(each, generator=stream, **options) for stream in self.generators]
        return torch.stack(rows, dim=1)


class PartGenerator(torch.Generator):
    """A generator for some sequences of a batch, whose others fall to other processes.

    What `draw_rows` draws for a sequence is what it would be in the whole batch. What is drawn
    without it is the same for every part, as suits draws of which a batch has one.

    Args:
        seeded: gives the seed; a generator for the whole batch.
        part: of the sequences.
    """

    part: Part

    def __new__(cls, seeded: torch.Generator, part: Part) -> Self:
        made = super().__new__(cls)
        made.part = part
        return made

    def __init__(self, seeded: torch.Generator, part: Part) -> None:
        self.manual_seed(seeded.initial_seed())


def draw_rows(
    draw: Callable[[tuple[int, ...]], Tensor],
    shape: tuple[int, ...],
    generator: torch.Generator | None,
    *,
    axis: int,
) -> Tensor:
    """Random values of sequences; those of a part of a batch are drawn with the others.

    Args:
        draw: gives values of a shape.
        shape: of the values wanted.
        generator: that `draw` draws from.
        axis: of the sequences.

    Errors:
        InputError: the axis is not as long as the generator's part.
    """
    if not isinstance(generator, PartGenerator):
        return draw(shape)
    part = generator.part
    if len(shape) <= axis or shape[axis] != len(part):
        raise InputError(
            f"A generator of {len(part)} sequences draws as many along axis {axis}, got the shape "
            f"{tuple(shape)}. Pass a generator of another kind."
        )
    whole = draw((*shape[:axis], part.whole, *shape[axis + 1 :]))
    return whole.narrow(axis, part.start, len(part))
