"""The loss of SRVP as a reader of its paper would write it: term after term, frame after frame.

All frames are encoded in one call and decoded in one call, as batch normalisation in training
wants it; content and skip maps are repeated for every frame. Recurrent filter, posterior, prior
and latent go from frame to frame.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from plain.codecs import decode, encode
from plain.layers import Weights, layers, linear, lstm_step
from torch import Tensor
from torch.nn import functional


class Draws(NamedTuple):
    """The random numbers of a training step."""

    initial: Tensor  # standard normal, (batch, latent)
    observed: Tensor  # standard normal, (batch, interval, noise)
    content: Tensor  # numbers of the frames that content comes from, (batch, frame)
    skip: Tensor | None  # number of the frame that skip maps come from, (batch,)


class Options(NamedTuple):
    """Options that the weights do not show."""

    inference_frames: int
    substeps: int
    observation_std: float
    kl_initial_weight: float
    kl_noise_weight: float
    step_norm_weight: float


def loss(weights: Weights, frames: Tensor, draws: Draws, options: Options) -> Tensor:
    """Negative evidence lower bound and penalty, of frames (batch, time, channel, y, x)."""
    batch, length = frames.shape[:2]
    code, maps = encode(weights, "encoder", frames.flatten(0, 1), training=True)
    codes = code.unflatten(0, (batch, length))
    mean, std = gaussian(
        layers(weights, "initial", codes[:, : options.inference_frames].flatten(1))
    )
    divergence = divergence_of(mean, std, torch.zeros_like(mean), torch.ones_like(std))
    latent = mean + std * draws.initial
    latents, residual, divergence_noise = [latent], 0.0, 0.0
    hidden = cell = frames.new_zeros(batch, weights["lstm.weight_hh_l0"].shape[1])
    for time in range(length):
        hidden, cell = lstm_step(weights, "lstm", codes[:, time], hidden, cell)
        if time == 0:
            continue
        posterior = gaussian(linear(weights, "posterior", hidden))
        prior = gaussian(layers(weights, "prior", latent))
        divergence_noise = divergence_noise + divergence_of(*posterior, *prior)
        drawn = posterior[0] + posterior[1] * draws.observed[:, time - 1]
        for _ in range(options.substeps):
            change = layers(weights, "transition.velocity", torch.cat([latent, drawn], 1))
            change = change / options.substeps
            residual = residual + change.norm(dim=1).mean()
            latent = latent + change
        latents.append(latent)
    content = content_of(weights, codes, draws.content)
    decoded = decode_all(weights, content, torch.stack(latents, 1), skips_of(maps, draws, length))
    errors = ((frames - decoded) / options.observation_std).square() / 2
    constant = math.log(options.observation_std) + math.log(2 * math.pi) / 2
    reconstruction = (errors + constant).sum() / batch
    return (
        reconstruction
        + options.kl_initial_weight * divergence
        + options.kl_noise_weight * divergence_noise
        + options.step_norm_weight * residual
    )


def content_of(weights: Weights, codes: Tensor, chosen: Tensor) -> Tensor:
    """Content code of the chosen frames of each video, whatever their order."""
    rows = torch.arange(len(codes), device=codes.device)
    pooled = sum(
        torch.relu(linear(weights, "content_of_frame.0", codes[rows, chosen[:, index]]))
        for index in range(chosen.shape[1])
    )
    return torch.tanh(linear(weights, "content_of_sum.0", pooled))


def skips_of(maps: list[Tensor], draws: Draws, length: int) -> list[Tensor]:
    """Maps of one frame of each video, repeated for all of its frames."""
    if draws.skip is None:
        return []
    found = []
    for each in maps:
        own = each.unflatten(0, (-1, length))
        one = own[torch.arange(len(own), device=own.device), draws.skip]
        found.append(one.repeat_interleave(length, dim=0))
    return found


def decode_all(weights: Weights, content: Tensor, latents: Tensor, maps: list[Tensor]) -> Tensor:
    """Frames of all latents (batch, time, latent), the content repeated for each."""
    batch, length = latents.shape[:2]
    repeated = content.repeat_interleave(length, dim=0)
    code = torch.cat([repeated, latents.flatten(0, 1)], 1)
    return decode(weights, code, maps, training=True).unflatten(0, (batch, length))


def gaussian(output: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation that a network describes."""
    mean, raw = output.chunk(2, 1)
    return mean, functional.softplus(raw) + 1e-8


def divergence_of(mean: Tensor, std: Tensor, other_mean: Tensor, other_std: Tensor) -> Tensor:
    """Kullback–Leibler divergence of Gaussians, summed over components, averaged over videos."""
    ratio = (std / other_std).square()
    distance = ((mean - other_mean) / other_std).square()
    return ((ratio + distance - 1 - ratio.log()) / 2).sum(1).mean()
