"""PSNR and SSIM of the best of N samples, frame by frame."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def best_of_n(samples: Tensor, target: Tensor) -> dict[str, float]:
    """Mean PSNR and SSIM of the best sample of each window, frames in [0, 1], one by one."""
    found = {"psnr": [], "ssim": []}
    for window in range(target.shape[0]):
        for name, score in (("psnr", psnr), ("ssim", ssim)):
            averages = []
            for sample in range(samples.shape[0]):
                frames = [
                    float(score(samples[sample, window, time], target[window, time]))
                    for time in range(target.shape[1])
                ]
                averages.append(sum(frames) / len(frames))
            found[name].append(max(averages))
    return {name: sum(values) / len(values) for name, values in found.items()}


def psnr(frame: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio of each channel, averaged, in decibels."""
    errors = [float((a - b).square().mean()) for a, b in zip(frame, truth, strict=True)]
    return sum(-10 * math.log10(error) for error in errors) / len(errors)


def ssim(frame: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity with a Gaussian window of 11×11, where it fits."""
    offsets = torch.arange(11.0, device=frame.device) - 5
    line = torch.exp(-0.5 * (offsets / 1.5).square())
    window = torch.outer(line, line) / line.sum() ** 2

    def smooth(images: Tensor) -> Tensor:
        return functional.conv2d(images[:, None], window[None, None])

    a, b = smooth(frame), smooth(truth)
    aa, bb = smooth(frame * frame) - a * a, smooth(truth * truth) - b * b
    ab = smooth(frame * truth) - a * b
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * a * b + c1) * (2 * ab + c2) / ((a * a + b * b + c1) * (aa + bb + c2))).mean()
