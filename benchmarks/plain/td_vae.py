"""TD-VAE: beliefs of a recurrent network, states that jump over many frames at once."""

from __future__ import annotations

import torch
from plain.codecs import encode, logits
from plain.gaussians import Gaussian
from plain.given import Given
from plain.layers import State, Weights, linear, lstm_step
from torch import Tensor
from torch.nn import functional


def loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Errors, divergence and log-ratio of states at pairs of times."""
    options = given.options
    batch, length, pairs = len(frames), frames.shape[1], options.pairs
    drawn = given.draws.uniform(pairs, 2).flatten(0, 1)
    first = (drawn[:, 0] * (length - options.max_gap)).long()
    gap = options.min_gap + (drawn[:, 1] * (options.max_gap - options.min_gap + 1)).long()
    size = (options.layers, options.latent_size)
    noise = [given.draws.normal(*size, samples=pairs) for _ in range(2)]
    codes = code_of(weights, frames.flatten(0, 1), training=True).unflatten(0, (batch, length))
    beliefs = torch.stack(believe(weights, codes, options.max_gap), 1)
    rows = torch.arange(batch, device=frames.device).repeat_interleave(pairs)
    early = list(beliefs[rows, first].unbind(1))
    told = (gap / options.max_gap)[:, None]
    later, wanted = draw(weights, "belief", list(beliefs[rows, first + gap].unbind(1)), noise[0])
    seen = [torch.cat([later.flatten(1), belief, told], 1) for belief in early]
    earlier, smoothed = draw(weights, "smoothing", seen, noise[1])
    believed = given_state(weights, "belief", early, earlier)
    jumped = torch.cat([earlier.flatten(1), told], 1)
    moved = given_state(weights, "transition", [jumped] * options.layers, later)
    total = frames.new_zeros(())
    for layer in range(options.layers):
        total = total + smoothed[layer].divergence(believed[layer]).mean()
        ratio = wanted[layer].log_density(later[:, layer])
        total = total + (ratio - moved[layer].log_density(later[:, layer])).mean()
    decoded = decode(weights, later, training=True)
    target = frames[rows, first + gap]
    errors = functional.binary_cross_entropy_with_logits(decoded, target, reduction="sum")
    return total + errors / len(rows)


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (row, time, …) after a context (window, time, …)."""
    options, size = given.options, (given.options.layers, given.options.latent_size)
    frames = [code_of(weights, frame, training=False) for frame in context.unbind(1)]
    belief = given.rows(believe(weights, torch.stack(frames, 1), options.max_gap)[-1])
    state, _ = draw(weights, "belief", list(belief.unbind(1)), given.draws.normal(*size))
    start, noise, made = 0, given.draws.normal(*size), []
    for lead in range(1, horizon + 1):
        reached = jump(weights, state, (lead - start) / options.max_gap, noise)
        made.append(torch.sigmoid(decode(weights, reached, training=False)))
        if lead - start == options.max_gap and lead < horizon:
            state, start, noise = reached, lead, given.draws.normal(*size)
    return torch.stack(made, 1)


def jump(weights: Weights, state: Tensor, told: float, noise: Tensor) -> Tensor:
    """The state some frames later."""
    inputs = torch.cat([state.flatten(1), state.new_full((len(state), 1), told)], 1)
    return draw(weights, "transition", [inputs] * noise.shape[1], noise)[0]


def believe(weights: Weights, codes: Tensor, unit: int) -> list[Tensor]:
    """Beliefs (window, layer, belief) after each frame; layers read each other."""
    hidden = weights["belief_network.cells.0.weight_hh"].shape[1]
    zeros = codes.new_zeros(len(codes), hidden)
    count = sum(name.startswith("belief_network") for name in weights) // 4
    memory: list[State] = [(zeros, zeros)] * count
    found = []
    for time, code in enumerate(codes.unbind(1)):
        passed = code.new_full((len(code), 1), (1 if time else 0) / unit)
        after: list[State] = []
        for layer in range(count):
            parts = [after[-1][0]] if layer else []
            parts += [code, passed]
            parts += [memory[layer + 1][0]] if layer < count - 1 else []
            own = f"belief_network.cells.{layer}"
            after.append(lstm_step(weights, own, torch.cat(parts, 1), *memory[layer], layer=""))
        memory = after
        found.append(torch.stack([hidden for hidden, _ in memory], 1))
    return found


def draw(
    weights: Weights, name: str, conditions: list[Tensor], noise: Tensor
) -> tuple[Tensor, list[Gaussian]]:
    """A state (row, layer, size) from its top layer down, and the Gaussian of each layer."""
    state: list[Tensor] = []
    found: list[Gaussian] = []
    for layer in reversed(range(len(conditions))):
        inputs = torch.cat([conditions[layer], *state[:1]], 1)
        found.insert(0, gaussian(weights, f"{name}.maps.{layer}", inputs))
        state.insert(0, found[0].draw(noise[:, layer]))
    return torch.stack(state, 1), found


def given_state(
    weights: Weights, name: str, conditions: list[Tensor], state: Tensor
) -> list[Gaussian]:
    """The Gaussian of each layer, below the layers of a known state."""
    found = []
    for layer, condition in enumerate(conditions):
        above = [state[:, layer + 1]] if layer + 1 < len(conditions) else []
        found.append(gaussian(weights, f"{name}.maps.{layer}", torch.cat([condition, *above], 1)))
    return found


def gaussian(weights: Weights, name: str, inputs: Tensor) -> Gaussian:
    """The Gaussian of a gated layer."""
    hidden = torch.tanh(linear(weights, f"{name}.value", inputs))
    hidden = hidden * torch.sigmoid(linear(weights, f"{name}.gate", inputs))
    std = (linear(weights, f"{name}.log_variance", hidden) / 2).exp()
    return Gaussian(linear(weights, f"{name}.mean", hidden), std)


def code_of(weights: Weights, frames: Tensor, *, training: bool) -> Tensor:
    """Codes of frames."""
    return encode(weights, "encoder.codec", frames, training=training)[0]


def decode(weights: Weights, state: Tensor, *, training: bool) -> Tensor:
    """Frames, before the sigmoid."""
    return logits(weights, state.flatten(1), [], training=training, name="decoder.codec")
