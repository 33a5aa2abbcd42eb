"""Base classes of frame encoders and decoders, and the multilayer codec."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
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
    skips: tuple[Tensor, ...]  # maps of each stage, coarse to fine; empty without skips


class Content(NamedTuple):
    """Content of a sequence, constant in time: its code, and skip maps if the codec has them."""

    code: Float[Tensor, "batch content *grid"]  # a vector, or a map
    skips: tuple[Tensor, ...] = ()
    precomputed: tuple[Tensor | None, ...] = ()  # from `Decoder.precompute`

    def expand(self, batch: int) -> Content:
        """Content of `batch` sequences: unchanged, or a single one repeated."""
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
    """A network from frames (many, channel, *space) to codes."""

    @abstractmethod
    def forward(self, frames: Float[Tensor, "many channel *space"]) -> Encoding:
        """Code and skip maps of each input."""


@dataclass(frozen=True, kw_only=True)
class DecoderOptions:
    """Sizes and variants of a decoder.

    Attributes:
        content_size: size of the content code; number of channels if it is a map.
        latent_size: the same of a latent.
        width: channels of the last stage; hidden units of a multilayer codec.
        layers: linear layers of a multilayer codec.
        bias: whether convolutions have a bias.
        skips: whether the decoder sees the encoder's maps.
        output: function that gives frames.
        mixing: how content and latent are joined.
    """

    content_size: int
    latent_size: int
    width: int
    layers: int
    bias: bool
    skips: bool
    output: Output
    mixing: Mixing

    @property
    def inputs(self) -> int:
        """Size of the joined content and latent.

        Errors:
            InputError: codes of unequal sizes to be multiplied.
        """
        if self.mixing == "concat":
            return self.content_size + self.latent_size
        if self.content_size != self.latent_size:
            raise InputError(
                "Mixing by product needs content and latent codes of equal size, got "
                f"{self.content_size} and {self.latent_size}. Make them equal, or use mixing: "
                "concat."
            )
        return self.latent_size


class Decoder(Staged, ABC):
    """A network from one content and many latents of each sequence to frames."""

    largest_feature_map: int  # number of values in the largest map of a frame, to bound memory

    def __init__(self, options: DecoderOptions) -> None:
        super().__init__()
        self.output, self.mixing, self.skips = options.output, options.mixing, options.skips

    def shared_maps(self, content: Content) -> list[tuple[ConvolutionUnit, Tensor | None, bool]]:
        """Units with maps of the content as input, these maps, and whether they come first.

        They are in the order in which `decode` needs them.
        """
        return []

    def precompute(self, content: Content) -> Content:
        """Content with all parts that depend only on it, computed for any number of decodings."""
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
        """Decode many latents of each sequence; parts that depend on content run once."""
        if not content.precomputed:
            content = self.precompute(content)
        frames = self.decode(content, latents)
        if self.output == "sigmoid":
            frames = torch.sigmoid(frames)
        return frames.unflatten(0, latents.shape[:2])

    def mix(self, content: Content, latents: Tensor) -> tuple[Tensor, Tensor | None]:
        """Inputs of the first layer: one per latent, and the shared part or None."""
        if self.mixing == "product":
            return (content.code.unsqueeze(1) * latents).flatten(0, 1), None
        return latents.flatten(0, 1), content.code


class ConvolutionalDecoder(Decoder):
    """A decoder with a first layer from codes to the coarsest map."""

    first: ConvolutionUnit

    def shared_maps(self, content: Content) -> list[tuple[ConvolutionUnit, Tensor | None, bool]]:
        code = content.code[..., None, None] if self.mixing == "concat" else None
        skips: Iterable[Tensor | None] = content.skips if self.skips else repeat(None)
        return [(self.first, code, True), *zip(self.skip_units(), skips, repeat(False))]

    @abstractmethod
    def skip_units(self) -> list[ConvolutionUnit]:
        """The units with a skip map as input, from coarse to fine."""

    def coarsest(self, content: Content, latents: Tensor) -> Tensor:
        """The coarsest map of each frame, (batch * many, channel, y, x)."""
        each, _ = self.mix(content, latents)
        return self.first.with_shared(
            each[..., None, None], content.precomputed[0], shared_first=True
        )


class MultilayerEncoder(Encoder):
    """Linear layers over all values of the input, for points and small grids."""

    def __init__(
        self, frame_shape: tuple[int, ...], code_size: int, *, width: int, layers: int, head: Head
    ) -> None:
        super().__init__()
        self.layers = mlp(math.prod(frame_shape), width, code_size, layers=layers)
        self.head = head

    def forward(self, frames: Tensor) -> Encoding:
        code = self.layers(frames.flatten(1))
        return Encoding(torch.tanh(code) if self.head == "tanh" else code, ())


class MultilayerDecoder(Decoder):
    """Linear layers from content and latent to all values of a frame."""

    def __init__(self, frame_shape: tuple[int, ...], options: DecoderOptions) -> None:
        super().__init__(options)
        self.frame_shape, values = frame_shape, math.prod(frame_shape)
        self.layers = mlp(options.inputs, options.width, values, layers=options.layers)
        self.largest_feature_map = max(options.width, values)

    def decode(self, content: Content, latents: Tensor) -> Tensor:
        each, shared = self.mix(content, latents)
        if shared is not None:
            each = torch.cat([shared.repeat_interleave(latents.shape[1], dim=0), each], dim=1)
        frames: Tensor = self.layers(each)
        return frames.unflatten(1, self.frame_shape)


def grid_of(
    frame_shape: tuple[int, ...],
    reduction: int,
    architecture: str,
    *,
    reduction_of: Callable[[tuple[int, ...]], int] | None = None,
) -> tuple[int, int]:
    """Height and width of the coarsest map of a convolutional network.

    Args:
        frame_shape: shape of one input, (channel, height, width).
        reduction: factor by which the network reduces the sides of such an input.
        architecture: name of the codec or model, for messages.
        reduction_of: function from another shape to its reduction; by default the same for all.

    Errors:
        InputError: point data, or a size that `reduction` does not divide; names the nearest.
    """
    space = frame_shape[1:]
    if len(space) != 2:
        raise InputError(
            f"{architecture} needs frames (channel, height, width), got points of shape "
            f"{frame_shape}. For points, use the model srvp or separable with architecture: mlp."
        )
    if any(size % reduction for size in space):
        nearest = nearest_size(space, reduction_of or (lambda shape: reduction))
        raise InputError(
            f"{architecture} needs sides divisible by {reduction}, got {space[0]}×{space[1]}. The "
            f"nearest size that works is {nearest[0]}×{nearest[1]}."
        )
    return space[0] // reduction, space[1] // reduction


def nearest_size(
    space: tuple[int, ...], reduction_of: Callable[[tuple[int, ...]], int]
) -> tuple[int, ...]:
    """The closest size that is divisible by its own reduction."""
    step = reduction_of((1, *space))
    # Sides divisible by the largest reduction are never further away than that reduction.
    near = [range(step * max(1, size // step - 2), size + 3 * step, step) for size in space]
    sizes = [size for size in product(*near) if not any(s % reduction_of((1, *size)) for s in size)]
    return min(sizes, key=lambda size: sum(abs(a - b) for a, b in zip(size, space, strict=True)))
