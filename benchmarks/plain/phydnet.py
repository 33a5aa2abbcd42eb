"""PhyDNet as released: a physical cell and ConvLSTMs between two encoders and two decoders."""

from __future__ import annotations

import math

import torch
from plain.given import Given
from plain.layers import State, Weights, same
from plain.sampling import feed_back, teach
from torch import Tensor
from torch.nn import functional

States = tuple[Tensor, list[State]]
ENCODER, DECODER = (2, 1, 2), (2, 1)  # strides


def loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Squared errors of all frames but the first, and the moment loss."""
    options, length = given.options, frames.shape[1]
    passed = options.forcing_decay * (given.step // options.forcing_interval)
    forced = float(given.draws.numbers()) < max(0.0, options.teacher_forcing - passed)
    chosen = torch.ones(len(frames), length - 2, dtype=torch.bool, device=frames.device)
    chosen[:, length - 2 if forced else given.context - 1 :] = False
    made, _ = teach(lambda frame, states: step(weights, given, frame, states), frames, chosen)
    errors = (length - 1) * (made - frames[:, 1:]).square().mean()
    return errors + options.moment_weight * moments(weights["physical.filters.weight"])


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (window, time, …) after a context."""
    return feed_back(lambda frame, states: step(weights, given, frame, states), context, horizon)


def step(
    weights: Weights, given: Given, frame: Tensor, states: States | None
) -> tuple[Tensor, States]:
    """The frame after a frame."""
    groups = given.options.groups
    maps = stack(weights, "codec.encoder", frame, ENCODER, groups)
    physical = stack(weights, "codec.physical_encoder", maps, (1, 1), groups)
    residual = stack(weights, "codec.residual_encoder", maps, (1, 1), groups)
    state, cells = states or (torch.zeros_like(physical), [])
    state, after = physical_cell(weights, physical, state), []
    while f"residual.gates.{len(after)}.weight" in weights:
        index = len(after)
        before = cells[index] if cells else None
        after.append(conv_lstm(weights, f"residual.gates.{index}", residual, before))
        residual = after[-1][0]
    both = stack(weights, "codec.physical_decoder", state, (1, 1), groups, up=True) + stack(
        weights, "codec.residual_decoder", residual, (1, 1), groups, up=True
    )
    maps = stack(weights, "codec.decoder", both, DECODER, groups, up=True)
    last = (weights["codec.decoder.2.weight"], weights["codec.decoder.2.bias"])
    return torch.sigmoid(functional.conv_transpose2d(maps, *last, 2, 1, 1)), (state, after)


def stack(
    weights: Weights,
    name: str,
    maps: Tensor,
    strides: tuple[int, ...],
    groups: int,
    *,
    up: bool = False,
) -> Tensor:
    """3×3 convolutions, transposed or not, each with group normalisation and rectifier."""
    for index, stride in enumerate(strides):
        own = f"{name}.{index}"
        if up:
            pair = (weights[f"{own}.0.weight"], weights[f"{own}.0.bias"])
            maps = functional.conv_transpose2d(maps, *pair, stride, 1, stride - 1)
        else:
            maps = same(weights, f"{own}.0", maps, stride)
        maps = functional.leaky_relu(group_norm(weights, f"{own}.1", maps, groups), 0.2)
    return maps


def group_norm(weights: Weights, name: str, maps: Tensor, groups: int) -> Tensor:
    """Group normalisation."""
    return functional.group_norm(maps, groups, weights[f"{name}.weight"], weights[f"{name}.bias"])


def physical_cell(weights: Weights, inputs: Tensor, state: Tensor) -> Tensor:
    """An Euler step of the equation, corrected by the input."""
    derivatives = same(weights, "physical.filters", state)
    groups = math.isqrt(derivatives.shape[1])
    derivatives = group_norm(weights, "physical.norm", derivatives, groups)
    predicted = state + same(weights, "physical.combination", derivatives)
    gain = torch.sigmoid(same(weights, "physical.gate", torch.cat([inputs, state], 1)))
    return predicted + gain * (inputs - predicted)


def conv_lstm(weights: Weights, name: str, inputs: Tensor, before: State | None) -> State:
    """One step of a convolutional LSTM."""
    size = len(weights[f"{name}.bias"]) // 4
    zeros = inputs.new_zeros(len(inputs), size, *inputs.shape[2:])
    hidden, cell = before or (zeros, zeros)
    enter, keep, leave, new = same(weights, name, torch.cat([inputs, hidden], 1)).chunk(4, 1)
    cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.tanh(new)
    return torch.sigmoid(leave) * torch.tanh(cell), cell


def moments(filters: Tensor) -> Tensor:
    """Distance of each input channel's filters from finite differences."""
    count, channels, side, _ = filters.shape
    positions = torch.arange(side, dtype=torch.float64, device=filters.device) - side // 2
    rows = [positions**order / math.factorial(order) for order in range(side)]
    matrix, total = torch.stack(rows), filters.new_zeros(())
    wanted = torch.eye(count, device=filters.device).view(count, side, side)
    for channel in range(channels):
        found = matrix @ filters[:, channel].double() @ matrix.T
        total = total + functional.mse_loss(found.float(), wanted)
    return total
