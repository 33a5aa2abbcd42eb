"""SAVP: a recurrent generator that moves pixels, an encoder of noise, and two discriminators."""

from __future__ import annotations

from typing import NamedTuple

import torch
from plain.given import Given
from plain.layers import State, Weights, convolve, linear, same
from plain.sampling import inverse_sigmoid_mask, teach
from torch import Tensor
from torch.nn import functional

LAYERS = (
    (1, 1), (1, 2), (1, 1), (1, 2), (1, 1), (2, 2), (1, 1),
)  # fmt: skip  # strides in time and space of the discriminators
EPSILON = 1e-6


class Made(NamedTuple):
    """Frames of a pass with noise of the posterior, one with noise of the prior, and clips."""

    posterior: Tensor
    prior: Tensor
    mean: Tensor
    log_variance: Tensor
    starts: Tensor  # (window, clip)


def discriminator_loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Least squares of both discriminators; their power iterations go on."""
    with torch.no_grad():
        made = generate(weights, frames, given)
    return sum(
        weight * ((real - 1).square().mean() + fake.square().mean())
        for weight, (real, _), (fake, _) in judged(weights, frames, made, given, move=True)
    )


def generator_loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Absolute and squared errors, divergence, and what both discriminators say."""
    options, made = given.options, generate(weights, frames, given)
    errors = made.posterior - frames[:, 1:]
    total = options.l1_weight * errors.abs().mean() + options.l2_weight * errors.square().mean()
    divergence = made.mean.square() + made.log_variance.exp() - 1 - made.log_variance
    risen = (given.step - options.kl_start) / (options.kl_end - options.kl_start)
    total = total + options.kl_weight * min(max(risen, 0.0), 1.0) * divergence.sum(2).mean() / 2
    features = (options.vae_gan_feature_weight, options.gan_feature_weight)
    pairs = judged(weights, frames, made, given, move=False)
    for feature_weight, (weight, (_, real), (fake, seen)) in zip(features, pairs, strict=True):
        total = total + weight * (fake - 1).square().mean()
        for one, other in zip(seen, real, strict=True):
            distance = (direction(one) - direction(other)).square().sum(1).mean() / 2
            total = total + feature_weight * distance
    return total


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (row, time, …) after a context (window, time, …)."""
    size, length = given.options.noise_size, context.shape[1]
    mean, log_variance = (given.rows(part) for part in encode(weights, context))
    noise = mean + (log_variance / 2).exp() * given.draws.normal(length - 1, size)
    rows, state, made = given.rows(context), None, []
    for time in range(length - 1):
        _, state = step(weights, given, rows[:, time], noise[:, time], rows[:, 0], state=state)
    frame = rows[:, -1]
    for _ in range(horizon):
        frame, state = step(
            weights, given, frame, given.draws.normal(size), rows[:, 0], state=state
        )
        made.append(frame)
    return torch.stack(made, 1)


def generate(weights: Weights, frames: Tensor, given: Given) -> Made:
    """Two passes through a window, each with true frames of its own."""
    batch, length = frames.shape[:2]
    horizon = length - given.context
    noise = [given.draws.normal(length - 1, given.options.noise_size) for _ in range(2)]
    masks = [inverse_sigmoid_mask(given, batch, horizon) for _ in range(2)]
    places = length - given.options.clip_length
    starts = (given.draws.uniform(4) * places).long()
    mean, log_variance = encode(weights, frames)
    posterior = mean + (log_variance / 2).exp() * noise[0]
    known = given.context - 1
    prior = torch.cat([posterior[:, :known], noise[1][:, known:]], 1)
    passes = []
    for latents, chosen in zip((posterior, prior), masks, strict=True):
        steps = iter(latents.unbind(1))

        def one(frame: Tensor, state: tuple | None, steps=steps) -> tuple[Tensor, tuple]:
            return step(weights, given, frame, next(steps), frames[:, 0], state=state)

        passes.append(teach(one, frames, chosen)[0])
    return Made(*passes, mean, log_variance, starts)


def encode(weights: Weights, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance (window, transition, noise) of the noise between two frames."""
    maps = torch.cat([frames[:, :-1], frames[:, 1:]], 2).flatten(0, 1)
    for index in range(3):
        maps = convolve(weights, f"encoder.convolutions.{index}", maps, 2, 1)
        maps = instance_norm(weights, f"encoder.norms.{index - 1}", maps) if index else maps
        maps = functional.leaky_relu(maps, 0.2)
    code = maps.mean((2, 3)).unflatten(0, (len(frames), -1))
    log_variance = linear(weights, "encoder.log_variance", code).clamp(-10, 10)
    return linear(weights, "encoder.mean", code), log_variance


