"""Struct-VRNN: keypoints found in frames, followed by a recurrent network, drawn as blobs."""

from __future__ import annotations

import torch
from plain.gaussians import Gaussian
from plain.given import Given
from plain.layers import Weights, layers, linear, same
from plain.pixel_motion import halved
from torch import Tensor
from torch.nn import functional

SMALLEST = 1e-6  # heat
KL_RISE = 1000  # steps
CENTRE = 0.5  # of values of frames


def loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Errors of frames and of followed keypoints, divergence, and penalties."""
    options, frames = given.options, frames - CENTRE
    batch, length = frames.shape[:2]
    heat = heat_of(weights, frames.flatten(0, 1))
    points = points_of(heat).unflatten(0, (batch, length))
    look = look_at(weights, frames[:, 0], points[:, 0], options)
    drawn = torch.stack([draw(weights, look, points[:, t], options) for t in range(length)], 1)
    coins = given.draws.numbers(length - 1).tolist()
    noise = given.draws.normal(length, options.latent_size, samples=options.candidates)
    noise = noise.unflatten(0, (batch, -1)).transpose(0, 1)
    observed = points.flatten(2).detach()
    followed, divergence = follow(weights, observed, noise, coins, given)
    errors = (drawn - frames).square().sum() + (followed - observed).square().sum()
    kl_weight = min(given.step / KL_RISE, 1.0) * options.kl_weight
    return (
        errors / (2 * batch * length)
        + options.separation_weight * separation(points[:, : given.context], options)
        + options.heat_weight * heat.mean((2, 3)).abs().mean()
        + kl_weight * divergence
        + options.weight_decay * squared_kernels(weights)
    )


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (row, time, …) after a context (window, time, …)."""
    options, context = given.options, context - CENTRE
    points = [points_of(heat_of(weights, frame)) for frame in context.unbind(1)]
    look = [given.rows(part) for part in look_at(weights, context[:, 0], points[0], options)]
    noise = given.draws.normal(len(points), options.latent_size)
    hidden, made = noise.new_zeros(len(noise), options.recurrent_size), []
    for time, seen in enumerate(points):
        joined = torch.cat([hidden, given.rows(seen).flatten(1)], 1)
        latent = gaussian(weights, "dynamics.posterior", joined).draw(noise[:, time])
        hidden = recur(
            weights, torch.cat([coordinates(weights, hidden, latent), latent], 1), hidden
        )
    for _ in range(horizon):
        prior = gaussian(weights, "dynamics.prior", hidden)
        latent = prior.draw(given.draws.normal(options.latent_size))
        found = coordinates(weights, hidden, latent)
        hidden = recur(weights, torch.cat([found, latent], 1), hidden)
        made.append(draw(weights, look, found.unflatten(1, (-1, 3)), options) + CENTRE)
    return torch.stack(made, 1)


def follow(
    weights: Weights, observed: Tensor, noise: Tensor, coins: list[float], given: Given
) -> tuple[Tensor, Tensor]:
    """Coordinates of the best of some candidates at each time, and the mean divergence."""
    options, batch = given.options, len(observed)
    passed = min(given.step / options.sampling_steps, 1.0)
    rates = [1 + passed * (end - 1) for end in (options.sampling_context, options.sampling_horizon)]
    hidden = observed.new_zeros(batch, options.recurrent_size)
    followed, divergences, rows = [], [], torch.arange(batch, device=observed.device)
    for time in range(observed.shape[1]):
        truth, inside = observed[:, time], time < given.context
        prior = gaussian(weights, "dynamics.prior", hidden)
        if inside:
            joined = torch.cat([hidden, truth], 1)
            chosen = gaussian(weights, "dynamics.posterior", joined)
            divergences.append(chosen.divergence(prior))
        else:
            chosen = Gaussian(prior.mean.detach(), prior.std.detach())
        latents = [chosen.draw(one[:, time]) for one in noise]
        found = torch.stack([coordinates(weights, hidden, latent) for latent in latents])
        best = (found - truth).square().mean(2).argmin(0)
        followed.append(found[best, rows])
        true = time < len(coins) and coins[time] < rates[0 if inside else 1]
        fed = torch.cat([truth if true else followed[-1], torch.stack(latents)[best, rows]], 1)
        hidden = recur(weights, fed, hidden)
    return torch.stack(followed, 1), torch.stack(divergences).mean()


def gaussian(weights: Weights, name: str, inputs: Tensor) -> Gaussian:
    """The Gaussian of three layers."""
    features = linear(weights, f"{name}.hidden", inputs).relu()
    std = functional.softplus(linear(weights, f"{name}.std", features)) + 1e-4
    return Gaussian(linear(weights, f"{name}.mean", features), std)


def coordinates(weights: Weights, hidden: Tensor, latent: Tensor) -> Tensor:
    """Coordinates and intensities of all keypoints."""
    return torch.tanh(layers(weights, "dynamics.decoder", torch.cat([hidden, latent], 1)))


