"""The networks of DrNet other than the codecs, which SVG took over: pose encoder, discriminator."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statecast.models.svg.codecs import SkipEncoder
from statecast.nn.blocks import mlp
from statecast.nn.codecs.resnet import ResNetEncoder
from statecast.nn.gaussian import widened

PoseBackbone = Literal["dcgan", "vgg", "resnet"]


class PoseEncoder(nn.Module):
    """From a frame to its pose, in (−1, 1), or of length 1 where it is normalised."""

    def __init__(
        self,
        frame_shape: tuple[int, ...],
        pose_size: int,
        *,
        backbone: PoseBackbone,
        width: int,
        normalise: bool,
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.network = (
            ResNetEncoder(frame_shape, pose_size, width=width, bias=True, head="tanh")
            if backbone == "resnet"
            else SkipEncoder(frame_shape, pose_size, backbone=backbone, width=width)
        )

    def forward(self, frames: Float[Tensor, "many channel y x"]) -> Float[Tensor, "many pose"]:
        """The pose of each frame separately."""
        pose = widened(self.network(frames).code)
        return nn.functional.normalize(pose, dim=-1) if self.normalise else pose


class SceneDiscriminator(nn.Module):
    """Tells pairs of poses that come from one video from pairs that come from two."""

    def __init__(self, pose_size: int, hidden: int) -> None:
        super().__init__()
        self.layers = mlp(2 * pose_size, hidden, 1, layers=3)

    def forward(
        self, first: Float[Tensor, "batch pose"], second: Float[Tensor, "batch pose"]
    ) -> Float[Tensor, " batch"]:
        """Logit of the probability that the poses come from two videos."""
        return widened(self.layers(torch.cat([first, second], dim=1))[:, 0])
