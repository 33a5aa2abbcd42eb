"""Fréchet and perceptual distances in the features of a small network shipped with statecast.

They need no download. Their values are not comparable with those of FVD and LPIPS.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor

from statecast.frames import FrameSpec
from statecast.metrics.base import DEFAULTS, MetricSettings
from statecast.metrics.fvd import FVD, why_not_images
from statecast.metrics.lpips_networks import TINY
from statecast.metrics.per_sample import SampleMetric
from statecast.metrics.pretrained_weights import Located
from statecast.metrics.small_network import FILE, SmallVideoNetwork, read_small_network

AT_ONCE = 256  # images per pass through the network


class SmallFVD(FVD):
    """Fréchet distance of whole clips, as `fvd`, in 96 features of a small shipped network.

    The network was trained on synthetic moving shapes. Values are not comparable with FVD.
    """

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        network, digest = read_small_network(settings.device)
        return cls(network, spec, Located(Path(FILE), digest), settings.device)

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        return why_not_images(spec)

    def seen(self, clips: Float[Tensor, "clip 3 time y x"]) -> Float[Tensor, "clip feature"]:
        scaled = (clips / 127.5 - 1).transpose(1, 2).to(self.device)
        found: Tensor = self.network(scaled)
        return found.cpu().double()


class SmallPerceptual(SampleMetric):
    """Distance of frames in the features of a small shipped network, as LPIPS without heads.

    At each of three layers, it takes the squared distance of unit channel vectors, averaged over
    points, and then the mean over layers. Values are not comparable with LPIPS.

    Args:
        network: the network with its weights, on its device.
        value_range: smallest and largest value of the data.
        digest: sha256 of the network's weights.
        device: device that the network runs on.
    """

    version, higher_is_better, unit = "1", False, "1"
    whole_frames = True
    perfect = 0.0

    def __init__(
        self,
        network: SmallVideoNetwork,
        value_range: tuple[float, float],
        digest: str,
        device: str = "cpu",
    ) -> None:
        self.network, self.value_range = network, value_range
        self.digest, self.device = digest, device

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        network, digest = read_small_network(settings.device)
        return cls(network, spec.value_range or (0.0, 1.0), digest, settings.device)

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        return super().why_not_applicable(spec, samples, settings) or why_not_images(spec)

    def prepare(self, target: Tensor, known: Tensor | None = None) -> list[list[Tensor]]:
        return [self.features(part) for part in target.flatten(0, 1).split(AT_ONCE)]

    def frame_scores(
        self, frames: Tensor, target: Tensor, prepared: Any, known: Tensor | None = None
    ) -> Tensor:
        parts = frames.flatten(0, 1).split(AT_ONCE)
        scores = [
            self.distance(self.features(part), truth)
            for part, truth in zip(parts, prepared, strict=True)
        ]
        return torch.cat(scores).unflatten(0, target.shape[:2])

    def distance(self, features: list[Tensor], others: list[Tensor]) -> Float[Tensor, " image"]:
        """Distances (image,) between the features of two equally long lists of images."""
        layers = [
            (one - other).square().sum(dim=1).mean(dim=(1, 2))
            for one, other in zip(features, others, strict=True)
        ]
        return torch.stack(layers).mean(dim=0).cpu()

    @torch.no_grad()
    def features(self, images: Float[Tensor, "image channel y x"]) -> list[Tensor]:
        """Unit channel vectors of images in the data's range, for each layer."""
        low, high = self.value_range
        scaled = 2 * (images.to(self.device) - low) / (high - low) - 1
        maps = self.network.frame_features(scaled.expand(-1, 3, -1, -1))
        return [layer / (layer.square().sum(dim=1, keepdim=True).sqrt() + TINY) for layer in maps]

    def protocol(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        return {"file": FILE, "sha256": self.digest}
