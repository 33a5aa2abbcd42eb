"""ConvLSTM, PredRNN and MIM: stacks of convolutional recurrent cells over frames in patches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from plain.given import Given
from plain.layers import State, Weights, same
from plain.sampling import feed_back, linear_mask, teach
from torch import Tensor
from torch.nn import functional

Step = Callable[[Weights, Given, Tensor, dict | None], tuple[Tensor, dict]]


def convlstm(weights: Weights, given: Given, patches: Tensor, before: dict | None) -> tuple:
    """The next frame of ConvLSTM."""
    zeros = patches.new_zeros(len(patches), given.options.width, *patches.shape[2:])
    hidden, after = patches, {}
    for layer in range(given.options.layers):
        own = before[layer] if before else (zeros, zeros)
        after[layer] = conv_lstm(weights, f"cells.{layer}", hidden, *own, bias=0.0)
        hidden = after[layer][0]
    return same(weights, "output", hidden), after


def predrnn(weights: Weights, given: Given, patches: Tensor, before: dict | None) -> tuple:
    """The next frame of PredRNN."""
    zeros = patches.new_zeros(len(patches), given.options.width, *patches.shape[2:])
    hidden, memory, after = patches, before["memory"] if before else zeros, {}
    for layer in range(given.options.layers):
        own = before[layer] if before else (zeros, zeros)
        hidden, cell, memory = st_lstm(weights, f"cells.{layer}", hidden, own, memory)
        after[layer] = (hidden, cell)
    return same(weights, "output", hidden), after | {"memory": memory}


def mim(weights: Weights, given: Given, patches: Tensor, before: dict | None) -> tuple:
    """The next frame of MIM; differences and their cells stay 0 at the first frame."""
    zeros = patches.new_zeros(len(patches), given.options.width, *patches.shape[2:])
    first = (zeros, zeros, zeros, zeros, zeros)  # h, c, s, d, e
    memory = before["memory"] if before else zeros
    h, c, _, _, _ = before[0] if before else first
    hidden, cell, memory, _ = mim_cell(weights, "first", patches, (h, c), memory)
    after, change = {0: (hidden, cell, zeros, zeros, zeros)}, hidden - h
    for layer in range(1, given.options.layers):
        h, c, s, d, e = before[layer] if before else first
        if before:
            d, e = conv_lstm(weights, f"difference_cells.{layer - 1}", change, d, e, bias=1.0)
        change, block = d, f"blocks.{layer - 1}"
        hidden, cell, memory, s = mim_cell(
            weights, block, hidden, (h, c), memory, difference=d, stationary=s
        )
        after[layer] = (hidden, cell, s, d, e)
    return same(weights, "output", hidden), after | {"memory": memory}


def conv_lstm(
    weights: Weights, name: str, inputs: Tensor, hidden: Tensor, cell: Tensor, *, bias: float
) -> State:
    """A convolutional LSTM, with peepholes where there are weights for them."""
    gates = gated(weights, f"{name}.input_gates", inputs)
    i, g, f, o = (gates + gated(weights, f"{name}.hidden_gates", hidden)).chunk(4, 1)
    if f"{name}.memory_peephole" in weights:
        entering, kept = weights[f"{name}.memory_peephole"].chunk(2)
        i, f = i + entering * cell, f + kept * cell
    cell = torch.sigmoid(f + bias) * cell + torch.sigmoid(i) * torch.tanh(g)
    if f"{name}.output_peephole" in weights:
        o = o + weights[f"{name}.output_peephole"] * cell
    return torch.sigmoid(o) * torch.tanh(cell), cell


def st_lstm(
    weights: Weights, name: str, inputs: Tensor, own: State, memory: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The spatio-temporal LSTM of PredRNN."""
    hidden, cell = own
    i, f, g, i_m, f_m, g_m, o = gated(weights, f"{name}.input_gates", inputs).chunk(7, 1)
    i_h, f_h, g_h, o_h = gated(weights, f"{name}.hidden_gates", hidden).chunk(4, 1)
    i_s, f_s, g_s = gated(weights, f"{name}.memory_gates", memory).chunk(3, 1)
    cell = torch.sigmoid(f + f_h + 1) * cell + torch.sigmoid(i + i_h) * torch.tanh(g + g_h)
    entering = torch.sigmoid(i_m + i_s) * torch.tanh(g_m + g_s)
    memory = torch.sigmoid(f_m + f_s + 1) * memory + entering
    both = torch.cat([cell, memory], 1)
    leave = torch.sigmoid(o + o_h + gated(weights, f"{name}.output_gate", both))
    return leave * torch.tanh(same(weights, f"{name}.fusion", both)), cell, memory