def step(
    weights: Weights,
    given: Given,
    frame: Tensor,
    noise: Tensor,
    first: Tensor,
    *,
    state: tuple | None,
) -> tuple[Tensor, tuple]:
    """The frame after a frame; the state is that of the noise and those of all stages."""
    memory, before = state or (None, {})
    memory = noise_lstm(weights, noise, memory)
    maps, skips, after = torch.cat([frame, first], 1), [], {}
    for name in stages(weights, "cell.stages_down"):
        maps, after[name] = stage(weights, name, maps, memory[0], before.get(name))
        skips.append(maps)
    smallest = skips.pop()
    for index, name in enumerate(stages(weights, "cell.stages_up")):
        maps = torch.cat([maps, skips.pop()], 1) if index else maps
        maps, after[name] = stage(weights, name, maps, memory[0], before.get(name), up=True)
    moved = move(weights, given.options.kernel_size, frame, smallest)
    scratch = torch.sigmoid(head(weights, "cell.scratch", maps))
    images = torch.stack([*moved, frame, first, scratch], 1)
    masks = head(weights, "cell.masks", maps, images.flatten(1, 2)).softmax(1)
    return (masks[:, :, None] * images).sum(1), (memory, after)


def noise_lstm(weights: Weights, noise: Tensor, before: State | None) -> State:
    """The recurrent network that the noise passes first."""
    zeros = torch.zeros_like(noise)
    hidden, cell = before or (zeros, zeros)
    gates = linear(weights, "cell.lstm.gates", torch.cat([noise, hidden], 1))
    i, g, f, o = gates.chunk(4, 1)
    cell = torch.sigmoid(f + 1) * cell + torch.sigmoid(i) * torch.tanh(g)
    return torch.tanh(cell) * torch.sigmoid(o), cell


def stages(weights: Weights, name: str) -> list[str]:
    """Names of the stages of one half of the generator."""
    names: list[str] = []
    while f"{name}.{len(names)}.resize.convolution.weight" in weights:
        names.append(f"{name}.{len(names)}")
    return names


def stage(
    weights: Weights,
    name: str,
    maps: Tensor,
    noise: Tensor,
    before: State | None,
    *,
    up: bool = False,
) -> tuple[Tensor, State | None]:
    """Maps of half or twice the sides, and what the stage remembers."""
    maps = beside(maps, noise)
    if up:
        row = torch.tensor([0.25, 0.75, 0.75, 0.25], device=maps.device)
        kernel = torch.outer(row, row).expand(maps.shape[1], 1, 4, 4)
        maps = functional.conv_transpose2d(maps, kernel, stride=2, groups=maps.shape[1])
        maps = convolve(weights, f"{name}.resize.convolution", maps)
    else:
        maps = functional.avg_pool2d(same(weights, f"{name}.resize.convolution", maps), 2)
    maps = instance_norm(weights, f"{name}.resize.norm", maps).relu()
    if f"{name}.lstm.gates.weight" not in weights:
        return maps, None
    after = conv_lstm(weights, f"{name}.lstm", beside(maps, noise), before)
    return after[0], after


def conv_lstm(weights: Weights, name: str, inputs: Tensor, before: State | None) -> State:
    """A convolutional LSTM with normalised gates and cell."""
    size = len(weights[f"{name}.cell_norm.weight"])
    zeros = inputs.new_zeros(len(inputs), size, *inputs.shape[2:])
    hidden, cell = before or (zeros, zeros)
    gates = same(weights, f"{name}.gates", torch.cat([inputs, hidden], 1))
    i, g, f, o = instance_norm(weights, f"{name}.gate_norm", gates).chunk(4, 1)
    cell = torch.sigmoid(f + 1) * cell + torch.sigmoid(i) * torch.tanh(g)
    cell = instance_norm(weights, f"{name}.cell_norm", cell)
    return torch.tanh(cell) * torch.sigmoid(o), cell


def beside(maps: Tensor, noise: Tensor) -> Tensor:
    """Noise at each point of maps."""
    tiled = noise[:, :, None, None].expand(-1, -1, *maps.shape[2:])
    return torch.cat([maps, tiled], 1)


