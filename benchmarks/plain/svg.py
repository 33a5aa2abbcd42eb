"""SVG with a learned prior: encoder, three recurrent networks and decoder, frame after frame."""

from __future__ import annotations

import torch
from plain.codecs import decode, encode
from plain.gaussians import Gaussian
from plain.given import Given
from plain.layers import State, Weights, linear, lstm
from torch import Tensor


def loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Squared errors and divergences of all frames but the first."""
    batch, length = frames.shape[:2]
    codes, maps = encode(weights, "encoder", frames.flatten(0, 1), training=True)
    codes = codes.unflatten(0, (batch, length))
    noise = given.draws.normal(length - 1, given.options.noise_size)
    predictor = prior = posterior = None
    predicted, divergence = [], torch.zeros(())
    for time in range(1, length):
        wanted, posterior = gaussian(weights, "posterior", codes[:, time], posterior)
        expected, prior = gaussian(weights, "prior", codes[:, time - 1], prior)
        code, predictor = predict(
            weights, codes[:, time - 1], wanted.draw(noise[:, time - 1]), predictor
        )
        predicted.append(code)
        divergence = divergence + wanted.divergence(expected).mean()
    source = torch.arange(length - 1).clamp(max=given.context - 1)
    skips = [part.unflatten(0, (batch, length))[:, source].flatten(0, 1) for part in maps]
    decoded = decode(weights, torch.stack(predicted, 1).flatten(0, 1), skips, training=True)
    errors = decoded.unflatten(0, (batch, length - 1)) - frames[:, 1:]
    return (length - 1) * errors.square().mean() + given.options.kl_weight * divergence


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (row, time, …) after a context (window, time, …)."""
    encoded = [encode(weights, "encoder", frame) for frame in context.unbind(1)]
    codes, skips = [code for code, _ in encoded], [given.rows(part) for part in encoded[-1][1]]
    noise = given.draws.normal(len(codes) - 1, given.options.noise_size)
    predictor = prior = posterior = None
    for time in range(1, len(codes)):
        wanted, posterior = gaussian(weights, "posterior", codes[time], posterior)
        before = given.rows(codes[time - 1])
        _, prior = gaussian(weights, "prior", before, prior)
        spread = Gaussian(*map(given.rows, wanted)).draw(noise[:, time - 1])
        _, predictor = predict(weights, before, spread, predictor)
    code, made = given.rows(codes[-1]), []
    for _ in range(horizon):
        expected, prior = gaussian(weights, "prior", code, prior)
        drawn = expected.draw(given.draws.normal(given.options.noise_size))
        predicted, predictor = predict(weights, code, drawn, predictor)
        made.append(decode(weights, predicted, skips))
        code = encode(weights, "encoder", made[-1])[0]
    return torch.stack(made, 1)


def gaussian(
    weights: Weights, name: str, code: Tensor, states: list[State] | None
) -> tuple[Gaussian, list[State]]:
    """The Gaussian that a recurrent network gives after a code."""
    hidden, states = lstm(weights, f"{name}.lstm", linear(weights, f"{name}.embed", code), states)
    std = (linear(weights, f"{name}.log_variance", hidden) / 2).exp()
    return Gaussian(linear(weights, f"{name}.mean", hidden), std), states


def predict(
    weights: Weights, code: Tensor, noise: Tensor, states: list[State] | None
) -> tuple[Tensor, list[State]]:
    """The code of the next frame."""
    inputs = linear(weights, "predictor.embed", torch.cat([code, noise], 1))
    hidden, states = lstm(weights, "predictor.lstm", inputs, states)
    return torch.tanh(linear(weights, "predictor.output", hidden)), states
