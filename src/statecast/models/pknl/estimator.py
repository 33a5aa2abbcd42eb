"""MotionEstimator: a convolutional network from a few frames to a motion."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Upsampling = Literal["bilinear", "nearest", "transposed"]
TRANSPOSED_LEAK = 0.1  # negative slope after transposed convolutions


class Upsample(nn.Module):
    """Double the sides of a map, by interpolation and convolution, or by transposed convolution."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        upsampling: Upsampling,
        align_corners: bool,
        bias: bool,
        leak: float,
    ) -> None:
        super().__init__()
        self.upsampling, self.align_corners, self.leak = upsampling, align_corners, leak
        if upsampling == "transposed":
            self.leak = TRANSPOSED_LEAK
            self.convolution: nn.Conv2d | nn.ConvTranspose2d = nn.ConvTranspose2d(
                inputs, outputs, 4, stride=2, padding=1
            )
        else:
            self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)

    def forward(
        self, maps: Float[Tensor, "batch in_channel y x"]
    ) -> Float[Tensor, "batch out_channel 2y 2x"]:
        """The larger map."""
        if self.upsampling != "transposed":
            aligned = self.align_corners if self.upsampling == "bilinear" else None
            maps = nn.functional.interpolate(
                maps, scale_factor=2, mode=self.upsampling, align_corners=aligned
            )
        return nn.functional.leaky_relu(self.convolution(maps), self.leak)


class MotionEstimator(nn.Module):
    """Convolutions that halve the sides of maps `levels` times, and others that double them again.

    Each doubled map is joined with the map of its size on the way down, the last one with the
    input. Batch normalisation applies on the way down only.

    Args:
        inputs: channels of the input.
        width: channels of the first convolution; each level has twice as many as the one before.
        levels: number of times the sides are halved; the third and later levels have two
            convolutions.
        leak: negative slope of the rectifiers.
        batch_norm: whether there is batch normalisation; without it, convolutions have biases.
        upsampling: how maps are doubled.
        align_corners: whether bilinear interpolation keeps the centres of the outermost pixels.
        upsampling_bias: whether convolutions after interpolation have biases.
    """

    def __init__(
        self,
        inputs: int,
        *,
        width: int,
        levels: int,
        leak: float,
        batch_norm: bool,
        upsampling: Upsampling,
        align_corners: bool,
        upsampling_bias: bool,
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]

        def unit(before: int, after: int, stride: int) -> nn.Sequential:
            convolution = nn.Conv2d(before, after, 3, stride, padding=1, bias=not batch_norm)
            norm = [nn.BatchNorm2d(after)] if batch_norm else []
            return nn.Sequential(convolution, *norm, nn.LeakyReLU(leak))

        self.encoder = nn.ModuleList()
        before = inputs
        for level, after in enumerate(widths):
            units = [unit(before, after, 2)] + ([unit(after, after, 1)] if level > 1 else [])
            self.encoder.append(nn.Sequential(*units))
            before = after
        self.decoder = nn.ModuleList()  # from the coarsest map to the finest
        for level in reversed(range(levels)):
            after = max(width * 2**level // 4, 1)
            self.decoder.append(
                Upsample(
                    before,
                    after,
                    upsampling=upsampling,
                    align_corners=align_corners,
                    bias=upsampling_bias,
                    leak=leak,
                )
            )
            before = after + (widths[level - 1] if level else inputs)
        self.head = nn.Conv2d(before, 2, 3, padding=1, bias=False)

    def forward(self, window: Float[Tensor, "batch input y x"]) -> Float[Tensor, "batch 2 y x"]:
        """The motion, in halves of a side, from a last convolution without rectifier."""
        maps = [window]
        for stage in self.encoder:
            maps.append(stage(maps[-1]))
        found = maps.pop()
        for upsample in self.decoder:
            found = torch.cat([maps.pop(), upsample(found)], dim=1)
        motion: Tensor = self.head(found)
        return motion


def initialise_near_zero(module: nn.Module, generator: torch.Generator | None) -> None:
    """Draw weights of convolutions from N(0, (0.02 / n)²), n = kernel pixels × outputs; no biases.

    Little passes through layers without normalisation, so the first motion is almost 0.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            outputs = math.prod(layer.kernel_size) * layer.out_channels
            nn.init.normal_(layer.weight, 0.0, 0.02 / outputs, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