def recur(weights: Weights, inputs: Tensor, hidden: Tensor) -> Tensor:
    """A gated recurrent unit with hard sigmoids, whose reset comes before the product."""
    update_in, reset_in, new_in = linear(weights, "dynamics.recurrent.input", inputs).chunk(3, 1)
    update_by, reset_by, new_by = weights["dynamics.recurrent.recurrent.weight"].chunk(3)
    update = (0.2 * (update_in + hidden @ update_by.T) + 0.5).clamp(0, 1)
    reset = (0.2 * (reset_in + hidden @ reset_by.T) + 0.5).clamp(0, 1)
    new = torch.tanh(new_in + (reset * hidden) @ new_by.T)
    return update * hidden + (1 - update) * new


def heat_of(weights: Weights, frames: Tensor) -> Tensor:
    """Heat maps of the keypoints."""
    maps = encode(weights, "detector.encoder", with_places(frames))
    return functional.softplus(same(weights, "detector.head", maps))


def encode(weights: Weights, name: str, maps: Tensor) -> Tensor:
    """Convolutions; those that double the channels halve the sides."""
    index = 0
    while f"{name}.{index}.0.weight" in weights:
        outputs, inputs = weights[f"{name}.{index}.0.weight"].shape[:2]
        maps = halved(weights, f"{name}.{index}.0", maps, 2 if index and outputs > inputs else 1)
        maps, index = functional.leaky_relu(maps, 0.2), index + 1
    return maps


def places(length: int, like: Tensor, *, down: bool = False) -> Tensor:
    """Coordinates from −1 to 1; those of rows go down."""
    found = torch.linspace(-1, 1, length, device=like.device)
    return found.flip(0) if down else found


def with_places(maps: Tensor) -> Tensor:
    """Maps with the coordinates of each point beside them."""
    height, width = maps.shape[2:]
    x = places(width, maps).expand(len(maps), 1, height, width)
    y = places(height, maps, down=True)[:, None].expand(len(maps), 1, height, width)
    return torch.cat([maps, x, y], 1)


def points_of(heat: Tensor) -> Tensor:
    """Centre (x, y) and relative intensity of each heat map."""
    height, width = heat.shape[2:]
    share = (heat + SMALLEST) / (heat + SMALLEST).sum((2, 3), keepdim=True)
    x = (share * places(width, heat)).sum((2, 3))
    y = (share * places(height, heat, down=True)[:, None]).sum((2, 3))
    mean = heat.mean((2, 3))
    return torch.stack([x, y, mean / (SMALLEST + mean.amax(1, keepdim=True))], 2)


def blobs(points: Tensor, size: tuple[int, int], std: float) -> Tensor:
    """A Gaussian spot for each keypoint."""
    x, y, intensity = (part[..., None, None] for part in points.unbind(2))
    across = (places(size[1], points) - x).square()
    along = (places(size[0], points, down=True)[:, None] - y).square()
    return intensity * torch.exp(-(across + along) / (2 * std**2))


def look_at(weights: Weights, frame: Tensor, points: Tensor, options: object) -> list[Tensor]:
    """The first frame, its features and its blobs."""
    features = encode(weights, "decoder.appearance", frame)
    size = (features.shape[2], features.shape[3])
    return [frame, features, blobs(points, size, options.blob_width / options.heat_width)]


def draw(weights: Weights, look: list[Tensor], points: Tensor, options: object) -> Tensor:
    """The frame with keypoints elsewhere: the first frame, changed."""
    frame, features, before = look
    size = (features.shape[2], features.shape[3])
    now = blobs(points, size, options.blob_width / options.heat_width)
    maps = same(weights, "decoder.mix.0", with_places(torch.cat([now, features, before], 1)))
    maps, stage = functional.leaky_relu(maps, 0.2), 0
    while f"decoder.stages.{stage}.0.0.weight" in weights:
        maps = functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=True)
        maps, stage = plain_units(weights, f"decoder.stages.{stage}", maps), stage + 1
    return frame + same(weights, "decoder.output", maps)


def plain_units(weights: Weights, name: str, maps: Tensor) -> Tensor:
    """Convolutions of stride 1, rectified."""
    index = 0
    while f"{name}.{index}.0.weight" in weights:
        maps = functional.leaky_relu(same(weights, f"{name}.{index}.0", maps), 0.2)
        index += 1
    return maps


def separation(points: Tensor, options: object) -> Tensor:
    """How alike the paths of different keypoints are."""
    motion = points[..., :2] - points[..., :2].mean(1, keepdim=True)
    distance = (motion[:, :, :, None] - motion[:, :, None]).square().sum(4).mean(1)
    count = distance.shape[1]
    alike = torch.exp(-distance / (2 * options.separation_width**2)).mean(0).sum() - count
    return alike / (count * (count - 1))


def squared_kernels(weights: Weights) -> Tensor:
    """Sum of the squares of every kernel but the detector's last one."""
    kernels = [
        values
        for name, values in weights.items()
        if values.ndim == 4 and name != "detector.head.weight"
    ]
    return sum(kernel.square().sum() for kernel in kernels)