def instance_norm(weights: Weights, name: str, maps: Tensor) -> Tensor:
    """Normalisation of each channel of each map."""
    pair = (weights[f"{name}.weight"], weights[f"{name}.bias"])
    return functional.group_norm(maps, maps.shape[1], *pair, eps=EPSILON)


def move(weights: Weights, side: int, frame: Tensor, smallest: Tensor) -> list[Tensor]:
    """Copies of a frame, mirrored at its edges, moved by kernels near the identity."""
    raw = linear(weights, "cell.kernels", smallest.permute(0, 2, 3, 1).flatten(1))
    kernels = raw.unflatten(1, (side, side, -1)).permute(0, 3, 1, 2).clone()
    kernels[:, :, side // 2, side // 2] += 1
    kernels = torch.relu(kernels - 1e-12) + 1e-12
    kernels = kernels / kernels.sum((2, 3), keepdim=True)
    around, channels = side // 2, frame.transpose(0, 1)
    padded = functional.pad(channels, (around,) * 4, mode="replicate")
    inside = channels.shape[2:]
    padded[:, :, :around] = padded[:, :, around : 2 * around].flip(2)
    padded[:, :, inside[0] + around :] = padded[:, :, inside[0] : inside[0] + around].flip(2)
    padded[:, :, :, :around] = padded[:, :, :, around : 2 * around].flip(3)
    padded[..., inside[1] + around :] = padded[..., inside[1] : inside[1] + around].flip(3)
    flat = kernels.reshape(-1, 1, side, side)
    found = functional.conv2d(padded, flat, groups=len(kernels))
    return list(found.unflatten(1, kernels.shape[:2]).permute(2, 1, 0, 3, 4))


def head(weights: Weights, name: str, maps: Tensor, images: Tensor | None = None) -> Tensor:
    """Two convolutions; the second one sees images as well, where there are any."""
    maps = instance_norm(weights, f"{name}.norm", same(weights, f"{name}.first", maps)).relu()
    return same(weights, f"{name}.second", maps if images is None else torch.cat([maps, images], 1))


def judged(
    weights: Weights, frames: Tensor, made: Made, given: Given, *, move: bool
) -> list[tuple]:
    """Weight, and logits and features of true and made clips, for each discriminator."""
    options, found = given.options, []
    for index, name in enumerate(("vae_gan", "gan")):
        own = [
            torch.stack([window[start : start + options.clip_length] for window, start in pairs])
            for pairs in (
                zip(frames[:, 1:], made.starts[:, 2 * index].tolist(), strict=True),
                zip(made[index], made.starts[:, 2 * index + 1].tolist(), strict=True),
            )
        ]
        logits, features = judge(weights, f"discriminators.{name}", torch.cat(own), move)
        halves = [part.chunk(2) for part in features]
        real, fake = logits.chunk(2)
        weight = getattr(options, f"{name}_weight")
        found.append(
            (weight, (real, [half[0] for half in halves]), (fake, [half[1] for half in halves]))
        )
    return found


def judge(weights: Weights, name: str, clips: Tensor, move: bool) -> tuple[Tensor, list[Tensor]]:
    """Logits of clips (clip, time, channel, y, x), and the maps of each layer."""
    maps, features = clips.transpose(1, 2), []
    for index, (time, space) in enumerate(LAYERS):
        own = f"{name}.convolutions.{index}"
        kernel = spectral(weights, own, move)
        stride = (time, space, space)
        maps = functional.conv3d(maps, kernel, weights[f"{own}.bias"], stride, padding=1)
        maps = functional.leaky_relu(maps, 0.1)
        features.append(maps)
    flat, own = maps.permute(0, 2, 3, 4, 1).flatten(1), f"{name}.output"
    logits = functional.linear(flat, spectral(weights, own, move), weights[f"{own}.bias"])
    return logits[:, 0], features


def spectral(weights: Weights, name: str, move: bool) -> Tensor:
    """A weight over its largest singular value, by one power iteration."""
    weight, u = weights[f"{name}.weight"], weights[f"{name}.u"].clone()
    matrix = weight.flatten(1)
    v = functional.normalize(matrix.T @ u, dim=0)
    after = functional.normalize(matrix @ v, dim=0)
    if move:
        weights[f"{name}.u"].copy_(after.detach())
    return weight / (after.T @ matrix @ v).squeeze()


def direction(features: Tensor) -> Tensor:
    """Features over their length at each point."""
    return features / (features.norm(dim=1, keepdim=True) + 1e-10)
