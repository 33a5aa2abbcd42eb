"""Published weights of MIM (TensorFlow, OpenSTL), PredRNN, PredRNN-V2 and ConvLSTM.

Formats: https://github.com/Yunbo426/MIM, https://github.com/chengtan9907/OpenSTL and
https://github.com/thuml/predrnn-pytorch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.models.base import Forecaster
from statecast.models.convlstm import ConvLSTM
from statecast.models.mim import MIM
from statecast.models.predrnn import PredRNN
from statecast.runs.official.openstl import frame_counts, frame_space
from statecast.runs.official.settings import Official, Settings, channel_names
from statecast.runs.official.weights import load_weights

Names = dict[str, str]  # ours: published

ST_LSTM = {
    "input_gates": "conv_x",
    "hidden_gates": "conv_h",
    "memory_gates": "conv_m",
    "output_gate": "conv_o",
    "fusion": "conv_last",
}
PEEPHOLE_CELL = {
    "input_gates": "conv_x_concat",
    "hidden_gates": "conv_h_concat",
    "memory_peephole": "ct_weight",
    "output_peephole": "oc_weight",
}
MIM_BLOCK = {
    "input_gates": "conv_x_cc",
    "hidden_gates": "conv_t_cc",
    "memory_gates": "conv_s_cc",
    "fusion": "conv_last",
    **{f"stationary_cell.{ours}": theirs for ours, theirs in PEEPHOLE_CELL.items()},
}
TENSORFLOW_BLOCK = {
    "input_gates": "input_to_state",
    "hidden_gates": "time_state_to_state",
    "memory_gates": "spatio_state_to_state",
    "fusion": "cell_reduce",
}
TENSORFLOW_PEEPHOLE_CELL = {
    "input_gates": "input_to_state",
    "hidden_gates": "state_to_state",
    "memory_peephole": "c_t_weight",
    "output_peephole": "oc_weight",
}
TENSORFLOW_ENDINGS = {  # of a convolution and its normalisation, or of a convolution alone
    ".0.weight": "/kernel",
    ".0.bias": "/bias",
    ".1.weight": "s",
    ".1.bias": "b",
    ".weight": "/kernel",
    ".bias": "/bias",
}
TENSORFLOW_AXES = {4: (3, 2, 0, 1), 3: (2, 0, 1)}  # our axes; theirs have channels last


@dataclass(frozen=True)
class Layout:
    """How a published implementation names and stores weights.

    Attributes:
        names: the published name of each part of a model.
        endings: endings of the names of parameters, ours to published, if they differ.
        convert: turns a published name and tensor into our tensor.
        ignored: whether the published model never uses the tensor of a name.
    """

    names: Names
    endings: Names = field(default_factory=dict)
    convert: Callable[[str, Tensor], Tensor] = lambda name, value: value
    ignored: Callable[[str], bool] = lambda name: False


def from_arrays(arrays: Mapping[str, Any], config: Mapping[str, Any]) -> Forecaster:
    """A model with published weights, in evaluation mode.

    Args:
        arrays: arrays by published name. The names determine the system: those of MIM begin with
            `predrnn/` in TensorFlow, and with `stlstm_layer` in OpenSTL; PredRNN has `cell_list`,
            and V2 an adapter; ConvLSTM has no `conv_m`. If names begin with `v1.` and `v2.`, they
            belong to both versions of PredRNN, and `version` in `config` chooses, by default `v2`.
        config: `layers`, `hidden` (width of each layer), `filter`, `patch`, `frame_channels`,
            `frame_size`, `context`, `horizon`, `layer_norm`; of V2 also `decouple_beta`.

    Errors:
        InputError: a setting or array is missing, left over, or of another kind or shape.
    """
    tensors = {name: torch.as_tensor(value) for name, value in chosen(arrays, config).items()}
    return describe(tensors, config, Settings("config", config)).model()


def is_predrnn(names: Collection[str]) -> bool:
    """Whether tensors have names of this family."""
    return any(name.startswith(("cell_list.", "stlstm_layer.", "predrnn/")) for name in names)


def read_tensors(tensors: Mapping[str, Tensor], settings: Settings) -> Official:
    """A published state dict, or the variables of the original MIM.

    Sizes come from the tensors.

    Args:
        tensors: by published name.
        settings: as OpenSTL writes them; by default, frames are 10 → 10, in patches of 4×4 if the
            number of outputs divides by 16, and have 64×64 pixels if no weight belongs to a place.

    Errors:
        InputError: a tensor that sizes are read from is missing, or a setting does not fit.
    """
    return describe(tensors, config_of(tensors, settings), settings)


def config_of(tensors: Mapping[str, Tensor], settings: Settings) -> dict[str, Any]:
    """Sizes of a model from its tensors and OpenSTL's settings, as `from_arrays` takes them."""
    original = any(name.startswith("predrnn/") for name in tensors)
    layers = {tuple(name.replace("/", ".").split(".")[:2]) for name in tensors if is_cell(name)}
    hidden, output = "conv_h.0.weight", "conv_last.weight"
    if original:
        hidden, output = (
            "predrnn/stlstm_1/time_state_to_state/kernel",
            "predrnn/back_to_pixel/kernel",
        )
    else:
        hidden = f"{'.'.join(min(layers, default=('cell_list', '0')))}.{hidden}"
    for name in (hidden, output):
        if name not in tensors or tensors[name].ndim != 4:
            raise InputError(f"The published weights lack the convolution {name}.")
    axes = TENSORFLOW_AXES[4] if original else (0, 1, 2, 3)
    _, width, _, kernel = tensors[hidden].permute(axes).shape
    outputs = len(tensors[output].permute(axes))
    patch = settings.whole("patch_size", default=4 if outputs % 16 == 0 else 1)
    context, horizon = frame_counts(settings)
    return {
        "layers": len(layers),
        "hidden": [width] * len(layers),
        "filter": kernel,
        "patch": patch,
        "layer_norm": any(name.endswith((".1.weight", "to_states")) for name in tensors),
        "frame_channels": outputs // patch**2,
        "frame_size": list(frame_space(settings) or space_of(tensors, patch)),
        "context": context,
        "horizon": horizon,
        "decouple_beta": settings.number("decouple_beta") if "decouple_beta" in settings else 0.1,
    }


