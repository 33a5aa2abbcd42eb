"""Best of N with SRVP, written as it is first thought of: plain eager float32 loops.

Every sample starts from the context again; every frame is encoded, advanced and decoded by itself;
content and skip maps are repeated and concatenated for each. Nothing of the library is used but
the names of a model's weights. `tests/test_benchmarks.py` shows that it gives the same frames and
the same scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]


class Noise(NamedTuple):
    """Standard normal values behind every draw."""

    initial: Tensor  # (sample, batch, latent)
    observed: Tensor  # (sample, batch, interval, noise)
    future: Tensor  # (sample, batch, interval, noise)


class Options(NamedTuple):
    """What the weights do not tell."""

    skips: bool
    inference_frames: int
    substeps: int


def forecast(weights: Weights, context: Tensor, noise: Noise, options: Options) -> Tensor:
    """Frames (sample, batch, time, channel, y, x) after a context (batch, time, channel, y, x)."""
    with torch.no_grad():
        return torch.stack(
            [
                one_future(weights, context, Noise(*(part[i] for part in noise)), options)
                for i in range(len(noise.initial))
            ]
        )


def one_future(weights: Weights, context: Tensor, noise: Noise, options: Options) -> Tensor:
    """One sample, from the context to its last frame."""
    codes, maps = [], []
    for time in range(context.shape[1]):
        code, skips = encode(weights, context[:, time])
        codes.append(code)
        maps = skips if options.skips else []
    count = options.inference_frames
    pooled = sum(torch.relu(linear(weights, "content_of_frame.0", code)) for code in codes[-count:])
    content = torch.tanh(linear(weights, "content_of_sum.0", pooled))
    latent = normal(layers(weights, "initial", torch.cat(codes[:count], 1)), noise.initial)
    hidden = cell = content.new_zeros(len(context), weights["filter.weight_hh_l0"].shape[1])
    for time, code in enumerate(codes):
        hidden, cell = filter_step(weights, code, hidden, cell)
        if time > 0:
            drawn = normal(linear(weights, "posterior", hidden), noise.observed[:, time - 1])
            latent = step(weights, latent, drawn, options.substeps)
    frames = []
    for time in range(noise.future.shape[1]):
        drawn = normal(layers(weights, "prior", latent), noise.future[:, time])
        latent = step(weights, latent, drawn, options.substeps)
        frames.append(torch.sigmoid(decode(weights, torch.cat([content, latent], 1), maps)))
    return torch.stack(frames, 1)


def step(weights: Weights, latent: Tensor, drawn: Tensor, substeps: int) -> Tensor:
    """One frame interval, in Euler steps."""
    for _ in range(substeps):
        change = layers(weights, "transition.velocity", torch.cat([latent, drawn], 1))
        latent = latent + change / substeps
    return latent


def filter_step(weights: Weights, code: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, ...]:
    """One step of the recurrent filter."""
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    own = [weights[f"filter.{name}"] for name in names]
    gates = functional.linear(code, own[0], own[2]) + functional.linear(hidden, own[1], own[3])
    taken, kept, new, shown = gates.chunk(4, 1)
    cell = torch.sigmoid(kept) * cell + torch.sigmoid(taken) * torch.tanh(new)
    return torch.sigmoid(shown) * torch.tanh(cell), cell


def normal(output: Tensor, noise: Tensor) -> Tensor:
    """A draw from the Gaussian that a network describes."""
    mean, raw = output.chunk(2, 1)
    return mean + (functional.softplus(raw) + 1e-8) * noise


def linear(weights: Weights, name: str, values: Tensor) -> Tensor:
    """A linear layer."""
    return functional.linear(values, weights[f"{name}.weight"], weights[f"{name}.bias"])


def layers(weights: Weights, name: str, values: Tensor) -> Tensor:
    """Linear layers with rectifiers in between."""
    index = 0
    while f"{name}.{index}.weight" in weights:
        values = linear(weights, f"{name}.{index}", torch.relu(values) if index else values)
        index += 2
    return values


def encode(weights: Weights, frames: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Codes of frames, and their maps from coarse to fine."""
    maps: list[Tensor] = []
    vgg = "encoder.stages.0.0.convolution.weight" in weights
    for stage in range(4):
        if vgg:
            frames = functional.max_pool2d(frames, 2) if maps else frames
            frames = block(weights, f"encoder.stages.{stage}", frames)
        else:
            weight = weights[f"encoder.stages.{stage}.convolution.weight"]
            frames = functional.conv2d(frames, weight, None, 2, 1)
            frames = finish(weights, f"encoder.stages.{stage}", frames)
        maps.insert(0, frames)
    if vgg:
        frames = functional.max_pool2d(frames, 2)
    code = functional.conv2d(frames, weights["encoder.head.0.weight"])
    return torch.tanh(norm(weights, "encoder.head.1", code)).flatten(1), maps


def decode(weights: Weights, code: Tensor, maps: list[Tensor]) -> Tensor:
    """Frames of codes, before the sigmoid."""
    weight = weights["decoder.first.convolution.weight"]
    frames = functional.conv_transpose2d(code[:, :, None, None], weight)
    frames = finish(weights, "decoder.first", frames)
    vgg = "decoder.last.convolution.weight" in weights
    for stage in range(4):
        if vgg:
            frames = functional.interpolate(frames, scale_factor=2, mode="nearest")
        if maps:
            frames = torch.cat([frames, maps[stage]], 1)
        if vgg:
            frames = block(weights, f"decoder.stages.{stage}", frames)
        else:
            weight = weights[f"decoder.stages.{stage}.convolution.weight"]
            frames = functional.conv_transpose2d(frames, weight, None, 2, 1)
            frames = finish(weights, f"decoder.stages.{stage}", frames) if stage < 3 else frames
    if vgg:
        frames = functional.conv_transpose2d(
            frames, weights["decoder.last.convolution.weight"], None, 1, 1
        )
    return frames


def block(weights: Weights, name: str, frames: Tensor) -> Tensor:
    """3×3 convolutions in a row."""
    index = 0
    while f"{name}.{index}.convolution.weight" in weights:
        weight = weights[f"{name}.{index}.convolution.weight"]
        frames = functional.conv2d(frames, weight, None, 1, 1)
        frames = finish(weights, f"{name}.{index}", frames)
        index += 1
    return frames


def finish(weights: Weights, name: str, frames: Tensor) -> Tensor:
    """Batch normalisation, where there is one, and leaky rectifier."""
    if f"{name}.norm.weight" in weights:
        frames = norm(weights, f"{name}.norm", frames)
    return functional.leaky_relu(frames, 0.2)


def norm(weights: Weights, name: str, frames: Tensor) -> Tensor:
    """Batch normalisation with stored statistics."""
    return functional.batch_norm(
        frames,
        weights[f"{name}.running_mean"],
        weights[f"{name}.running_var"],
        weights[f"{name}.weight"],
        weights[f"{name}.bias"],
    )


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
    offsets = torch.arange(11.0) - 5
    line = torch.exp(-0.5 * (offsets / 1.5).square())
    window = torch.outer(line, line) / line.sum() ** 2

    def smooth(images: Tensor) -> Tensor:
        return functional.conv2d(images[:, None], window[None, None])

    a, b = smooth(frame), smooth(truth)
    aa, bb = smooth(frame * frame) - a * a, smooth(truth * truth) - b * b
    ab = smooth(frame * truth) - a * b
    c1, c2 = 0.01**2, 0.03**2
    return ((2 * a * b + c1) * (2 * ab + c2) / ((a * a + b * b + c1) * (aa + bb + c2))).mean()
