"""Frame encoders and decoders by name: what every codec provides, and the multilayer one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from itertools import product, repeat
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.errors import InputError
from statecast.nn.activation_checkpointing import Staged
from statecast.nn.blocks import ConvolutionUnit, mlp

Output = Literal["sigmoid", "identity"]
Mixing = Literal["concat", "product"]
Head = Literal["tanh", "linear", "normalised"]


class Encoding(NamedTuple):
    """Output of an encoder for one input."""

    code: Float[Tensor, "many code *grid"]  # a vector, or a map
    skips: tuple[Tensor, ...]  # maps of every stage, coarse to fine; empty without skips


class Content(NamedTuple):
    """Content of a sequence, which stays: its code, and skip maps where the codec has them."""

    code: Float[Tensor, "batch content *grid"]  # a vector, or a map
    skips: tuple[Tensor, ...] = ()
    precomputed: tuple[
        Tensor | None, ...
    ] = ()  # maps that a decoder computed from them: see `Decoder.precompute`

    def expand(self, batch: int) -> Content:
        """One content for each of `batch` sequences: the only one repeated, or all as they are."""
        if len(self.code) == batch:
            return self
        return self._each(lambda values: values.expand(batch, *values.shape[1:]))

    def select(self, sequences: slice) -> Content:
        """The content of some of the sequences."""
        return self._each(lambda values: values[sequences])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Content:
        return Content(
            change(self.code),
            tuple(change(skip) for skip in self.skips),
            tuple(None if part is None else change(part) for part in self.precomputed),
        )


class Encoder(Staged, ABC):
    """Turns frames (many, channel, *space) into codes."""

    @abstractmethod
    def forward(self, frames: Float[Tensor, "many channel *space"]) -> Encoding:
        """Encode each of many inputs separately."""


class Decoder(Staged, ABC):
    """Turns one content and many latents of each sequence into frames."""

    output: Output
    mixing: Mixing
    largest_feature_map: (
        int  # values of the largest map that a frame passes through, to bound memory
    )

    def shared_maps(self, content: Content) -> list[tuple[ConvolutionUnit, Tensor | None, bool]]:
        """Units that take maps of the content, these maps, and whether they come first.

        In the order in which `decode` needs them; empty for a decoder without such units.
        """
        return []

    def precompute(self, content: Content) -> Content:
        """Content with what depends on it alone computed, for any number of decodings."""
        return content._replace(
            precomputed=tuple(
                None if maps is None else unit.convolve_shared(maps, first=first)
                for unit, maps, first in self.shared_maps(content)
            )
        )

    @abstractmethod
    def decode(self, content: Content, latents: Float[Tensor, "batch many latent *grid"]) -> Tensor:
        """Frames before the output function, (batch * many, channel, *space).

        The content is precomputed.
        """

    def forward(
        self, content: Content, latents: Float[Tensor, "batch many latent *grid"]
    ) -> Float[Tensor, "batch many channel *space"]:
        """Decode many latents of each sequence, whose content is used once."""
        if not content.precomputed:
            content = self.precompute(content)
        frames = self.decode(content, latents)
        if self.output == "sigmoid":
            frames = torch.sigmoid(frames)
        return frames.unflatten(0, latents.shape[:2])

    def mix(self, content: Content, latents: Tensor) -> tuple[Tensor, Tensor | None]:
        """Inputs of the first layer: one per latent, and the part that they share, if any."""
        if self.mixing == "product":
            return (content.code.unsqueeze(1) * latents).flatten(0, 1), None
        return latents.flatten(0, 1), content.code


class ConvolutionalDecoder(Decoder):
    """A decoder whose first layer spreads the codes over the coarsest map."""

    first: ConvolutionUnit
    skips: bool

    def shared_maps(self, content: Content) -> list[tuple[ConvolutionUnit, Tensor | None, bool]]:
        code = content.code[..., None, None] if self.mixing == "concat" else None
        skips: Iterable[Tensor | None] = content.skips if self.skips else repeat(None)
        return [(self.first, code, True), *zip(self.skip_units(), skips, repeat(False))]

    @abstractmethod
    def skip_units(self) -> list[ConvolutionUnit]:
        """The units that take a skip map where there are any, from coarse to fine."""

    def coarsest(self, content: Content, latents: Tensor) -> Tensor:
        """The coarsest map of each frame, (batch * many, channel, y, x)."""
        each, _ = self.mix(content, latents)
        return self.first.with_shared(
            each[..., None, None], content.precomputed[0], shared_first=True
        )


class MultilayerEncoder(Encoder):
    """Linear layers over all values of the input: points, or small grids."""

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        code_size: int,
        *,
        width: int,
        layers: int,
        head: Head,
    ) -> None:
        super().__init__()
        self.layers = mlp(math.prod(frame_shape), width, code_size, layers=layers)
        self.head = head

    def forward(self, frames: Tensor) -> Encoding:
        code = self.layers(frames.flatten(1))
        return Encoding(torch.tanh(code) if self.head == "tanh" else code, ())


class MultilayerDecoder(Decoder):
    """Linear layers from content and latent to all values of a frame."""

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        content_size: int,
        latent_size: int,
        *,
        width: int,
        layers: int,
        output: Output,
        mixing: Mixing,
    ) -> None:
        super().__init__()
        inputs = mixed_size(content_size, latent_size, mixing)
        self.layers = mlp(inputs, width, math.prod(frame_shape), layers=layers)
        self.frame_shape, self.output, self.mixing = frame_shape, output, mixing
        self.largest_feature_map = max(width, math.prod(frame_shape))

    def decode(self, content: Content, latents: Tensor) -> Tensor:
        each, shared = self.mix(content, latents)
        if shared is not None:
            each = torch.cat([shared.repeat_interleave(latents.shape[1], dim=0), each], dim=1)
        frames: Tensor = self.layers(each)
        return frames.unflatten(1, self.frame_shape)


def mixed_size(content_size: int, latent_size: int, mixing: Mixing) -> int:
    """Size of content and latent once mixed.

    Errors:
        InputError: a product of codes of unequal sizes.
    """
    if mixing == "concat":
        return content_size + latent_size
    if content_size != latent_size:
        raise InputError(
            "Mixing by product needs content and latent codes of one size, got "
            f"{content_size} and {latent_size}. Make them equal, or use mixing: concat."
        )
    return latent_size


def grid_of(
    frame_shape: tuple[int, ...],
    reduction: int,
    architecture: str,
    *,
    reduction_of: Callable[[tuple[int, ...]], int] | None = None,
) -> tuple[int, int]:
    """Height and width of the coarsest map of a convolutional codec.

    Args:
        frame_shape: shape of one input, (channel, height, width).
        reduction: factor by which the codec reduces the sides of such an input.
        architecture: name of the codec.
        reduction_of: the reduction of inputs of other shapes, where it depends on them.

    Errors:
        InputError: point data, or a size that `reduction` does not divide; names the nearest.
    """
    space = frame_shape[1:]
    if len(space) != 2:
        raise InputError(
            f"The {architecture} codec needs frames (channel, height, width), got point data of "
            f"shape {frame_shape}. Use architecture: mlp."
        )
    if any(size % reduction for size in space):
        nearest = nearest_size(space, reduction_of or (lambda shape: reduction))
        raise InputError(
            f"The {architecture} codec needs sides divisible by {reduction}, got {space[0]}×"
            f"{space[1]}. The nearest size that works is {nearest[0]}×{nearest[1]}."
        )
    return space[0] // reduction, space[1] // reduction


def nearest_size(
    space: tuple[int, ...], reduction_of: Callable[[tuple[int, ...]], int]
) -> tuple[int, ...]:
    """The size with the least change of its sides that is divisible by its own reduction."""
    step = reduction_of((1, *space))
    # A multiple of the largest reduction is never further than that from either side.
    near = [range(step * max(1, size // step - 2), size + 3 * step, step) for size in space]
    sizes = [size for size in product(*near) if not any(s % reduction_of((1, *size)) for s in size)]
    return min(sizes, key=lambda size: sum(abs(a - b) for a, b in zip(size, space, strict=True)))