def is_cell(name: str) -> bool:
    """Whether a tensor belongs to the cell of a layer, and not to a cell of differences."""
    starts = ("cell_list.", "stlstm_layer.", "predrnn/stlstm_")
    return name.startswith(starts) and not name.startswith("predrnn/stlstm_diff")


def space_of(tensors: Mapping[str, Tensor], patch: int) -> tuple[int, int]:
    """Height and width of frames, from weights that belong to places; else 64×64."""
    for name, tensor in tensors.items():
        if tensor.ndim == 3 and name.startswith("predrnn/"):
            return tensor.shape[0] * patch, tensor.shape[1] * patch
        if tensor.ndim == 3:
            return tensor.shape[1] * patch, tensor.shape[2] * patch
    return 64, 64


def describe(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], settings: Settings
) -> Official:
    """The published model with these tensors and sizes."""
    name, spec, options = sizes_of(tensors, config)
    return Official(name, spec, options, lambda model: load(model, tensors), settings)


def load(model: Forecaster, tensors: Mapping[str, Tensor]) -> Forecaster:
    """The model with published weights, in evaluation mode."""
    layout = layout_of(model)
    published = published_names(model, layout)
    theirs = set(published.values())
    converted = {
        name: layout.convert(name, value) if name in theirs else value
        for name, value in tensors.items()
        if not layout.ignored(name)
    }
    return load_weights(model, published, converted)


def published_names(model: Forecaster, layout: Layout) -> Names:
    """The published name of each parameter."""
    found: Names = {}
    for name, _ in model.named_parameters():
        part = next(p for p in layout.names if name == p or name.startswith(f"{p}."))
        ending = name[len(part) :]
        found[name] = layout.names[part] + layout.endings.get(ending, ending)
    return found


