"""CDNA and SV2P: convolutional LSTMs that tell how the pixels of a frame move."""

from __future__ import annotations

import torch
from plain.given import Given
from plain.layers import State, Weights, convolve, linear, same
from plain.sampling import feed_back, inverse_sigmoid_mask, teach
from torch import Tensor
from torch.nn import functional

SMALLEST = 1e-12  # of weights and of variances


def cdna_loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Mean squared error of the frames after the context."""
    chosen = inverse_sigmoid_mask(given, len(frames), frames.shape[1] - given.context)
    made, _ = teach(lambda frame, states: step(weights, given, frame, states), frames, chosen)
    return (made[:, given.context - 1 :] - frames[:, given.context :]).square().mean()


def cdna_forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (window, time, …) after a context."""
    return feed_back(lambda frame, states: step(weights, given, frame, states), context, horizon)


def sv2p_loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Mean squared error of all frames but the first, and the divergence of the latents."""
    options, length = given.options, frames.shape[1]
    chosen = inverse_sigmoid_mask(given, len(frames), length - given.context)
    size = (options.latent_channels, frames.shape[3] // 8, frames.shape[4] // 8)
    latents = given.draws.normal(length - 1 if options.latent == "step" else 1, *size)
    mean, log_variance = tower(weights, frames)
    if given.step >= options.posterior_start:
        latents = mean[:, None] + (log_variance / 2).exp()[:, None] * latents
    steps = iter(latents.expand(-1, length - 1, -1, -1, -1).unbind(1))
    made, _ = teach(
        lambda frame, states: step(weights, given, frame, states, next(steps)), frames, chosen
    )
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
    risen = (given.step - options.kl_start) / (options.kl_end - options.kl_start)
    weight = options.kl_weight * min(max(risen, 0.0), 1.0)
    return (made - frames[:, 1:]).square().mean() + weight * divergence


def sv2p_forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (row, time, …) after a context (window, time, …), with a latent of each step."""
    size = (given.options.latent_channels, context.shape[3] // 8, context.shape[4] // 8)
    return feed_back(
        lambda frame, states: step(weights, given, frame, states, given.draws.normal(*size)),
        given.rows(context),
        horizon,
    )


def step(
    weights: Weights,
    given: Given,
    frame: Tensor,
    states: list[State] | None,
    latent: Tensor | None = None,
) -> tuple[Tensor, list[State]]:
    """The frame after a frame: a mixture of it, of moved copies, and of new pixels."""
    after: list[State] = []

    def remember(maps: Tensor) -> Tensor:
        index = len(after)
        before = states[index] if states else None
        after.append(conv_lstm(weights, f"cell.lstms.{index}", maps, before))
        return layer_norm(weights, f"cell.norms.{index}", after[-1][0])

    entered = layer_norm(weights, "cell.enter_norm", halved(weights, "cell.enter", frame)).relu()
    half = halved(weights, "cell.downsample.0", remember(remember(entered))).relu()
    quarter = halved(weights, "cell.downsample.1", remember(remember(half))).relu()
    if latent is not None:
        quarter = torch.cat([quarter, latent], 1)
    smallest = remember(convolve(weights, "cell.mix", quarter).relu())
    maps = remember(doubled(weights, "cell.upsample.0", smallest).relu())
    maps = doubled(weights, "cell.upsample.1", torch.cat([maps, half], 1)).relu()
    maps = torch.cat([remember(maps), entered], 1)
    full = layer_norm(weights, "cell.leave_norm", doubled(weights, "cell.leave", maps))
    scratch = torch.sigmoid(convolve(weights, "cell.scratch", full))
    side = given.options.kernel_size
    raw = linear(weights, "cell.motion", smallest.permute(0, 2, 3, 1).flatten(1))
    kernels = raw.unflatten(1, (side, side, -1)).permute(0, 3, 1, 2)
    images = [frame, scratch, *moved(frame, kernels, side // 2)]
    masks = convolve(weights, "cell.masks", full).softmax(1).split(1, 1)
    return sum(mask * image for mask, image in zip(masks, images, strict=True)), after


def moved(frame: Tensor, raw: Tensor, padding: int) -> list[Tensor]:
    """The frame moved by each kernel, whose weights are made positive and add up to 1."""
    kernels = torch.relu(raw - SMALLEST) + SMALLEST
    kernels = kernels / kernels.sum((2, 3), keepdim=True)
    rows, count, side, _ = kernels.shape
    channels = frame.transpose(0, 1)
    flat = kernels.reshape(rows * count, 1, side, side)
    found = functional.conv2d(channels, flat, padding=padding, groups=rows)
    return list(found.unflatten(1, (rows, count)).permute(2, 1, 0, 3, 4))


def conv_lstm(weights: Weights, name: str, inputs: Tensor, before: State | None) -> State:
    """A convolutional LSTM whose gates are one convolution."""
    size = len(weights[f"{name}.gates.bias"]) // 4
    zeros = inputs.new_zeros(len(inputs), size, *inputs.shape[2:])
    hidden, cell = before or (zeros, zeros)
    gates = same(weights, f"{name}.gates", torch.cat([inputs, hidden], 1))
    i, g, f, o = gates.chunk(4, 1)
    cell = torch.sigmoid(f + 1) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.tanh(cell) * torch.sigmoid(o), cell


def tower(weights: Weights, frames: Tensor) -> State:
    """Mean and log-variance (window, channel, y, x) of the latents, from all frames."""
    maps = frames.flatten(1, 2)
    for index, stride in enumerate((2, 2, 1)):
        maps = halved(weights, f"tower.convolutions.{index}", maps, stride)
        maps = layer_norm(weights, f"tower.norms.{index}", maps).relu()
    mean = layer_norm(weights, "tower.mean_norm", halved(weights, "tower.mean", maps))
    raised = halved(weights, "tower.log_variance", maps)
    return mean, layer_norm(weights, "tower.log_variance_norm", raised).relu() - 5.0


def layer_norm(weights: Weights, name: str, maps: Tensor) -> Tensor:
    """Normalisation over channels and space."""
    pair = (weights[f"{name}.weight"], weights[f"{name}.bias"])
    return functional.group_norm(maps, 1, *pair, eps=SMALLEST)


def halved(weights: Weights, name: str, maps: Tensor, stride: int = 2) -> Tensor:
    """A convolution padded as TensorFlow pads: an odd zero comes last."""
    total = max(weights[f"{name}.weight"].shape[-1] - stride, 0)
    before, after = total // 2, total - total // 2
    padded = functional.pad(maps, (before, after, before, after))
    return convolve(weights, name, padded, stride)


def doubled(weights: Weights, name: str, maps: Tensor) -> Tensor:
    """The adjoint: a transposed convolution, of which the last row and column are cut off."""
    pair = (weights[f"{name}.weight"], weights.get(f"{name}.bias"))
    height, width = maps.shape[2:]
    return functional.conv_transpose2d(maps, *pair, 2)[..., : 2 * height, : 2 * width]
