"""DDPAE: objects, each with a content and a pose, followed and pasted into frames."""

from __future__ import annotations

import math

import torch
from plain.gaussians import Gaussian
from plain.given import Given
from plain.layers import State, Weights, convolve, linear, lstm, norm, transpose
from torch import Tensor
from torch.nn import functional

INCREMENT_STD = 0.1
INITIAL_STD = (0.2, 1.0, 1.0)  # of scale, x and y
POSE = 3


def loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Negative log-likelihood of all frames, and log-ratios of what was drawn."""
    options, known = given.options, given.context
    batch, length = frames.shape[:2]
    objects, sizes = options.objects, (options.objects, POSE)
    hidden, tracks = follow(weights, frames[:, :known], objects, training=True)
    moved = head(weights, "poses.increment", hidden)
    start, _ = run(weights, "poses.initial_pose_lstm", hidden[:, 0])
    initial = head(weights, "poses.initial_pose", start)
    draws = [
        given.draws.normal(*size)
        for size in ((known, *sizes), (length - known, *sizes), sizes,
                     (objects, options.content_size))
    ]  # fmt: skip
    increments, first = moved.draw(draws[0]), initial.draw(draws[2])
    path = [first + increments[:, : time + 1].sum(1) for time in range(known)]
    total = gap(increments, moved, 0.0, INCREMENT_STD)
    total = total + gap(first, initial, (options.scale, 0.0, 0.0), INITIAL_STD)
    of_content = content_of(weights, frames[:, :known], path, options, training=True)
    codes = of_content.draw(draws[3])
    total = total + gap(codes, of_content, 0.0, 1.0)
    for time in range(length - known):
        tracks = advance(weights, tracks)
        step = head(weights, "poses.increment", torch.stack([h for h, _ in tracks], 1))
        drawn = step.draw(draws[1][:, time])
        total = total + gap(drawn, step, 0.0, INCREMENT_STD)
        path.append(path[-1] + drawn)
    drawings = draw_objects(weights, codes.flatten(0, 1), training=True)
    drawn = torch.stack([frame_of(drawings, pose, frames, options.scale) for pose in path], 1)
    std = options.observation_std
    constant = math.log(std) + math.log(2 * math.pi) / 2
    errors = ((drawn - frames) / std).square() / 2 + constant
    return total + errors.sum() / batch


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (window, time, …) after a context, by means."""
    options = given.options
    hidden, tracks = follow(weights, context, options.objects, training=False)
    moved = head(weights, "poses.increment", hidden).mean
    start, _ = run(weights, "poses.initial_pose_lstm", hidden[:, 0])
    path = [head(weights, "poses.initial_pose", start).mean + moved[:, 0]]
    for time in range(1, context.shape[1]):
        path.append(path[-1] + moved[:, time])
    codes = content_of(weights, context, path, options, training=False).mean
    drawings, pose, made = draw_objects(weights, codes.flatten(0, 1), training=False), path[-1], []
    for _ in range(horizon):
        tracks = advance(weights, tracks)
        after = torch.stack([hidden for hidden, _ in tracks], 1)
        pose = pose + head(weights, "poses.increment", after).mean
        made.append(frame_of(drawings, pose, context, options.scale))
    return torch.stack(made, 1)


def follow(
    weights: Weights, frames: Tensor, objects: int, *, training: bool
) -> tuple[Tensor, list[State]]:
    """The state of each object at each time (window, time, object, unit), and at the last."""
    batch, length = frames.shape[:2]
    codes = network(weights, "poses.image_encoder", frames.flatten(0, 1), training).flatten(1)
    codes = codes.unflatten(0, (batch, length))
    before = codes.new_zeros(batch, length, weights["poses.tracker.weight_hh_l0"].shape[1])
    found, tracks = [], []
    for _ in range(objects):
        before, last = run(weights, "poses.tracker", torch.cat([codes, before], 2))
        found.append(before)
        tracks.append(last)
    return torch.stack(found, 2), tracks


def run(weights: Weights, name: str, inputs: Tensor) -> tuple[Tensor, State]:
    """A recurrent layer over inputs (row, time, unit): what it shows, and its last state."""
    states, shown = None, []
    for code in inputs.unbind(1):
        hidden, states = lstm(weights, name, code, states)
        shown.append(hidden)
    return torch.stack(shown, 1), states[0]


