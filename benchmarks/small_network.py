"""Train the small network behind `fvd_small` and `perceptual_small`, and see how it ranks.

    python benchmarks/small_network.py train --steps 1500 --output WEIGHTS.safetensors
    python benchmarks/small_network.py rank

Clips of shapes that move over a textured background are made here, in colour and in grey. The
network learns to tell from a clip what it was made of: how many shapes, of which kind and size, how
they and the background move, how sharp their edges are, how much noise lies over them. `rank`
degrades other clips in five ways, none of which it was trained on, more and more: it prints the
distances, which should rise with the degree.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from statecast.metrics.fvd import frechet_distance, gaussian_of
from statecast.metrics.small_features import SmallPerceptual
from statecast.metrics.small_network import FEATURES, SIDE, SmallVideoNetwork, read_small_network

LENGTH = 12  # frames of a clip that is degraded
TRAINED = 8  # frames of a clip in training
MOST = 3  # shapes
KINDS = 3  # disc, square, ring
TARGETS = 18  # numbers that a clip was made of
BATCH = 16


def uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Uniform numbers."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def make_clips(batch: int, length: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clips (clip, time, 3, y, x) in [0, 1], and what they were made of (clip, number)."""
    count = torch.randint(1, MOST + 1, (batch,), generator=generator)
    there = (torch.arange(MOST) < count[:, None]).float()
    kind = torch.randint(0, KINDS, (batch, MOST), generator=generator)
    size = uniform(generator, 4, 13, batch, MOST)
    soft = uniform(generator, 0.3, 3, batch)
    noise = uniform(generator, 0, 0.1, batch)
    speed = uniform(generator, -4, 4, batch, MOST, 2)
    pan = uniform(generator, -2, 2, batch, 2) * (torch.rand(batch, 1, generator=generator) < 0.5)
    start = uniform(generator, 8, SIDE - 8, batch, MOST, 2)
    places = bounced(start[:, None] + torch.arange(length)[None, :, None, None] * speed[:, None])
    frames = background(pan, length, generator)
    grid = torch.arange(SIDE) + 0.5
    colours = torch.rand(batch, MOST, 3, generator=generator)
    for index in range(MOST):
        y = grid[:, None] - places[:, :, index, 1, None, None]
        x = grid - places[:, :, index, 0, None, None]
        inside = size[:, None, None, None, index] - distance(x, y, kind[:, index], size[:, index])
        cover = (
            torch.sigmoid(inside / soft[:, None, None, None]) * there[:, None, None, None, index]
        )
        frames = torch.lerp(frames, colours[:, index, :, None, None][:, None], cover[:, :, None])
    grey = torch.rand(batch, generator=generator) < 0.4
    frames = torch.where(grey.view(-1, 1, 1, 1, 1), frames.mean(dim=2, keepdim=True), frames)
    frames = frames + noise.view(-1, 1, 1, 1, 1) * torch.randn(frames.shape, generator=generator)
    shares = functional.one_hot(kind, KINDS).float() * there[..., None]
    weights = there / count[:, None]
    parts = [
        functional.one_hot(count - 1, MOST).float(),
        shares.sum(dim=1) / count[:, None],
        ((speed / 4) * weights[..., None]).sum(dim=1),
        ((speed / 4).abs() * weights[..., None]).sum(dim=1),
        pan,
        (weights * size).sum(dim=1, keepdim=True) / 4 - 2,
        soft[:, None] - 1.6,
        30 * noise[:, None] - 1.5,
        2 * frames.mean(dim=(1, 3, 4)) - 1,
    ]
    return frames.clamp(0, 1), torch.cat(parts, dim=1)


def bounced(places: Tensor) -> Tensor:
    """Places inside the frame, reflected at its sides."""
    folded = places.remainder(2 * SIDE)
    return torch.where(folded > SIDE, 2 * SIDE - folded, folded)


def distance(x: Tensor, y: Tensor, kind: Tensor, size: Tensor) -> Tensor:
    """How far points are from the middle of a disc, a square or a ring."""
    square = torch.maximum(x.abs(), y.abs()).expand(*torch.broadcast_shapes(x.shape, y.shape))
    disc = (x.square() + y.square()).sqrt()
    middle = 0.65 * size.view(-1, 1, 1, 1)
    ring = (disc - middle).abs() + middle
    kinds = kind.view(-1, 1, 1, 1)
    return torch.where(kinds == 0, disc, torch.where(kinds == 1, square, ring))


