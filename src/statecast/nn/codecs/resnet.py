"""The ResNet-18 encoder: residual blocks of two 3×3 convolutions, with halvings between stages.

It is that of Denton and Birodkar (2017), https://arxiv.org/abs/1705.10915, also used by Donà et al.
(2021), https://arxiv.org/abs/2008.01352. Unlike the usual network, it has a 5×5 stem, and a kernel
as large as the coarsest map (3×3 for 64×64 frames) in place of the average.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from statecast.nn.blocks import ConvolutionUnit
from statecast.nn.codecs.base import Encoder, Encoding, Head, grid_of
from statecast.nn.codecs.dcgan import REDUCTION, WIDTHS, encoder_head
from statecast.nn.fast.convolution import Convolution

BLOCKS = 2  # residual blocks per stage


class ResidualUnit(nn.Module):
    """relu(x + N(C(relu(N(C(x)))))), with C a 3×3 convolution and N batch normalisation."""

    def __init__(self, before: int, after: int, *, stride: int, bias: bool) -> None:
        super().__init__()
        self.first = ConvolutionUnit(
            nn.Conv2d(before, after, 3, stride, 1, bias=bias), rectify=False
        )
        self.second = ConvolutionUnit(nn.Conv2d(after, after, 3, 1, 1, bias=bias), rectify=False)
        same = stride == 1 and before == after
        self.shortcut = (
            None
            if same
            else ConvolutionUnit(nn.Conv2d(before, after, 1, stride, bias=bias), rectify=False)
        )

    def forward(self, frames: Tensor) -> Tensor:
        passed = frames if self.shortcut is None else self.shortcut(frames)
        return nn.functional.relu(self.second(nn.functional.relu(self.first(frames))) + passed)


class ResNetEncoder(Encoder):
    """A strided stem, pooling, four stages of two residual blocks, a kernel over the coarsest map.

    It has no skips, since its maps do not have the sizes of the decoder's.
    """

    def __init__(
        self, frame_shape: tuple[int, ...], code_size: int, *, width: int, bias: bool, head: Head
    ) -> None:
        super().__init__()
        grid_of(frame_shape, REDUCTION, "resnet")  # the decoder's condition
        stem = nn.Conv2d(frame_shape[0], width, 5, 2, 3, bias=bias)
        self.stem = ConvolutionUnit(stem, rectify=False)
        sizes = [width, *[width * factor for factor in WIDTHS]]
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualUnit(before, after, stride=1 if index == 0 else 2, bias=bias),
                *(ResidualUnit(after, after, stride=1, bias=bias) for _ in range(BLOCKS - 1)),
            )
            for index, (before, after) in enumerate(pairwise(sizes))
        )
        height, breadth = (coarsest_side(side) for side in frame_shape[1:])
        if head == "linear":
            kernel = Convolution(sizes[-1], code_size, (height, breadth), bias=bias)
            self.head = nn.Sequential(kernel)
        else:
            self.head = encoder_head(sizes[-1], (height, breadth), code_size, head=head, bias=bias)

    def forward(self, frames: Tensor) -> Encoding:
        frames = nn.functional.relu(self.stem(frames))
        frames = nn.functional.max_pool2d(frames, 3, 2, 1)
        for stage in self.stages:
            frames = self.stage(stage, frames)
        return Encoding(self.head(frames).flatten(1), ())


def coarsest_side(side: int) -> int:
    """Side of the coarsest map of a frame: 3 for 64, 2 for 32."""
    side = (side + 1) // 2 + 1  # 5×5 stem, padded by 3
    for _ in range(len(WIDTHS)):  # the pooling, then all stages but the first
        side = (side + 1) // 2
    return side
