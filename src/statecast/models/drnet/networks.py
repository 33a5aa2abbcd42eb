"""Pose encoder and discriminator of DrNet; its codecs are those of `svg.codecs`."""

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
    """Encoder from a frame to its pose: in (−1, 1), or a unit vector if `normalise` is True."""

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
        """The pose of each frame."""
        pose = widened(self.network(frames).code)
        return nn.functional.normalize(pose, dim=-1) if self.normalise else pose


class SceneDiscriminator(nn.Module):
    """Discriminator between pairs of poses from one video and pairs from two videos."""

    def __init__(self, pose_size: int, hidden: int) -> None:
        super().__init__()
        self.layers = mlp(2 * pose_size, hidden, 1, layers=3)

    def forward(
        self, first: Float[Tensor, "batch pose"], second: Float[Tensor, "batch pose"]
    ) -> Float[Tensor, " batch"]:
        """Logit of the probability that the poses come from two videos."""
        return widened(self.layers(torch.cat([first, second], dim=1))[:, 0])
