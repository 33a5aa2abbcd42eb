"""Struct-VRNN's published settings and variables, as a model of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.struct_vrnn.model import StructVRNN
from statecast.runs.official.settings import channel_names
from statecast.runs.official.tensorflow import load_variables
from statecast.runs.official.weights import Arrays, own_names

OPTIONS = {  # our option: published setting
    "keypoints": "num_keypoints",
    "heat_width": "heatmap_width",
    "blob_width": "keypoint_width",
    "width": "num_encoder_filters",
    "layers": "layers_per_scale",
    "recurrent_size": "num_rnn_units",
    "prior_hidden": "prior_net_dim",
    "posterior_hidden": "posterior_net_dim",
    "latent_size": "latent_code_size",
    "candidates": "num_samples_for_bom",
    "kl_weight": "kl_loss_scale",
    "separation_weight": "separation_loss_scale",
    "separation_width": "separation_loss_sigma",
    "heat_weight": "heatmap_regularization",
    "sampling_steps": "scheduled_sampling_ramp_steps",
    "sampling_context": "scheduled_sampling_p_true_end_obs",
    "sampling_horizon": "scheduled_sampling_p_true_end_pred",
}
FIXED = {  # published settings that must have these values
    "kl_annealing_steps": 1000,
    "use_deterministic_belief": False,
    "scheduled_sampling_p_true_start_obs": 1.0,
    "scheduled_sampling_p_true_start_pred": 1.0,
}
DYNAMICS = {
    "dynamics.prior.hidden": "dense",
    "dynamics.prior.mean": "means",
    "dynamics.prior.std": "dense_1",
    "dynamics.posterior.hidden": "dense_2",
    "dynamics.posterior.mean": "means_1",
    "dynamics.posterior.std": "dense_3",
    "dynamics.decoder.0": "dense_4",
    "dynamics.decoder.2": "dense_5",
}
RECURRENT = {
    "dynamics.recurrent.input.weight": "kernel",
    "dynamics.recurrent.input.bias": "bias",
    "dynamics.recurrent.recurrent.weight": "recurrent_kernel",
}


def from_arrays(arrays: Arrays, config: Mapping[str, Any]) -> StructVRNN:
    """The published model with these variables, in evaluation mode.

    Args:
        arrays: by name of the Keras variable, which follows `images_to_keypoints`,
            `keypoints_to_images` or `vrnn`.
        config: published settings, `frame` and `channels`.

    Errors:
        InputError: a setting is missing or has no equivalent, or an array is missing, left over,
            or of another shape.
    """
    for name, value in FIXED.items():
        if config.get(name, value) != value:
            raise InputError(f"{name} must be {value} for our Struct-VRNN, got {config[name]}.")
    side = config["frame"]
    spec = FrameSpec(
        channels=channel_names(config["channels"]),
        space=(side, side) if isinstance(side, int) else tuple(side),
        context=config["observed_steps"],
        horizon=config["predicted_steps"],
        value_range=(0.0, 1.0),
    )
    options = {ours: config[theirs] for ours, theirs in OPTIONS.items()}
    model = StructVRNN(spec, published=True, **options)
    return load_variables(model, struct_vrnn_names(model), arrays)


def struct_vrnn_names(model: StructVRNN) -> dict[str, str]:
    """The published name of each of a model's tensors.

    Convolutions are numbered in the order in which they were made: detector, its head,
    appearance, the stages of the decoder, the mixture of its inputs, and its output.
    """
    own = own_names(model)
    detector = [*convolutions(own, "detector.encoder."), "detector.head"]
    decoder = convolutions(own, "decoder.appearance.") + convolutions(own, "decoder.stages.")
    decoder += ["decoder.mix.0", "decoder.output"]
    numbered = {
        module: f"{'images_to_keypoints' if module in detector else 'keypoints_to_images'}/conv2d"
        + (f"_{index}" if index else "")
        for index, module in enumerate(detector + decoder)
    }
    modules = numbered | {ours: f"vrnn/{theirs}" for ours, theirs in DYNAMICS.items()}
    names = {name: f"vrnn/gru_cell/{theirs}" for name, theirs in RECURRENT.items()}
    for name in own:
        module, _, part = name.rpartition(".")
        if name not in names:
            names[name] = f"{modules[module]}/{'kernel' if part == 'weight' else part}"
    return names


def convolutions(names: list[str], beginning: str) -> list[str]:
    """Modules with weights whose names have this beginning, in order."""
    return [
        name.removesuffix(".weight")
        for name in names
        if name.startswith(beginning) and name.endswith(".weight")
    ]
