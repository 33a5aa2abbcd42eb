"""Published settings and weights of TD-VAE, as a model of ours.

Format: https://github.com/ankitkv/TD-VAE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from statecast.frames import FrameSpec
from statecast.models.td_vae.model import TDVAE
from statecast.runs.official.settings import channel_names
from statecast.runs.official.weights import load_weights, own_names

PREFIXES = {  # ours: published
    "encoder.layers.1.": "process_x.fc1.",
    "encoder.layers.3.": "process_x.fc2.",
    "belief_network.cells.": "b_rnn.cell.lstm_cells.",
    "belief.maps.": "z_b.",
    "smoothing.maps.": "z1_z2_b1.",
    "transition.maps.": "z2_z1.",
    "decoder.layers.0.": "x_z.fc1.",
    "decoder.layers.2.": "x_z.fc2.",
    "decoder.layers.4.": "x_z.fc3.",
}
MAP = {"value": "fc1", "gate": "fc2", "mean": "fc_mu", "log_variance": "fc_logsigma"}
SIZES = {  # our option: published setting
    "code_size": "processed_x_size",
    "belief_size": "b_size",
    "latent_size": "z_size",
    "layers": "layers",
    "max_gap": "t_diff_max",
}
DEFAULTS = {  # our option: published setting, and its value if it is missing
    "min_gap": ("t_diff_min", 1),
    "pairs": ("samples_per_seq", 1),
    "map_hidden": ("hidden", 50),
    "decoder_hidden": ("decoder_hidden", 200),
}


def from_arrays(
    arrays: Mapping[str, np.ndarray[Any, np.dtype[Any]]], config: Mapping[str, Any]
) -> TDVAE:
    """The published model with these weights, in evaluation mode; it does not see its gaps.

    Args:
        arrays: by the names of the published state dict.
        config: `side` of a frame, or its `x_size`; `seq_len`, and the sizes.

    Errors:
        InputError: a setting is missing, or an array is missing, left over, or of another shape.
    """
    options = {ours: config[theirs] for ours, theirs in SIZES.items()}
    options |= {ours: config.get(*theirs) for ours, theirs in DEFAULTS.items()}
    points, length = config["x_size"], config["seq_len"]
    side = config.get("side", round(points**0.5))
    spec = FrameSpec(
        channels=channel_names(1),
        space=(side, points // side),
        context=length - options["max_gap"],
        horizon=options["max_gap"],
        value_range=(0.0, 1.0),
    )
    model = TDVAE(spec, gap_input=False, **options)
    names = {name: published_name(name) for name in own_names(model)}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return load_weights(model, names, tensors)


def published_name(name: str) -> str:
    """The published name of one of our tensors."""
    ours = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    renamed = PREFIXES[ours] + name.removeprefix(ours)
    return ".".join(MAP.get(part, part) for part in renamed.split("."))