def background(pan: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Smooth colours that pan by so many points a frame, (clip, time, 3, y, x)."""
    batch = len(pan)
    coarse = torch.rand(batch, 3, 9, 9, generator=generator)
    wide = functional.interpolate(coarse, (2 * SIDE, 2 * SIDE), mode="bicubic").clamp(0, 1)
    shift = (pan[:, None] * torch.arange(length)[None, :, None]).round().long() + SIDE // 2
    rows = shift[..., 1, None] + torch.arange(SIDE)
    columns = shift[..., 0, None] + torch.arange(SIDE)
    clip = torch.arange(batch).view(-1, 1, 1, 1)
    found = wide.movedim(1, -1)[clip, rows[..., None], columns[:, :, None]]
    return 0.7 * found.movedim(-1, 2)


def train(steps: int, output: Path, seed: int) -> None:
    """Train the network and write its weights."""
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = SmallVideoNetwork()
    head = nn.Linear(FEATURES, TARGETS)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    weights = [*network.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(weights, lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    started, recent = time.monotonic(), []
    for step in range(1, steps + 1):
        clips, targets = make_clips(BATCH, TRAINED, generator)
        loss = (head(network(2 * clips - 1)) - targets).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        if step % 100 == 0 or step == steps:
            mean = sum(recent[-100:]) / len(recent[-100:])
            print(f"step {step}  loss {mean:.4f}  {time.monotonic() - started:.0f} s", flush=True)
            save_file(network.state_dict(), output)


def blurred(clips: Tensor, degree: int) -> Tensor:
    """Means over squares of 1 + 2 · degree points."""
    flat = functional.pad(clips.flatten(0, 1), [degree] * 4, mode="replicate")
    return functional.avg_pool2d(flat, 1 + 2 * degree, 1).view_as(clips)


def noisy(clips: Tensor, degree: int) -> Tensor:
    """Noise of the same kind for every clip."""
    drawn = torch.randn(clips.shape, generator=torch.Generator().manual_seed(9))
    return (clips + 0.07 * degree * drawn).clamp(0, 1)


def frozen(clips: Tensor, degree: int) -> Tensor:
    """The last 3 · degree frames stand still."""
    first = clips.shape[1] - 3 * degree
    return torch.cat([clips[:, :first], clips[:, first - 1 : first].expand_as(clips[:, first:])], 1)


def swapped(clips: Tensor, degree: int) -> Tensor:
    """Frames in another order: 2 · degree of them exchanged with their second neighbours."""
    order = list(range(clips.shape[1]))
    for start in range(0, 4 * degree, 4):
        for low in (start, start + 1):
            if low + 2 < len(order):
                order[low], order[low + 2] = order[low + 2], order[low]
    return clips[:, order]


def slowed(clips: Tensor, degree: int) -> Tensor:
    """Frames repeated, so that all moves at 1 / (1 + degree) of its speed."""
    return clips[:, torch.arange(clips.shape[1]) // (1 + degree)]


DEGRADATIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "blur": blurred,
    "noise": noisy,
    "frozen frames": frozen,
    "swapped order": swapped,
    "wrong speed": slowed,
}


@torch.no_grad()
def rank(clips: int) -> None:
    """Print the distance of clips from others, and from degraded ones, by degree."""
    network, digest = read_small_network("cpu")
    perceptual = SmallPerceptual(network, (0.0, 1.0), digest)
    sets = [
        torch.cat([make_clips(BATCH, LENGTH, generator)[0] for _ in range(clips // BATCH)])
        for generator in (torch.Generator().manual_seed(seed) for seed in (101, 102))
    ]

    def gaussian(frames: Tensor) -> tuple[Tensor, Tensor]:
        parts = [network(2 * part - 1).double() for part in frames.split(BATCH)]
        features = torch.cat(parts)
        count = torch.tensor(float(len(features)), dtype=torch.float64)
        return gaussian_of(count, features.sum(dim=0), features.T @ features)

    truth, other = (gaussian(frames) for frames in sets)
    print(f"{clips} clips\nfvd_small between two sets: {frechet_distance(*other, *truth):.4f}")
    for name, degrade in DEGRADATIONS.items():
        found = []
        for degree in (1, 2, 3):
            worse = degrade(sets[1], degree)
            near = perceptual.frame_scores(worse, sets[1], perceptual.prepare(sets[1])).mean()
            found.append(f"{frechet_distance(*gaussian(worse), *truth):.4f} ({near:.4f})")
        print(f"{name:14} {'  '.join(found)}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    trained = verbs.add_parser("train", help="make the weights")
    trained.add_argument("--steps", type=int, default=1500)
    trained.add_argument("--seed", type=int, default=1)
    trained.add_argument("--output", type=Path, required=True)
    ranked = verbs.add_parser("rank", help="distances of degraded clips")
    ranked.add_argument("--clips", type=int, default=256)
    options = parser.parse_args()
    if options.verb == "train":
        train(options.steps, options.output, options.seed)
    else:
        rank(options.clips)


if __name__ == "__main__":
    main()