def mim_cell(
    weights: Weights,
    name: str,
    inputs: Tensor,
    own: State,
    memory: Tensor,
    *,
    difference: Tensor | None = None,
    stationary: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """A layer of MIM; the first one has a forget gate in the place of MIM-S."""
    hidden, cell = own
    i, g, f, o = gated(weights, f"{name}.input_gates", inputs).chunk(4, 1)
    i_s, g_s, f_s, o_s = gated(weights, f"{name}.memory_gates", memory).chunk(4, 1)
    parts = gated(weights, f"{name}.hidden_gates", hidden).split(cell.shape[1], 1)
    i_t, g_t, o_t = parts[0], parts[1], parts[-1]
    if difference is None:
        kept = torch.sigmoid(f + parts[2] + 1) * cell
    else:
        inner = f"{name}.stationary_cell"
        kept, stationary = conv_lstm(weights, inner, difference, cell, stationary, bias=1.0)
    cell = kept + torch.sigmoid(i + i_t) * torch.tanh(g + g_t)
    entering = torch.sigmoid(i + i_s) * torch.tanh(g + g_s)
    memory = torch.sigmoid(f + f_s + 1) * memory + entering
    fused = torch.tanh(same(weights, f"{name}.fusion", torch.cat([cell, memory], 1)))
    return torch.sigmoid(o + o_t + o_s) * fused, cell, memory, stationary


def gated(weights: Weights, name: str, maps: Tensor) -> Tensor:
    """A convolution, and layer normalisation where there is one."""
    found, own = same(weights, f"{name}.0", maps), f"{name}.1"
    if f"{own}.weight" not in weights:
        return found
    pair = (weights[f"{own}.weight"], weights[f"{own}.bias"])
    if pair[0].ndim == 1:
        return functional.group_norm(found, 1, *pair)
    return functional.layer_norm(found, list(pair[0].shape), *pair)


def folded(frames: Tensor, side: int) -> Tensor:
    """Frames in patches, whose points are channels, channels of a point side by side."""
    shape, (channels, height, width) = frames.shape[:-3], frames.shape[-3:]
    split = frames.reshape(-1, channels, height // side, side, width // side, side)
    return split.permute(0, 3, 5, 1, 2, 4).reshape(*shape, -1, height // side, width // side)


def unfolded(patches: Tensor, side: int) -> Tensor:
    """The inverse."""
    shape, (_, height, width) = patches.shape[:-3], patches.shape[-3:]
    split = patches.reshape(-1, side, side, patches.shape[-3] // side**2, height, width)
    return split.permute(0, 3, 4, 1, 5, 2).reshape(*shape, -1, height * side, width * side)


def loss_of(step: Step, *, halved: bool = False) -> Callable[[Weights, Tensor, Given], Tensor]:
    """The loss of a stack of cells: mean squares, or half their sum."""

    def loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
        patches = folded(frames, given.options.patch)
        chosen = linear_mask(given, len(frames), frames.shape[1] - given.context)
        made, _ = teach(lambda frame, state: step(weights, given, frame, state), patches, chosen)
        errors = (made - patches[:, 1:]).square()
        return errors.sum() / 2 if halved else errors.mean()

    return loss


def forecast_of(step: Step) -> Callable[[Weights, Tensor, int, Given], Tensor]:
    """The forecast of a stack of cells."""

    def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
        patches = folded(context, given.options.patch)
        made = feed_back(lambda frame, state: step(weights, given, frame, state), patches, horizon)
        return unfolded(made, given.options.patch)

    return forecast
