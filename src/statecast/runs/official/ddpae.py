"""DDPAE's published settings and weights, as a model of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from statecast.frames import FrameSpec
from statecast.models.ddpae.model import DDPAE
from statecast.runs.official.settings import channel_names
from statecast.runs.official.weights import Arrays, load_weights, own_names

OPTIONS = {  # our option: published setting
    "objects": "n_components",
    "scale": "stn_scale_prior",
    "width": "ngf",
    "image_code_size": "image_latent_size",
    "content_size": "content_latent_size",
    "recurrent_size": "hidden_size",
}
PARTS = {  # ours: published
    "poses.image_encoder": "pose_model/image_encoder.main",
    "poses.tracker": "pose_model/encode_rnn",
    "poses.transition": "pose_model/predict_rnn",
    "poses.initial_pose_lstm": "pose_model/initial_pose_rnn",
    "poses.increment.mean": "pose_model/beta_mu_layer",
    "poses.increment.std": "pose_model/beta_sigma_layer",
    "poses.initial_pose.mean": "pose_model/initial_pose_mu",
    "poses.initial_pose.std": "pose_model/initial_pose_sigma",
    "contents.lstm": "content_lstm/encoder",
    "contents.head": "content_lstm/out_layer",
    "object_encoder": "object_encoder/main",
    "object_decoder": "object_decoder/main",
}


def from_arrays(arrays: Arrays, config: Mapping[str, Any]) -> DDPAE:
    """A model with published weights, in evaluation mode.

    Whether components are independent is read from the weights.

    Args:
        arrays: `NETWORK/NAME`, with the networks and state dicts of the published checkpoint,
            without the counters of batch normalisation.
        config: published options, and `image_size`, `channels`, `context`, `horizon`.

    Errors:
        InputError: a setting is missing, or an array is missing, left over, or of another shape.
    """
    options: dict[str, Any] = {ours: config[theirs] for ours, theirs in OPTIONS.items()}
    spec = FrameSpec(
        channels=channel_names(config["channels"]),
        space=(config["image_size"],) * 2,
        context=config["context"],
        horizon=config["horizon"],
        value_range=(0.0, 1.0),
    )
    inputs = arrays["pose_model/predict_rnn.weight_ih_l0"].shape[1]
    options["independent_objects"] = inputs == options["recurrent_size"]
    model = DDPAE(spec, **options)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return load_weights(model, published_names(model), tensors)


def published_names(model: DDPAE) -> dict[str, str]:
    """The published name of each of a model's tensors that published weights hold."""
    names = {}
    for name in own_names(model):
        part = next(part for part in PARTS if name.startswith(f"{part}."))
        names[name] = PARTS[part] + name[len(part) :]
    return names