def chosen(arrays: Mapping[str, Any], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The weights of one version of PredRNN, if names begin with those of both."""
    versions = {name[:3] for name in arrays} & {"v1.", "v2."}
    if not versions:
        return arrays
    prefix = f"{config.get('version', max(versions).rstrip('.'))}."
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def sizes_of(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[str, FrameSpec, dict[str, Any]]:
    """Name, spec and options of the model that published weights belong to."""
    widths = setting(config, "hidden", list)
    layers = setting(config, "layers", int)
    wrong = not widths or len(widths) != layers
    if wrong or any(type(w) is not int or w != widths[0] for w in widths):
        raise InputError(
            f"hidden should give all {layers} layers the same width, because they share a memory, "
            f"got {widths}."
        )
    spec = FrameSpec(
        channels=channel_names(setting(config, "frame_channels", int)),
        space=tuple(setting(config, "frame_size", list)),
        context=setting(config, "context", int),
        horizon=setting(config, "horizon", int),
        value_range=(0.0, 1.0),
    )
    options: dict[str, Any] = {
        "layers": layers,
        "width": widths[0],
        "kernel": setting(config, "filter", int),
        "patch": setting(config, "patch", int),
        "layer_norm": bool(setting(config, "layer_norm", int)),
    }
    if any(name.startswith("predrnn/") for name in tensors):
        return "mim", spec, options
    if any(name.startswith("stlstm_layer.") for name in tensors):
        return "mim", spec, {"variant": "openstl", "detach_stationary": True, **options}
    if not any(".conv_m." in name for name in tensors):
        return "convlstm", spec, options
    if "adapter.weight" not in tensors:
        return "predrnn", spec, options
    weight = float(setting(config, "decouple_beta", float))
    return "predrnn", spec, {"decoupling_weight": weight, "sampling": "reverse", **options}


def setting(config: Mapping[str, Any], key: str, kind: type) -> Any:
    """A setting of a kind; for a whole number, true and false are accepted too."""
    kinds = {int: (int, bool), float: (float, int)}.get(kind, (kind,))
    if not isinstance(config.get(key), kinds):
        raise InputError(
            f"The configuration should set {key!r} to a {kind.__name__}, got {config.get(key)!r}."
        )
    return config[key]


def layout_of(model: Forecaster) -> Layout:
    """Names and storage in the published implementation of a model."""
    if isinstance(model, ConvLSTM):
        unused = ("conv_o", "conv_last")  # of the cells
        return Layout(
            {"output": "conv_last", **numbered("cells", "cell_list", ST_LSTM, len(model.cells))},
            convert=reorder_gates,
            ignored=lambda name: name.startswith("cell_list") and name.split(".")[2] in unused,
        )
    if isinstance(model, PredRNN):
        cells = numbered("cells", "cell_list", ST_LSTM, len(model.cells))
        return Layout({"output": "conv_last", "adapter": "adapter", **cells})
    assert isinstance(model, MIM)
    count = len(model.blocks)
    if model.variant == "original":
        return tensorflow_layout(count)
    return Layout(
        {
            "output": "conv_last",
            **{f"first.{ours}": f"stlstm_layer.0.{name}" for ours, name in ST_LSTM.items()},
            **numbered("blocks", "stlstm_layer", MIM_BLOCK, count, first=1),
            **numbered("difference_cells", "stlstm_layer_diff", PEEPHOLE_CELL, count),
        },
        ignored=lambda name: name.startswith("stlstm_layer_diff") and ".conv_last." in name,
    )


def numbered(ours: str, theirs: str, parts: Names, count: int, *, first: int = 0) -> Names:
    """Names of the parts of modules in a list; `first` is the published number of the first."""
    return {
        f"{ours}.{index}.{part}": f"{theirs}.{index + first}.{name}"
        for index in range(count)
        for part, name in parts.items()
    }


def tensorflow_layout(blocks: int) -> Layout:
    """The layout of the original MIM, which numbers layers from 1."""
    names = {"output": "predrnn/back_to_pixel"}
    for layer in range(blocks + 1):
        ours = f"blocks.{layer - 1}" if layer else "first"
        scope = f"stlstm_{layer + 1}"
        for part, name in TENSORFLOW_BLOCK.items():
            names[f"{ours}.{part}"] = f"predrnn/{scope}/{name}"
        for part, name in TENSORFLOW_PEEPHOLE_CELL.items():
            names[f"{ours}.stationary_cell.{part}"] = f"predrnn/{scope}/{scope}/{name}"
            names[f"difference_cells.{layer}.{part}"] = f"predrnn/stlstm_diff{layer + 1}/{name}"
    return Layout(
        names,
        TENSORFLOW_ENDINGS,
        lambda _, value: value.permute(TENSORFLOW_AXES.get(value.ndim, tuple(range(value.ndim)))),
        # Slots of Adam, and moving averages of weights, which nothing reads.
        lambda name: not name.startswith("predrnn/") or name.endswith("/ExponentialMovingAverage"),
    )


def reorder_gates(name: str, value: Tensor) -> Tensor:
    """Weights of the gates i, f, g, o of OpenSTL's ConvLSTM in our order: i, g, f, o."""
    if not name.startswith("cell_list."):
        return value
    i, f, g, o = value.chunk(4)
    return torch.cat([i, g, f, o])
