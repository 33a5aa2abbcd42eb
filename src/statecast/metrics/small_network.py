"""SmallVideoNetwork: features of frames and clips, trained on moving shapes and shipped.

`benchmarks/small_network.py` makes its training data and its weights.
"""

from __future__ import annotations

import hashlib
from importlib import resources

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

FILE = "small_video_v1.safetensors"
LEAK = 0.1  # negative slope of the rectifiers
SIDE = 64  # pixels, of the images that the network sees
FRAME_CHANNELS = (16, 32, 32)
CLIP_CHANNELS = (48, 64, 32)
FEATURES = 3 * CLIP_CHANNELS[-1]


class SmallVideoNetwork(nn.Module):
    """Convolutions of each frame, then convolutions in time and space.

    It takes RGB clips in [−1, 1] of any size and resizes them to 64×64.
    """

    def __init__(self) -> None:
        super().__init__()
        one, two, three = FRAME_CHANNELS
        self.frames = nn.Sequential(
            nn.Conv2d(3, one, 5, stride=2, padding=2),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(one, two, 3, stride=2, padding=1),
            nn.LeakyReLU(LEAK),
            nn.Conv2d(two, three, 3, padding=1),
            nn.LeakyReLU(LEAK),
        )
        four, five, six = CLIP_CHANNELS
        self.clips = nn.Sequential(
            nn.Conv3d(three, four, 3, stride=(1, 2, 2), padding=1),
            nn.LeakyReLU(LEAK),
            nn.Conv3d(four, five, (3, 1, 1), padding=(1, 0, 0)),
            nn.LeakyReLU(LEAK),
            nn.Conv3d(five, six, (3, 3, 3), padding=1),
            nn.LeakyReLU(LEAK),
        )
        # With statistics of the training, so that every feature has the same weight.
        self.standardise = nn.BatchNorm1d(FEATURES, affine=False)

    def frame_features(self, images: Float[Tensor, "image 3 y x"]) -> list[Tensor]:
        """Maps (image, channel, y, x) after each convolution of the frames."""
        if images.shape[2:] != (SIDE, SIDE):
            images = functional.interpolate(
                images, (SIDE, SIDE), mode="bilinear", align_corners=False, antialias=True
            )
        found = []
        for layer in self.frames:
            images = layer(images)
            if isinstance(layer, nn.LeakyReLU):
                found.append(images)
        return found

    def forward(self, clips: Float[Tensor, "clip time 3 y x"]) -> Float[Tensor, "clip feature"]:
        """Mean, deviation and mean change in time of the last maps of each clip, standardised."""
        maps = self.frame_features(clips.flatten(0, 1))[-1].unflatten(0, clips.shape[:2])
        maps = self.clips(maps.transpose(1, 2))
        mean = maps.mean(dim=(2, 3, 4))
        spread = (maps.var(dim=(2, 3, 4), correction=0) + 1e-6).sqrt()
        change = (maps.diff(dim=2).square().mean(dim=(2, 3, 4)) + 1e-6).sqrt()
        standardised: Tensor = self.standardise(torch.cat([mean, spread, change], dim=1))
        return standardised


def read_small_network(device: str) -> tuple[SmallVideoNetwork, str]:
    """The network with its shipped weights, and the sha256 of their file."""
    from safetensors.torch import load

    folder = resources.files("statecast.metrics") / "small_network_weights"
    content = (folder / FILE).read_bytes()
    network = SmallVideoNetwork()
    network.load_state_dict(load(content))
    return network.requires_grad_(False).eval().to(device), hashlib.sha256(content).hexdigest()
