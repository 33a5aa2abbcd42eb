"""Separable as a reader of its paper would write it: the loss in training, and a forecast."""

from __future__ import annotations

from typing import NamedTuple

import torch
from plain.codecs import decode, encode
from plain.layers import Weights, layers
from torch import Tensor


class Options(NamedTuple):
    """Options that the weights do not show."""

    context: int
    product: bool  # whether codes are mixed by product, or concatenated
    forecast_weight: float
    alignment_weight: float
    invariance_weight: float
    prior_weight: float


def loss(weights: Weights, frames: Tensor, window: int, options: Options) -> Tensor:
    """Weighted terms of frames (batch, time, channel, *space), aligned at the frame `window`."""
    context, length = options.context, frames.shape[1]
    content = code_of(weights, "content_encoder", frames[:, :context], training=True)
    latent = code_of(weights, "dynamics_encoder", frames[:, :context], training=True)
    latents = [latent]
    for _ in range(length - 1):
        latents.append(advance(weights, latents[-1]))
    aligned = code_of(
        weights, "dynamics_encoder", frames[:, window : window + context], training=True
    )
    latents.append(aligned)
    repeated = [mixed(content, each, options) for each in latents]
    decoded = decode(weights, torch.cat(repeated), [], training=True)
    decoded = decoded.reshape(length + 1, len(frames), *frames.shape[2:]).transpose(0, 1)
    forecast = (decoded[:, :-1] - frames).square().mean()
    alignment = (decoded[:, -1] - frames[:, window]).square().mean()
    end = code_of(weights, "content_encoder", frames[:, -context:], training=True)
    invariance = (content - end).square().mean()
    prior = (latent.square().sum(1) / 2).mean()
    return (
        options.forecast_weight * forecast
        + options.alignment_weight * alignment
        + options.invariance_weight * invariance
        + options.prior_weight * prior
    )


def forecast(weights: Weights, context: Tensor, horizon: int, options: Options) -> Tensor:
    """Frames (batch, time, channel, *space) that follow a context, decoded one by one."""
    with torch.no_grad():
        content = code_of(weights, "content_encoder", context)
        latent = code_of(weights, "dynamics_encoder", context)
        for _ in range(options.context - 1):  # the inferred one is that of the first frame
            latent = advance(weights, latent)
        frames = []
        for _ in range(horizon):
            latent = advance(weights, latent)
            frame = decode(weights, mixed(content, latent, options), [])
            frames.append(frame.reshape(len(context), *context.shape[2:]))
        return torch.stack(frames, 1)


def code_of(weights: Weights, name: str, frames: Tensor, *, training: bool = False) -> Tensor:
    """Code of a window of frames, which are its channels."""
    return encode(weights, name, frames.flatten(1, 2), training=training)[0]


def advance(weights: Weights, latent: Tensor) -> Tensor:
    """One frame interval: one residual block after another."""
    block = 0
    while f"dynamics_blocks.{block}.0.weight" in weights:
        latent = latent + layers(weights, f"dynamics_blocks.{block}", latent)
        block += 1
    return latent


def mixed(content: Tensor, latent: Tensor, options: Options) -> Tensor:
    """Content and latent as the decoder takes them."""
    return content * latent if options.product else torch.cat([content, latent], 1)
