"""PhyDNet's published weights, of both versions, read into our model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.base import Forecaster
from statecast.models.phydnet.model import PhyDNet
from statecast.runs.official.openstl import frame_counts, frame_space
from statecast.runs.official.settings import Official, Settings, channel_names
from statecast.runs.official.weights import load_weights

OPENSTL = "encoder."  # OpenSTL's model holds the network under this name, and parts of it twice
CELL = "phycell.cell_list.0."
CELL_PARTS = {
    "filters": "F.conv1",
    "norm": "F.bn1",
    "combination": "F.conv2",
    "gate": "convgate",
}
STAGES = {  # ours: published, and the number of convolutions with normalisation
    "released": {
        "encoder": ("encoder_E.c", 3),
        "physical_encoder": ("encoder_Ep.c", 2),
        "residual_encoder": ("encoder_Er.c", 2),
        "physical_decoder": ("decoder_Dp.upc", 2),
        "residual_decoder": ("decoder_Dr.upc", 2),
        "decoder": ("decoder_D.upc", 2),
    },
    "paper": {"encoder": ("image_cnn_enc.c", 6), "decoder": ("image_cnn_dec.upc", 5)},
}
LSTM = {"released": "convcell", "paper": "convlstm"}
FIRST = {  # the tensor that identifies a version, and the one whose outputs are its width
    "released": ("encoder_E.c1.main.0.weight", "encoder_E.c1.main.0.weight"),
    "paper": ("image_cnn_enc.c1.main.0.weight", "image_cnn_enc.c2.main.0.weight"),
}


def from_arrays(
    arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]], config: Mapping[str, Any]
) -> Forecaster:
    """A model with published weights and sizes, in evaluation mode.

    Args:
        arrays: by published name.
        config: sizes of the model, with `encoder_width` for the version of 2021 or `image_width`
            for the version of 2020, and sizes of its frames, which lie in [0, 1].

    Errors:
        InputError: a setting is missing, or a tensor does not fit; the message names it.
    """
    released = "encoder_width" in config
    options = {
        "version": "released" if released else "paper",
        "width": config["encoder_width" if released else "image_width"],
        "state_channels": config["branch_width"],
        "residual_hidden": tuple(config["convlstm"]["hidden"][:-1]),
        "kernel_size": config["phycell"]["kernel"],
        "groups": config["groupnorm_groups"],
        "physical_groups": config["phycell"]["groups"],
    }
    channels, space = config["frame_channels"], tuple(config["frame_size"])
    context, horizon = config["context"], config["horizon"]
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    spec = frame_spec(channels, space, context, horizon)
    return describe(options, spec, tensors, Settings("config", config)).model()


def is_phydnet(tensors: Collection[str]) -> bool:
    """Whether tensors have names of either version, or of OpenSTL's port."""
    plain = {name.removeprefix(OPENSTL) for name in tensors}
    return any(names[0] in plain for names in FIRST.values())


def read_tensors(tensors: Mapping[str, Tensor], settings: Settings) -> Official:
    """A published state dict, of either version or of OpenSTL's port.

    Sizes come from the tensors; groups of normalisation are the published ones.

    Args:
        tensors: by published name.
        settings: as OpenSTL writes them; by default frames of 64×64 pixels, 10 → 10.

    Errors:
        InputError: the tensors belong to neither version, or one does not fit; the message names
            it.
    """
    if any(name.startswith(OPENSTL) for name in tensors):
        own = [name for name in tensors if name.startswith(OPENSTL)]
        tensors = {name.removeprefix(OPENSTL): tensors[name] for name in own}
    version = next((version for version, names in FIRST.items() if names[0] in tensors), None)
    if version is None:
        raise InputError(
            "These are not weights of PhyDNet: expected a state dict with the tensor "
            f"{' or '.join(names[0] for names in FIRST.values())}."
        )

    def shape(name: str) -> torch.Size:
        if name not in tensors or tensors[name].ndim != 4:
            raise InputError(f"The weights of PhyDNet lack the convolution {name}.")
        return tensors[name].shape

    filters = shape(f"{CELL}F.conv1.weight")
    layers = sum(name.startswith(LSTM[version]) and name.endswith("weight") for name in tensors)
    gates = [f"{LSTM[version]}.cell_list.{layer}.conv.weight" for layer in range(layers)]
    options = {
        "version": version,
        "width": shape(FIRST[version][1])[0],
        "state_channels": filters[1],
        "residual_hidden": tuple(shape(name)[0] // 4 for name in gates[:-1]),
        "kernel_size": filters[2],
    }
    channels, lengths = shape(FIRST[version][0])[1], frame_counts(settings)
    spec = frame_spec(channels, frame_space(settings) or (64, 64), *lengths)
    return describe(options, spec, tensors, settings)


def frame_spec(channels: int, space: tuple[int, ...], context: int, horizon: int) -> FrameSpec:
    """Shape of published frames."""
    return FrameSpec(
        channels=channel_names(channels),
        space=space,
        context=context,
        horizon=horizon,
        value_range=(0.0, 1.0),
    )


def describe(
    options: dict[str, Any], spec: FrameSpec, tensors: Mapping[str, Tensor], settings: Settings
) -> Official:
    """The published model with these options and tensors."""

    def load(model: PhyDNet) -> PhyDNet:
        return load_weights(model, published_names(model), tensors)

    return Official("phydnet", spec, options, load, settings)


def published_names(model: PhyDNet) -> dict[str, str]:
    """The published name of each of a model's tensors, except the normaliser's."""
    version = model.physical.version
    prefixes = {f"physical.{ours}": f"{CELL}{theirs}" for ours, theirs in CELL_PARTS.items()}
    for layer in range(len(model.residual.gates)):
        prefixes[f"residual.gates.{layer}"] = f"{LSTM[version]}.cell_list.{layer}.conv"
    for part, (theirs, stages) in STAGES[version].items():
        for stage in range(stages):
            for layer in (0, 1):  # the convolution and its normalisation
                ours = f"codec.{part}.{stage}.{layer}"
                prefixes[ours] = f"{theirs}{stage + 1}.main.{layer}"
        if part == "decoder":  # its last convolution is neither normalised nor rectified
            prefixes[f"codec.{part}.{stages}"] = f"{theirs}{stages + 1}"
    own = [name for name in model.state_dict() if not name.startswith("normaliser.")]
    return {name: f"{prefixes[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}" for name in own}