def advance(weights: Weights, tracks: list[State]) -> list[State]:
    """The next state of each object, which sees the one before it."""
    before, found = torch.zeros_like(tracks[0][0]), []
    for state in tracks:
        inputs = torch.cat([state[0], before], 1)
        before, after = lstm(weights, "poses.transition", inputs, [state])
        found.append(after[0])
    return found


def head(weights: Weights, name: str, hidden: Tensor) -> Gaussian:
    """The Gaussian of two layers."""
    std = functional.softplus(linear(weights, f"{name}.std", hidden)) + 1e-8
    return Gaussian(linear(weights, f"{name}.mean", hidden), std)


def content_of(
    weights: Weights, frames: Tensor, path: list[Tensor], options: object, *, training: bool
) -> Gaussian:
    """The content (window, object, code) of what lies at the poses of each object."""
    batch, objects, codes = len(frames), options.objects, []
    cut = []
    for frame, pose in zip(frames.unbind(1), path, strict=True):
        place = constrain(pose, options.scale).flatten(0, 1)
        inverse = torch.cat([1 / place[:, :1], -place[:, 1:] / place[:, :1]], 1)
        half = (frame.shape[2] // 2, frame.shape[3] // 2)
        cut.append(paste(frame.repeat_interleave(objects, 0), inverse, half))
    codes = network(weights, "object_encoder", torch.stack(cut, 1).flatten(0, 1), training)
    shown, _ = run(weights, "contents.lstm", codes.flatten(1).unflatten(0, (batch * objects, -1)))
    mean, raw = linear(weights, "contents.head", shown[:, -1]).chunk(2, 1)
    pair = (mean, functional.softplus(raw) + 1e-8)
    return Gaussian(*(part.unflatten(0, (batch, objects)) for part in pair))


def draw_objects(weights: Weights, codes: Tensor, *, training: bool) -> Tensor:
    """Pictures of objects."""
    maps = codes[:, :, None, None]
    return torch.sigmoid(network(weights, "object_decoder", maps, training, transposed=True))


def frame_of(drawings: Tensor, pose: Tensor, like: Tensor, scale: float) -> Tensor:
    """Objects at their poses (window, object, 3), together."""
    place = constrain(pose, scale).flatten(0, 1)
    pasted = paste(drawings, place, (like.shape[3], like.shape[4]))
    return pasted.unflatten(0, pose.shape[:2]).sum(1).clamp(max=1)


def paste(images: Tensor, pose: Tensor, space: tuple[int, int]) -> Tensor:
    """Images at poses (row, 3) of a scale and a shift."""
    scale, x, y = pose.unbind(1)
    zero = torch.zeros_like(scale)
    matrix = torch.stack([scale, zero, x, zero, scale, y], 1).unflatten(1, (2, 3))
    grid = functional.affine_grid(matrix, [*images.shape[:2], *space], align_corners=True)
    return functional.grid_sample(images, grid, align_corners=True)


def constrain(pose: Tensor, scale: float) -> Tensor:
    """Poses whose scale is near the usual one, and whose object touches the frame."""
    size = pose[..., :1].clamp(scale - 1, scale + 1)
    return torch.cat([size, torch.tanh(pose[..., 1:]) * (size - 0.5)], -1)


def gap(values: Tensor, posterior: Gaussian, mean: object, std: object) -> Tensor:
    """Log-ratio of posterior and prior at values, summed over all but videos."""
    shape = values.new_zeros(values.shape[-1])
    prior = Gaussian(shape + values.new_tensor(mean), shape + values.new_tensor(std))
    ratio = posterior.log_density(values) - prior.log_density(values)
    return ratio.flatten(1).sum(1).mean()


def network(
    weights: Weights, name: str, maps: Tensor, training: bool, *, transposed: bool = False
) -> Tensor:
    """Strided convolutions, most of them normalised and all but the last rectified."""
    layers = sorted(
        int(key.split(".")[-2]) for key in weights if key.startswith(f"{name}.") and
        key.endswith(".weight") and weights[key].ndim == 4
    )  # fmt: skip
    for place, index in enumerate(layers):
        whole = place == (0 if transposed else len(layers) - 1)
        convolution = transpose if transposed else convolve
        maps = convolution(weights, f"{name}.{index}", maps, *((1, 0) if whole else (2, 1)))
        if f"{name}.{index + 1}.running_mean" in weights:
            maps = norm(weights, f"{name}.{index + 1}", maps, training)
        if place < len(layers) - 1:
            maps = maps.relu() if transposed else functional.leaky_relu(maps, 0.2)
    return maps
