"""DSVAE with a factorised posterior: one content, and motion frame after frame."""

from __future__ import annotations

import torch
from plain.gaussians import Gaussian
from plain.given import Given
from plain.layers import (
    State,
    Weights,
    convolve,
    finish,
    linear,
    lstm_step,
    norm,
    transpose,
)
from torch import Tensor
from torch.nn import functional


def loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Errors of frames in [−1, 1], and divergences of content and motion."""
    options, frames = given.options, 2 * frames - 1
    batch, length = frames.shape[:2]
    codes = encode(weights, frames.flatten(0, 1), training=True).unflatten(0, (batch, length))
    of_content = content_of(weights, codes[:, : given.context])
    content = of_content.draw(given.draws.normal(options.content_size))
    posterior = motion_of(weights, codes)
    motion = posterior.draw(given.draws.normal(length, options.motion_size))
    state, divergence = remember(weights, torch.zeros_like(motion[:, 0]), None), 0.0
    for time in range(length):
        wanted = Gaussian(posterior.mean[:, time], posterior.std[:, time])
        divergence = divergence + wanted.divergence(prior_of(weights, state))
        state = remember(weights, motion[:, time], state)
    repeated = content[:, None].expand(-1, length, -1)
    decoded = decode(weights, torch.cat([motion, repeated], 2).flatten(0, 1), training=True)
    errors = (decoded.unflatten(0, (batch, length)) - frames).square().sum() / batch
    return (
        errors / (2 * options.observation_std**2)
        + options.kl_content_weight * of_content.divergence_from_standard().mean()
        + options.kl_motion_weight * divergence.mean()
    )


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (row, time, …) after a context (window, time, …)."""
    options, length = given.options, context.shape[1]
    frames = [encode(weights, 2 * frame - 1, training=False) for frame in context.unbind(1)]
    codes = torch.stack(frames, 1)
    content = given.rows(content_of(weights, codes).mean)
    posterior = Gaussian(*map(given.rows, motion_of(weights, codes)))
    motion = posterior.draw(given.draws.normal(length, options.motion_size))
    state, made = remember(weights, torch.zeros_like(motion[:, 0]), None), []
    for time in range(length):
        state = remember(weights, motion[:, time], state)
    for _ in range(horizon):
        moved = prior_of(weights, state).draw(given.draws.normal(options.motion_size))
        state = remember(weights, moved, state)
        made.append(decode(weights, torch.cat([moved, content], 1), training=False) / 2 + 0.5)
    return torch.stack(made, 1)


def encode(weights: Weights, frames: Tensor, *, training: bool) -> Tensor:
    """Codes of frames."""
    for index, (stride, padding) in enumerate(((1, 2), (2, 2), (2, 2), (2, 2), (1, 0), (1, 0))):
        own = f"encoder.{index}"
        frames = convolve(weights, f"{own}.convolution", frames, stride, padding)
        frames = finish(weights, own, frames, training)
    return frames.flatten(1)


def decode(weights: Weights, codes: Tensor, *, training: bool) -> Tensor:
    """Frames in [−1, 1]."""
    hidden = functional.leaky_relu(linear(weights, "decoder.linear.0", codes), 0.2)
    hidden = functional.leaky_relu(linear(weights, "decoder.linear.2", hidden), 0.2)
    channels = weights["decoder.convolutions.0.weight"].shape[0]
    side = round((hidden.shape[1] / channels) ** 0.5)
    maps, index = hidden.unflatten(1, (channels, side, side)), 0
    while f"decoder.convolutions.{index + 1}.weight" in weights:
        own = f"decoder.convolutions.{index}"
        pair = (weights[f"{own}.weight"], weights[f"{own}.bias"])
        maps = functional.conv_transpose2d(maps, *pair, 2, 2, 1)
        maps = norm(weights, f"decoder.convolutions.{index + 1}", maps, training)
        maps, index = functional.leaky_relu(maps, 0.2), index + 3
    return torch.tanh(transpose(weights, f"decoder.convolutions.{index}", maps, 1, 2))


def content_of(weights: Weights, codes: Tensor) -> Gaussian:
    """The content of a video, by a recurrent network forwards and one backwards."""
    ends = []
    for layer, order in (("_l0", codes), ("_l0_reverse", codes.flip(1))):
        hidden = weights["content_posterior.lstm.weight_hh_l0"].shape[1]
        state = (codes.new_zeros(len(codes), hidden),) * 2
        for code in order.unbind(1):
            state = lstm_step(weights, "content_posterior.lstm", code, *state, layer=layer)
        ends.append(state[0])
    return head(weights, "content_posterior.head", torch.cat(ends, 1))


def motion_of(weights: Weights, codes: Tensor) -> Gaussian:
    """The motion of each frame, from its code alone."""
    hidden = functional.leaky_relu(linear(weights, "motion_posterior.linear", codes), 0.2)
    return head(weights, "motion_posterior.head", hidden)


def remember(weights: Weights, motion: Tensor, state: State | None) -> State:
    """The state of the prior after a motion."""
    zeros = motion.new_zeros(len(motion), weights["prior.cell.weight_hh"].shape[1])
    return lstm_step(weights, "prior.cell", motion, *(state or (zeros, zeros)), layer="")


def prior_of(weights: Weights, state: State) -> Gaussian:
    """The next motion."""
    return head(weights, "prior.head", state[0])


def head(weights: Weights, name: str, hidden: Tensor) -> Gaussian:
    """The Gaussian of two layers."""
    std = (linear(weights, f"{name}.log_variance", hidden) / 2).exp()
    return Gaussian(linear(weights, f"{name}.mean", hidden), std)
