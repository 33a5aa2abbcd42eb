"""PKnl's published settings and weights, of both versions, as a model of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.pknl.estimator import MotionEstimator, Upsample, Upsampling
from statecast.models.pknl.model import PKnl
from statecast.runs.official.settings import channel_names
from statecast.runs.official.weights import Arrays, load_weights, own_names

FIRST = "conv1.0.weight"
COMMIT_2018 = "75e868b"  # of the published code
UPSAMPLINGS: dict[str, Upsampling] = {
    "bilinear": "bilinear",
    "nearest": "nearest",
    "deconv": "transposed",
}


def from_arrays(arrays: Arrays, config: Mapping[str, Any]) -> PKnl:
    """A model with published weights, in evaluation mode, for standardised frames.

    Sizes and version follow from the arrays: the version of 2018 has biases after upsampling.
    Transposed convolutions always have biases; then the commit in `system` decides, by default
    the version of 2019.

    Args:
        arrays: by the estimator's published names, without counters of batch normalisation.
        config: `frame_size`, `context`, `horizon`; `upsample` (`bilinear`, `nearest` or `deconv`)
            and `batch_norm`, by default as published.

    Errors:
        InputError: a setting is missing or unknown, or an array does not fit; the message names
            it.
    """
    if FIRST not in arrays:
        raise InputError(f"These are not weights of PKnl: expected an array {FIRST}.")
    upsample = config.get("upsample", "bilinear")
    if upsample not in UPSAMPLINGS:
        raise InputError(f"PKnl's upsample is {', '.join(UPSAMPLINGS)}, got {upsample!r}.")
    context = config["context"]
    width, inputs = arrays[FIRST].shape[:2]
    levels = sum(f"conv{number}.0.weight" in arrays for number in range(1, len(arrays)))
    spec = FrameSpec(
        channels=channel_names(max(inputs // context, 1)),
        space=tuple(config["frame_size"]),
        context=context,
        horizon=config["horizon"],
    )
    model = PKnl(
        spec,
        version=published_version(arrays, config),
        divergence="published",
        width=width,
        levels=levels,
        batch_norm=config.get("batch_norm", True),
        upsampling=UPSAMPLINGS[upsample],
        normalise="none",
    )
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return load_weights(model, published_names(model), tensors)


def published_version(arrays: Arrays, config: Mapping[str, Any]) -> Literal[2018, 2019]:
    """The version that weights belong to."""
    interpolated = "deconv0.1.weight" in arrays
    named = COMMIT_2018 in str(config.get("system", ""))
    return 2018 if "deconv0.1.bias" in arrays or (named and not interpolated) else 2019


def published_names(model: PKnl) -> dict[str, str]:
    """The published name of each of a model's tensors that published weights hold."""
    estimator: MotionEstimator = model.estimator
    levels = len(estimator.encoder)
    pairs = {"estimator.head": "predict_flow0"}
    for level in range(levels):
        upsample = estimator.decoder[level]
        assert isinstance(upsample, Upsample)
        place = 0 if upsample.upsampling == "transposed" else 1  # after an interpolation
        pairs[f"estimator.decoder.{level}.convolution"] = f"deconv{levels - 1 - level}.{place}"
        for unit in range(len(list(estimator.encoder[level].children()))):
            theirs = f"conv{level + 1}" + ("_1" if unit else "")
            for layer in (0, 1):
                pairs[f"estimator.encoder.{level}.{unit}.{layer}"] = f"{theirs}.{layer}"
    names = {}
    for name in own_names(model):
        module, _, last = name.rpartition(".")
        names[name] = f"{pairs[module]}.{last}"
    return names
