"""LPIPS v0.1: distances of images in the features of a network trained to recognise objects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from statecast.errors import CorruptionError
from statecast.frames import FrameSpec
from statecast.metrics.base import DEFAULTS, MetricSettings
from statecast.metrics.lpips_networks import PerceptualFeatures, alexnet_features, vgg16_features
from statecast.metrics.per_sample import SampleMetric
from statecast.metrics.pointwise import unbounded
from statecast.metrics.pretrained_weights import (
    ALEXNET,
    VGG16,
    Located,
    WeightFile,
    obtain,
    read_weights,
    why_missing,
)

COPIES = 3  # of features in memory at once: of the truth, of a sample, and intermediate ones
HEADS = "lpips_v0.1.safetensors"
LAYERS = 5


class LPIPS(SampleMetric):
    """Learned perceptual image patch similarity, v0.1, on AlexNet; lower is better.

    Frames keep their size and are scaled from the data's range to [-1, 1]; a single channel is
    repeated three times, as in Franceschi et al. (2020), https://arxiv.org/abs/2002.09219.

    Reference: Zhang et al. (2018), https://arxiv.org/abs/1801.03924.

    Args:
        network: the network with its weights, on its device.
        value_range: smallest and largest value of the data.
        located: the file of the weights.
    """

    version, higher_is_better, unit = "0.1", False, "1"
    whole_frames = True
    perfect = 0.0
    file: ClassVar[WeightFile] = ALEXNET
    feature_bytes: ClassVar[int] = 2**28  # of features in memory at once
    build: ClassVar[Callable[..., PerceptualFeatures]] = staticmethod(alexnet_features)
    heads: ClassVar[str] = "alex"
    smallest: ClassVar[int] = 31  # side of the smallest image that survives the pooling

    def __init__(
        self, network: PerceptualFeatures, value_range: tuple[float, float], located: Located
    ) -> None:
        self.network, self.value_range, self.located = network, value_range, located

    @classmethod
    def of(cls, spec: FrameSpec, settings: MetricSettings = DEFAULTS) -> Self:
        located = obtain(cls.file, settings.lpips_weights, allow_download=settings.allow_download)
        try:
            network = cls.build(read_weights(located.path), read_heads(cls.heads))
        except RuntimeError as error:
            raise CorruptionError(
                f"{located.path} does not hold the layers of {cls.file.name}: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
        return cls(network.to(settings.device), spec.value_range or (0.0, 1.0), located)

    @classmethod
    def why_not_applicable(
        cls, spec: FrameSpec, samples: int, settings: MetricSettings = DEFAULTS
    ) -> str | None:
        if len(spec.space) != 2 or min(spec.space) < cls.smallest:
            return (
                f"it needs images of at least {cls.smallest}×{cls.smallest} pixels, got space "
                f"{spec.space}"
            )
        if len(spec.channels) not in (1, 3):
            return f"it needs 1 or 3 channels, got {len(spec.channels)}"
        return (
            super().why_not_applicable(spec, samples, settings)
            or unbounded(spec)
            or why_missing(cls.file, settings.lpips_weights, allow_download=settings.allow_download)
        )

    def frame_scores(
        self, frames: Tensor, target: Tensor, prepared: Any, known: Tensor | None = None
    ) -> Tensor:
        return self.all_scores([frames], target, known)[0]

    def all_scores(self, samples: Sequence[Tensor], target: Tensor, known: Tensor | None) -> Tensor:
        # A few frames of all samples at a time, so that features of the truth are computed once.
        images = target.flatten(0, 1)
        scores = torch.empty(len(samples), len(images))
        size = self.images_at_once(images)
        for first in range(0, len(images), size):
            chunk = slice(first, first + size)
            truth = self.features(images[chunk])
            for index, sample in enumerate(samples):
                found = self.features(sample.flatten(0, 1)[chunk])
                scores[index, chunk] = self.network.distance(found, truth).cpu()
        return scores.unflatten(1, target.shape[:2])

    def images_at_once(self, images: Tensor) -> int:
        """Number of images whose features fit into `feature_bytes`."""
        values = sum(layer.numel() for layer in self.features(images[:1]))
        return max(1, self.feature_bytes // (COPIES * 4 * values))

    @torch.no_grad()
    def features(self, images: Tensor) -> list[Tensor]:
        """Features of images (image, channel, y, x) in the data's range."""
        low, high = self.value_range
        scaled = 2 * (images.to(self.network.shift) - low) / (high - low) - 1
        found: list[Tensor] = self.network(scaled.expand(-1, 3, -1, -1))
        return found

    def protocol(self, sums: Mapping[str, Tensor]) -> dict[str, Any]:
        return {"file": self.file.name, "sha256": self.located.sha256, "heads": "v0.1"}


class VGGLPIPS(LPIPS):
    """LPIPS v0.1 on VGG16."""

    file = VGG16
    build = staticmethod(vgg16_features)
    heads = "vgg"
    smallest = 16


def read_heads(network: str) -> list[Tensor]:
    """The linear heads of LPIPS v0.1 for a network: weights per channel of each layer."""
    from safetensors.torch import load

    folder = resources.files("statecast.metrics") / "lpips_heads"
    content = load((folder / HEADS).read_bytes())
    return [content[f"{network}.{layer}"] for layer in range(LAYERS)]
