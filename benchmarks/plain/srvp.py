"""Best of N with SRVP, written as it is first thought of: plain eager float32 loops.

Every sample starts from the context again; every frame is encoded, advanced and decoded by itself;
content and skip maps are repeated and concatenated for each. Nothing of the library is used but
the names of a model's weights. `tests/test_benchmarks.py` shows that it gives the same frames and
the same scores.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from plain.codecs import decode, encode
from plain.layers import Weights, layers, linear, lstm_step
from torch import Tensor
from torch.nn import functional


class Noise(NamedTuple):
    """Standard normal values behind every draw."""

    initial: Tensor  # (sample, batch, latent)
    observed: Tensor  # (sample, batch, interval, noise)
    future: Tensor  # (sample, batch, interval, noise)


class Options(NamedTuple):
    """Options that the weights do not show."""

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
        code, skips = encode(weights, "encoder", context[:, time])
        codes.append(code)
        maps = skips if options.skips else []
    count = options.inference_frames
    pooled = sum(torch.relu(linear(weights, "content_of_frame.0", code)) for code in codes[-count:])
    content = torch.tanh(linear(weights, "content_of_sum.0", pooled))
    latent = normal(layers(weights, "initial", torch.cat(codes[:count], 1)), noise.initial)
    hidden = cell = content.new_zeros(len(context), weights["lstm.weight_hh_l0"].shape[1])
    for time, code in enumerate(codes):
        hidden, cell = lstm_step(weights, "lstm", code, hidden, cell)
        if time > 0:
            drawn = normal(linear(weights, "posterior", hidden), noise.observed[:, time - 1])
            latent = step(weights, latent, drawn, options.substeps)
    frames = []
    for time in range(noise.future.shape[1]):
        drawn = normal(layers(weights, "prior", latent), noise.future[:, time])
        latent = step(weights, latent, drawn, options.substeps)
        frames.append(decode(weights, torch.cat([content, latent], 1), maps))
    return torch.stack(frames, 1)


def step(weights: Weights, latent: Tensor, drawn: Tensor, substeps: int) -> Tensor:
    """One frame interval, in Euler steps."""
    for _ in range(substeps):
        change = layers(weights, "transition.velocity", torch.cat([latent, drawn], 1))
        latent = latent + change / substeps
    return latent


def normal(output: Tensor, noise: Tensor) -> Tensor:
    """A draw from the Gaussian that a network describes."""
    mean, raw = output.chunk(2, 1)
    return mean + (functional.softplus(raw) + 1e-8) * noise
