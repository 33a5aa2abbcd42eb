"""KVAE: codes of frames that a Kalman filter follows, whose matrices a recurrent network mixes."""

from __future__ import annotations

from typing import NamedTuple

import torch
from plain.gaussians import Gaussian
from plain.given import Given
from plain.layers import State, Weights, convolve, linear, lstm_step, same
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.nn import functional


class Belief(NamedTuple):
    """Moments of the next state, the mixture that it is of, and the memory behind it."""

    mean: Tensor
    covariance: Tensor
    mixture: Tensor
    memory: State


def loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Negative bound per frame: errors, density of the codes by encoder and by filter."""
    options, (batch, length) = given.options, frames.shape[:2]
    flat = encode(weights, frames.flatten(0, 1), options.emission_variance)
    encoded = Gaussian(*(part.unflatten(0, (batch, length)) for part in flat))
    codes = encoded.draw(given.draws.normal(length, options.code_size))
    decoded = decode(weights, codes.flatten(0, 1)).unflatten(0, (batch, length))
    errors = functional.binary_cross_entropy_with_logits(decoded, frames, reduction="sum")
    density, belief = torch.zeros_like(errors), first_belief(weights, batch)
    for code in codes.unbind(1):
        emission = mix(belief.mixture, weights["dynamics.emission"])
        mean, covariance = emitted(weights, emission, belief)
        density = density + MultivariateNormal(mean, covariance).log_prob(code).sum()
        belief, _ = observe(weights, code, belief)
    rest = encoded.log_density(codes).sum() - density
    return (options.reconstruction_weight * errors + rest) / (batch * length)


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (row, time, …) after a context (window, time, …)."""
    options, length = given.options, context.shape[1]
    belief = first_belief(weights, len(context))
    for frame in context.unbind(1):
        code = encode(weights, frame, options.emission_variance).mean
        belief, filtered = observe(weights, code, belief)
    root = torch.linalg.cholesky(given.rows(filtered[1]))
    last = given.draws.normal(1, options.state_size)[:, 0]
    state = given.rows(filtered[0]) + apply(root, last)
    given.draws.normal(length - 1, options.state_size)  # the states before, and their codes
    given.draws.normal(length, options.code_size)
    mixture, memory = given.rows(belief.mixture), tuple(map(given.rows, belief.memory))
    roots = [
        torch.linalg.cholesky(weights[f"dynamics.{name}_noise"])
        for name in ("transition", "emission")
    ]
    made = []
    for _ in range(horizon):
        state = apply(mix(mixture, weights["dynamics.transition"]), state)
        state = state + apply(roots[0], given.draws.normal(options.state_size))
        code = apply(mix(mixture, weights["dynamics.emission"]), state)
        code = code + apply(roots[1], given.draws.normal(options.code_size))
        made.append(torch.sigmoid(decode(weights, code)))
        mixture, memory = next_mixture(weights, code, memory)
    return torch.stack(made, 1)


def first_belief(weights: Weights, rows: int) -> Belief:
    """The belief before the first frame."""
    mean = weights["dynamics.initial_mean"].expand(rows, -1)
    covariance = weights["dynamics.initial_covariance"].expand(rows, -1, -1)
    code = weights["dynamics.mixing.first"].expand(rows, -1)
    zeros = code.new_zeros(rows, weights["dynamics.mixing.lstm.weight_hh"].shape[1])
    return Belief(mean, covariance, *next_mixture(weights, code, (zeros, zeros)))


def observe(weights: Weights, code: Tensor, belief: Belief) -> tuple[Belief, State]:
    """The belief about the next state, and the moments of this one, once its code is seen."""
    emission = mix(belief.mixture, weights["dynamics.emission"])
    expected, spread = emitted(weights, emission, belief)
    gain = belief.covariance @ emission.mT @ torch.linalg.inv(spread)
    mean = belief.mean + apply(gain, code - expected)
    covariance = belief.covariance - gain @ emission @ belief.covariance
    mixture, memory = next_mixture(weights, code, belief.memory)
    transition = mix(mixture, weights["dynamics.transition"])
    after = transition @ covariance @ transition.mT + weights["dynamics.transition_noise"]
    return Belief(apply(transition, mean), after, mixture, memory), (mean, covariance)


def emitted(weights: Weights, emission: Tensor, belief: Belief) -> State:
    """Mean and covariance of the next code."""
    noise = weights["dynamics.emission_noise"]
    return apply(emission, belief.mean), emission @ belief.covariance @ emission.mT + noise


def next_mixture(weights: Weights, code: Tensor, memory: State) -> tuple[Tensor, State]:
    """Shares of the matrices after a code."""
    memory = lstm_step(weights, "dynamics.mixing.lstm", code, *memory, layer="")
    return linear(weights, "dynamics.mixing.weights", memory[0]).softmax(1), memory


def mix(mixture: Tensor, matrices: Tensor) -> Tensor:
    """Matrices (row, i, j) as mixtures of known ones."""
    return torch.einsum("rk,kij->rij", mixture, matrices)


def apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Product of each matrix and its vector."""
    return (matrix @ vector[..., None])[..., 0]


def encode(weights: Weights, frames: Tensor, largest: float) -> Gaussian:
    """Codes of frames."""
    index = 1
    while f"encoder.layers.{index}.weight" in weights:
        padded = functional.pad(frames, (0, 1, 0, 1))
        frames = convolve(weights, f"encoder.layers.{index}", padded, 2).relu()
        index += 3
    features = frames.flatten(1)
    variance = largest * torch.sigmoid(linear(weights, "encoder.variance", features))
    return Gaussian(linear(weights, "encoder.mean", features), variance.sqrt())


def decode(weights: Weights, codes: Tensor) -> Tensor:
    """Frames, before the sigmoid."""
    channels, index = weights["decoder.layers.2.weight"].shape[1], 2
    flat = linear(weights, "decoder.layers.0", codes)
    side = round((flat.shape[1] / channels) ** 0.5)
    maps = flat.unflatten(1, (channels, side, side))
    while f"decoder.layers.{index + 3}.weight" in weights:
        maps = same(weights, f"decoder.layers.{index}", maps).relu()
        maps, index = functional.pixel_shuffle(maps, 2), index + 3
    return same(weights, f"decoder.layers.{index}", maps)
