"""Keypoint detector, appearance encoder, and decoder from keypoints to frames."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from statecast.nn.blocks import LEAK
from statecast.nn.gaussian import widened
from statecast.nn.same_padding import SameConv2d

SMALLEST_HEAT = 1e-6  # added to heat maps; an empty map has its keypoint in the middle


def axis(length: int, like: Tensor, *, down: bool = False) -> Float[Tensor, " length"]:
    """Coordinates of the points of an axis, from −1 to 1, or with `down` from 1 to −1."""
    ends = (1.0, -1.0) if down else (-1.0, 1.0)
    return torch.linspace(*ends, length, device=like.device, dtype=torch.float32)


def with_coordinates(maps: Float[Tensor, "many channel y x"]) -> Float[Tensor, "many more y x"]:
    """Maps with two more channels: x from −1 at the left to 1, and y from 1 at the top to −1.

    Reference: Liu et al. (2018), https://arxiv.org/abs/1807.03247.
    """
    height, width = maps.shape[2:]
    x = axis(width, maps).expand(height, width)
    y = axis(height, maps, down=True).unsqueeze(1).expand(height, width)
    both = torch.stack([x, y]).to(maps).expand(len(maps), -1, -1, -1)
    return torch.cat([maps, both], dim=1)


def keypoints_of(heat: Float[Tensor, "many point y x"]) -> Float[Tensor, "many point xys"]:
    r"""Place (x, y) and intensity of the keypoint of each heat map.

    $$x = \sum_{ij} p_{ij} x_j, \quad y = \sum_{ij} p_{ij} y_i, \quad p \propto m + \epsilon,
    \quad \mu_k = \frac{\overline{m_k}}{\epsilon + \max_l \overline{m_l}}$$

    Places lie in [−1, 1], with y = 1 at the top. Intensities lie in [0, 1); that of the strongest
    keypoint of a frame is almost 1.
    """
    heat = widened(heat)
    positive = heat + SMALLEST_HEAT
    total = positive.sum(dim=(2, 3))
    x = (positive.sum(dim=2) * axis(heat.shape[3], heat)).sum(dim=2) / total
    y = (positive.sum(dim=3) * axis(heat.shape[2], heat, down=True)).sum(dim=2) / total
    mean = heat.mean(dim=(2, 3))
    strongest = mean.amax(dim=1, keepdim=True)
    return torch.stack([x, y, mean / (SMALLEST_HEAT + strongest)], dim=2)


def blobs_of(
    keypoints: Float[Tensor, "many point xys"], size: tuple[int, int], std: float
) -> Float[Tensor, "many point y x"]:
    r"""A map per keypoint: $\mu \, e^{-((u - x)^2 + (v - y)^2) / (2 s^2)}$ at the point (u, v).

    Args:
        keypoints: x, y and μ, see `keypoints_of`.
        size: height and width of the maps.
        std: s, in coordinates from −1 to 1.
    """
    height, width = size
    x, y, intensity = keypoints.unbind(-1)
    beside = axis(width, keypoints) - x.unsqueeze(2)
    above = axis(height, keypoints, down=True) - y.unsqueeze(2)
    across = torch.exp(-beside.square() / (2 * std**2))
    along = torch.exp(-above.square() / (2 * std**2))
    return along.unsqueeze(3) * across.unsqueeze(2) * intensity[..., None, None]


class Rectified(nn.Sequential):
    """A convolution, then a leaky rectifier."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, kernel: int = 3) -> None:
        super().__init__(SameConv2d(inputs, outputs, kernel, stride=stride), nn.LeakyReLU(LEAK))


class FrameEncoder(nn.Sequential):
    """Convolutions that halve a frame several times, and double its channels each time.

    Args:
        inputs: channels of the input.
        width: channels at full size.
        halvings: number of times the sides are halved.
        layers: convolutions at each size after the first one.
    """

    def __init__(self, inputs: int, width: int, halvings: int, layers: int) -> None:
        units = [Rectified(inputs, width), *(Rectified(width, width) for _ in range(layers))]
        for _ in range(halvings):
            units.append(Rectified(width, 2 * width, stride=2))
            width *= 2
            units += [Rectified(width, width) for _ in range(layers)]
        super().__init__(*units)


class KeypointDetector(nn.Module):
    """A network from a frame to heat maps of its keypoints."""

    def __init__(self, channels: int, points: int, width: int, halvings: int, layers: int) -> None:
        super().__init__()
        self.encoder = FrameEncoder(channels + 2, width, halvings, layers)
        self.head = nn.Conv2d(width * 2**halvings, points, 1)

    def heat(self, frames: Float[Tensor, "many channel y x"]) -> Float[Tensor, "many point y x"]:
        """Positive heat maps."""
        return functional.softplus(widened(self.head(self.encoder(with_coordinates(frames)))))


class KeypointDecoder(nn.Module):
    """Decoder from keypoints, and keypoints and appearance of the first frame, to a frame."""

    def __init__(self, channels: int, points: int, width: int, halvings: int, layers: int) -> None:
        super().__init__()
        self.appearance = FrameEncoder(channels, width, halvings, layers)
        features = width * 2**halvings
        self.mix = Rectified(2 * points + features + 2, features, kernel=1)
        self.stages = nn.ModuleList()
        for _ in range(halvings):
            units = [Rectified(features, features // 2)]
            units += [Rectified(features // 2, features // 2) for _ in range(layers - 1)]
            self.stages.append(nn.Sequential(*units))
            features //= 2
        self.output = nn.Conv2d(features, channels, 1)

    def forward(
        self,
        blobs: Float[Tensor, "many point y x"],
        appearance: Float[Tensor, "many feature y x"],
        first_blobs: Float[Tensor, "many point y x"],
    ) -> Float[Tensor, "many channel full_y full_x"]:
        """Difference of a frame from the first one."""
        maps = self.mix(with_coordinates(torch.cat([blobs, appearance, first_blobs], dim=1)))
        for stage in self.stages:
            maps = functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=True)
            maps = stage(maps)
        return widened(self.output(maps))
