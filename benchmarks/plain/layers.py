"""Layers as functions of weights by name: linear, gated, convolutional, normalised."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

Weights = Mapping[str, Tensor]
State = tuple[Tensor, Tensor]  # of a recurrent layer: hidden state and cell


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


def lstm_step(
    weights: Weights, name: str, code: Tensor, hidden: Tensor, cell: Tensor, *, layer: str = "_l0"
) -> State:
    """One step of a recurrent layer: its hidden state and its cell."""
    parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    own = [weights[f"{name}.{part}{layer}"] for part in parts]
    gates = functional.linear(code, own[0], own[2]) + functional.linear(hidden, own[1], own[3])
    taken, kept, new, shown = gates.chunk(4, 1)
    cell = torch.sigmoid(kept) * cell + torch.sigmoid(taken) * torch.tanh(new)
    return torch.sigmoid(shown) * torch.tanh(cell), cell


def convolve(
    weights: Weights, name: str, maps: Tensor, stride: int = 1, padding: int = 0
) -> Tensor:
    """A convolution, with its bias where there is one."""
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    return functional.conv2d(maps, weight, bias, stride, padding)


def transpose(
    weights: Weights, name: str, maps: Tensor, stride: int = 1, padding: int = 0
) -> Tensor:
    """A transposed convolution, with its bias where there is one."""
    weight, bias = weights[f"{name}.weight"], weights.get(f"{name}.bias")
    return functional.conv_transpose2d(maps, weight, bias, stride, padding)


def same(weights: Weights, name: str, maps: Tensor, stride: int = 1) -> Tensor:
    """A convolution that keeps the size of maps, or halves it, by its centred odd kernel."""
    return convolve(weights, name, maps, stride, weights[f"{name}.weight"].shape[-1] // 2)


def lstm(
    weights: Weights, name: str, inputs: Tensor, states: list[State] | None = None
) -> tuple[Tensor, list[State]]:
    """Recurrent layers over one step: what the last one shows, and the states of all."""
    hidden_size, after = weights[f"{name}.weight_hh_l0"].shape[1], []
    while f"{name}.weight_ih_l{len(after)}" in weights:
        zeros = inputs.new_zeros(len(inputs), hidden_size)
        before = states[len(after)] if states else (zeros, zeros)
        after.append(lstm_step(weights, name, inputs, *before, layer=f"_l{len(after)}"))
        inputs = after[-1][0]
    return inputs, after


def finish(weights: Weights, name: str, maps: Tensor, training: bool) -> Tensor:
    """Batch normalisation, where there is one, and leaky rectifier."""
    if f"{name}.norm.weight" in weights:
        maps = norm(weights, f"{name}.norm", maps, training)
    return functional.leaky_relu(maps, 0.2)


def norm(weights: Weights, name: str, maps: Tensor, training: bool) -> Tensor:
    """Batch normalisation, with stored statistics unless in training."""
    return functional.batch_norm(
        maps,
        weights[f"{name}.running_mean"],
        weights[f"{name}.running_var"],
        weights[f"{name}.weight"],
        weights[f"{name}.bias"],
        training,
    )
