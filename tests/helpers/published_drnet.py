"""The published variants of DrNet's codecs in plain PyTorch, from their description alone."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F


class Unit(nn.Module):
    """A convolution, batch normalisation, a leaky rectifier: named as published, `main.0`, …"""

    def __init__(self, convolution):
        super().__init__()
        norm = nn.BatchNorm2d(convolution.out_channels)
        self.main = nn.Sequential(convolution, norm, nn.LeakyReLU(0.2))

    def forward(self, maps):
        return self.main(maps)


def half(before, after):
    return Unit(nn.Conv2d(before, after, 4, 2, 1))


def double(before, after):
    return Unit(nn.ConvTranspose2d(before, after, 4, 2, 1))


def same(*sizes):
    return nn.Sequential(*(Unit(nn.Conv2d(a, b, 3, 1, 1)) for a, b in pairwise(sizes)))


def code(before, size, kernel):
    return nn.Conv2d(before, size, kernel), nn.BatchNorm2d(size), nn.Tanh()


def seed_map(inputs, width):
    norm = nn.BatchNorm2d(width)
    return nn.Sequential(nn.ConvTranspose2d(inputs, width, 4), norm, nn.LeakyReLU(0.2))


class VGGEncoder(nn.Module):
    def __init__(self, channels, width, size):
        super().__init__()
        w = width
        self.c1, self.c2 = same(channels, w, w), same(w, 2 * w, 2 * w)
        self.c3 = same(2 * w, 4 * w, 4 * w, 4 * w)
        self.c4 = same(4 * w, 8 * w, 8 * w, 8 * w)
        self.c5 = nn.Sequential(*code(8 * w, size, 4))

    def forward(self, frames):
        h1 = self.c1(frames)
        h2 = self.c2(F.max_pool2d(h1, 2))
        h3 = self.c3(F.max_pool2d(h2, 2))
        h4 = self.c4(F.max_pool2d(h3, 2))
        return self.c5(F.max_pool2d(h4, 2)), [h1, h2, h3, h4]


class VGGDecoder(nn.Module):
    def __init__(self, channels, width, inputs):
        super().__init__()
        w = width
        self.upc1 = seed_map(inputs, 8 * w)
        self.upc2 = same(16 * w, 8 * w, 8 * w, 4 * w)
        self.upc3 = same(8 * w, 4 * w, 4 * w, 2 * w)
        self.upc4 = same(4 * w, 2 * w, w)
        self.upc5 = nn.Sequential(*same(2 * w, w), nn.ConvTranspose2d(w, channels, 3, 1, 1))

    def forward(self, codes, skips):
        maps = self.upc1(codes)
        for stage, skip in zip(
            (self.upc2, self.upc3, self.upc4, self.upc5), reversed(skips), strict=True
        ):
            maps = stage(torch.cat([F.interpolate(maps, scale_factor=2), skip], dim=1))
        return maps.sigmoid()


class DCGANEncoder(nn.Module):
    def __init__(self, channels, width, size):
        super().__init__()
        w = width
        self.main = nn.Sequential(
            half(channels, w), half(w, 2 * w), half(2 * w, 4 * w), half(4 * w, 8 * w),
            *code(8 * w, size, 4),
        )  # fmt: skip

    def forward(self, frames):
        return self.main(frames), []


class DCGANDecoder(nn.Module):
    def __init__(self, channels, width, inputs):
        super().__init__()
        w = width
        self.main = nn.Sequential(
            *seed_map(inputs, 8 * w), double(8 * w, 4 * w), double(4 * w, 2 * w), double(2 * w, w),
            nn.ConvTranspose2d(w, channels, 4, 2, 1), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, codes, skips):
        return self.main(codes)


class Residual(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after)
        self.conv2, self.bn2 = nn.Conv2d(after, after, 3, 1, 1), nn.BatchNorm2d(after)
        self.downsample = None
        if stride > 1:
            shortcut = nn.Conv2d(before, after, 1, stride)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(after))

    def forward(self, maps):
        passed = maps if self.downsample is None else self.downsample(maps)
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(maps))))) + passed)


class ResNetPose(nn.Module):
    def __init__(self, channels, width, size):
        super().__init__()
        w = width
        self.conv1, self.bn1 = nn.Conv2d(channels, w, 5, 2, 3), nn.BatchNorm2d(w)
        self.layer1 = nn.Sequential(Residual(w, w, 1), Residual(w, w, 1))
        self.layer2 = nn.Sequential(Residual(w, 2 * w, 2), Residual(2 * w, 2 * w, 1))
        self.layer3 = nn.Sequential(Residual(2 * w, 4 * w, 2), Residual(4 * w, 4 * w, 1))
        self.layer4 = nn.Sequential(Residual(4 * w, 8 * w, 2), Residual(8 * w, 8 * w, 1))
        self.conv_out, self.bn_out = nn.Conv2d(8 * w, size, 3), nn.BatchNorm2d(size)

    def forward(self, frames):
        maps = F.max_pool2d(F.relu(self.bn1(self.conv1(frames))), 3, 2, 1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
        return F.normalize(self.bn_out(self.conv_out(maps)).tanh(), p=2)


def shuffled(module, generator):
    """The module in evaluation mode, with weights and statistics away from their start."""
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            positive = name.endswith("running_var")
            drawn = torch.rand(tensor.shape, generator=generator)
            tensor.copy_(0.5 + drawn if positive else 0.6 * (drawn - 0.5))
    return module.eval()
