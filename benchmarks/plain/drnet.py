"""DrNet: encoders of content and of pose, a decoder, and a discriminator of scenes."""

from __future__ import annotations

import torch
from plain.codecs import decode, encode
from plain.given import Given
from plain.layers import Weights, layers
from plain.svg import predict
from torch import Tensor
from torch.nn import functional


def discriminator_loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Cross-entropy of whether two poses are of one video; half of the pairs are not."""
    compared, half = compared_frames(frames, given), len(frames) // 2
    with torch.no_grad():
        poses, others = (pose_of(weights, compared[:, index], training=True) for index in (0, 1))
    others = torch.cat([others[half : 2 * half], others[half:]])
    differ = (torch.arange(len(frames), device=frames.device) < half).float()
    logits = layers(weights, "discriminator.layers", torch.cat([poses, others], 1))[:, 0]
    return functional.binary_cross_entropy_with_logits(logits, differ)


def autoencoder_loss(weights: Weights, frames: Tensor, given: Given) -> Tensor:
    """Contents of two frames alike, the pose of a third one drawn, the discriminator in doubt."""
    shown, later, true, other = compared_frames(frames, given).unbind(1)
    content, skips = encode(weights, "content_encoder", shown, training=True)
    pose = pose_of(weights, true, training=True)
    with torch.no_grad():
        target, _ = encode(weights, "content_encoder", later, training=True)
        compared = pose_of(weights, other, training=True)
    drawn = decode(weights, torch.cat([content, pose], 1), skips, training=True)
    logits = layers(weights, "discriminator.layers", torch.cat([pose, compared], 1))
    doubt = functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, 0.5))
    errors = functional.mse_loss(drawn, true) + functional.mse_loss(content, target)
    return errors + given.options.confusion_weight * doubt


def forecast(weights: Weights, context: Tensor, horizon: int, given: Given) -> Tensor:
    """Frames (window, time, …) after a context."""
    content, skips = encode(weights, "content_encoder", context[:, -1])
    poses = [pose_of(weights, frame, training=False) for frame in context.unbind(1)]
    states, pose, made = None, poses[-1], []
    for before in poses[:-1]:
        _, states = predict(weights, before, content, states)
    for _ in range(horizon):
        pose, states = predict(weights, pose, content, states)
        made.append(decode(weights, torch.cat([content, pose], 1), skips))
    return torch.stack(made, 1)


def pose_of(weights: Weights, frames: Tensor, *, training: bool) -> Tensor:
    """The pose of frames."""
    return encode(weights, "pose_encoder.network", frames, training=training)[0]


def compared_frames(frames: Tensor, given: Given) -> Tensor:
    """Four frames of each video."""
    chosen = (given.draws.uniform(4) * frames.shape[1]).long()
    return frames[torch.arange(len(frames), device=frames.device)[:, None], chosen]
