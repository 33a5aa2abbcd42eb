"""The networks behind LPIPS: convolutional features of AlexNet and VGG16, and linear heads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Mean and deviation of ImageNet's colours, for images in [-1, 1], as published with LPIPS.
SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
TINY = 1e-10  # added to norms, as published
ALEXNET_CHANNELS = (64, 192, 384, 256, 256)
VGG16_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def alexnet_layers() -> nn.Sequential:
    """AlexNet (Krizhevsky 2014, https://arxiv.org/abs/1404.5997) up to its fifth convolution."""
    first, second, third, fourth, fifth = ALEXNET_CHANNELS
    return nn.Sequential(
        nn.Conv2d(3, first, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(first, second, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(second, third, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(third, fourth, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(fourth, fifth, 3, padding=1),
        nn.ReLU(),
    )


def vgg16_layers() -> nn.Sequential:
    """VGG16 (Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556), no last pooling."""
    layers = nn.Sequential()
    before = 3
    for block in VGG16_BLOCKS:
        if len(layers):
            layers.append(nn.MaxPool2d(2))
        for channels in block:
            layers.append(nn.Conv2d(before, channels, 3, padding=1))
            layers.append(nn.ReLU())
            before = channels
    return layers


class PerceptualFeatures(nn.Module):
    """Distances between images in feature space (LPIPS).

    Zhang et al. (2018), https://arxiv.org/abs/1801.03924: at each of five layers, the squared
    difference of unit channel vectors, weighted per channel, averaged over positions; summed over
    layers.

    Args:
        layers: the convolutions; features are read after the last ReLU of each of five stages.
        taps: indices of these ReLUs in `layers`.
        heads: weights per channel for each of the five stages.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, layers: nn.Sequential, taps: Sequence[int], heads: Sequence[Tensor]) -> None:
        super().__init__()
        self.layers, self.taps = layers, tuple(taps)
        self.heads = nn.ParameterList([head.clone().view(1, -1, 1, 1) for head in heads])
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, images: Float[Tensor, "image 3 y x"]) -> list[Tensor]:
        """Features of images in [-1, 1], with unit channel vectors (image, channel, y, x)."""
        maps = (images - self.shift) / self.scale
        features = []
        for index, layer in enumerate(self.layers):
            maps = layer(maps)
            if index in self.taps:
                norm = maps.square().sum(dim=1, keepdim=True).sqrt()
                features.append(maps / (norm + TINY))
        return features

    def distance(self, features: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
        """Distances (image,) between the features of two equally long lists of images."""
        layers = [
            ((one - other).square() * head).sum(dim=1).mean(dim=(1, 2))
            for one, other, head in zip(features, others, self.heads, strict=True)
        ]
        return torch.stack(layers).sum(dim=0)


def alexnet_features(weights: Mapping[str, Tensor], heads: Sequence[Tensor]) -> PerceptualFeatures:
    """LPIPS on AlexNet, with weights named as in torchvision's file; the classifier is unused."""
    return filled_in(alexnet_layers(), (1, 4, 7, 9, 11), weights, heads)


def vgg16_features(weights: Mapping[str, Tensor], heads: Sequence[Tensor]) -> PerceptualFeatures:
    """LPIPS on VGG16, with weights named as in torchvision's file; the classifier is unused."""
    return filled_in(vgg16_layers(), (3, 8, 15, 22, 29), weights, heads)


def filled_in(
    layers: nn.Sequential,
    taps: Sequence[int],
    weights: Mapping[str, Tensor],
    heads: Sequence[Tensor],
) -> PerceptualFeatures:
    """The network with the weights `features.N.weight`, `features.N.bias` of its layers."""
    prefix = "features."
    own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    layers.load_state_dict(own)
    return PerceptualFeatures(layers, taps, heads)
