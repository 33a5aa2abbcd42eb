"""Separable's published settings, converted both ways, and the reader of its five files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from statecast.errors import InputError
from statecast.frames import FrameSpec
from statecast.io.json_yaml import own_file
from statecast.io.torch_files import PickledModule, load_torch_file, module_tensors
from statecast.models.separable import Separable
from statecast.runs.official.settings import (
    Official,
    Settings,
    channel_names,
    check_defaults,
    check_fit,
    options_of,
    settings_of,
)
from statecast.runs.official.tensor_names import published_names
from statecast.runs.official.weights import load_weights

FILES = ("ov_Es", "ov_Et", "decoder", "t_resnet")
ENCODERS = {"dcgan": "dcgan", "vgg": "vgg", "resnet": "resnet", "mlp": "mlp", "encoderSST": "maps"}
DECODERS = {"dcgan": "dcgan", "vgg": "vgg", "mlp": "mlp", "decoderSST": "maps"}
SIDE, SMALL_SIDE = 64, 32
SMALL_DATA = ("taxibj",)  # published data sets with smaller frames
UNBOUNDED_DATA = ("taxibj", "sst")  # published data sets whose decoders have no output function
OPTIONS = {  # our option: published setting, and its kind
    "skips": ("skipco", "flag"),
    "encoder_layers": ("enc_n_layers", "whole"),
    "decoder_layers": ("dec_n_layers", "whole"),
    "content_size": ("code_size_s", "whole"),
    "latent_size": ("code_size_t", "whole"),
    "dynamics_blocks": ("n_blocks", "whole"),
    "dynamics_hidden": ("res_hidden_size", "whole"),
    "dynamics_gain": ("gain_resnet", "number"),
    "forecast_weight": ("lamb_pred", "number"),
    "alignment_weight": ("lamb_ae", "number"),
    "invariance_weight": ("lamb_s", "number"),
    "prior_weight": ("lamb_t", "number"),
}
RULED = (  # options whose published counterpart has another form
    "architecture", "decoder_architecture", "encoder_width", "decoder_width", "content", "mixing",
    "rollout_from", "output", "normalise",
)  # fmt: skip
UNUSED = "bn_out."  # a normalisation that the published ResNet holds but never applies
WIDTHS = {  # tensors whose size gives a codec's width: name, dimension, and factor
    "ov_Et": (("conv.0.0.weight", 0, 1), ("conv.0.0.0.weight", 0, 1), ("conv1.weight", 0, 1),
              ("conv1.0.0.weight", 0, 1)),
    "decoder": (("first_upconv.0.weight", 1, 8), ("first_upconv.0.0.weight", 1, 8),
                ("conv1.0.0.weight", 0, 4)),
}  # fmt: skip
LAST = (  # the decoder's last convolution, and its dimension of output channels
    ("conv.3.weight", 1),
    ("conv.3.1.weight", 1),
    ("conv4.2.0.weight", 0),
    ("conv3.1.0.weight", 0),
)
DEFAULTS: dict[str, Any] = {  # published settings without a counterpart in our models
    "apex_amp": False,
    "chkpt_interval": None,
    "data_dir": "data",
    "device": None,
    "downsample": 2,
    "gain_encoder": 0.02,
    "init_encoder": "normal",
    "init_resnet": "orthogonal",
    "n_object": 2,
    "n_wave_points": 100,
    "num_workers": 0,
    "torch_amp": False,
    "xp_dir": "xp",
    "zones": list(range(1, 30)),
}


def read_separable(folder: Path) -> Official:
    """Read `params.json` and the four modules, or their state dicts."""
    config = Settings(folder / "params.json")
    encoder, decoder = codecs_of(config)
    offset, context = config.whole("offset", 0), config.whole("nt_cond")
    if offset not in (0, context):
        raise InputError(
            f"{folder} aligns its dynamics {offset} frames back, but only 0 or its context of "
            f"{context} frames can be read."
        )
    constant = config.flag("no_s")
    files = [name for name in FILES if not (constant and name == "ov_Es")]
    parts = {name: read_part(folder / f"{name}.pt") for name in files}
    tensors = {
        f"{file}.{name}": tensor
        for file, part in parts.items()
        for name, tensor in part.tensors.items()
        if not (encoder == "resnet" and name.startswith(UNUSED))
    }
    frame = frame_of(config, decoder, parts["decoder"])
    if not isinstance(config["data"], str):
        raise config.unfit("data", "the name of a data set")
    bounded = config["data"] not in UNBOUNDED_DATA
    spec = FrameSpec(
        channels=channel_names(frame[0]),
        space=frame[1:],
        context=context,
        horizon=config.whole("nt_pred"),
        value_range=None if config["data"] == "sst" else (0.0, 1.0),
    )
    if config["mixing"] not in ("mul", "concat"):
        raise config.unfit("mixing", "mul or concat")
    options = options_of(config, OPTIONS) | {
        "architecture": encoder,
        "decoder_architecture": None if decoder == own_decoder(encoder) else decoder,
        "encoder_width": config.whole("enc_hidden_size")
        if encoder == "mlp"
        else width_of("ov_Et", parts["ov_Et"]),
        "decoder_width": config.whole("dec_hidden_size")
        if decoder == "mlp"
        else width_of("decoder", parts["decoder"]),
        "content": "constant" if constant else "learned",
        "mixing": "product" if config["mixing"] == "mul" else "concat",
        "rollout_from": "target" if offset == 0 else "context",
        "output": "sigmoid" if bounded else "identity",
        "normalise": "none",
    }
    return Official(
        "separable",
        spec,
        options,
        lambda model: load_weights(model, published_names(model), tensors),
        config,
    )


def codecs_of(config: Settings) -> tuple[str, str]:
    """Our names of the codecs of encoders and decoder."""
    names = config["architecture"], config["decoder_architecture"] or config["architecture"]
    encoder, decoder = (
        kinds.get(name) if isinstance(name, str) else None
        for kinds, name in zip((ENCODERS, DECODERS), names, strict=True)
    )
    if encoder is None or decoder is None:
        raise InputError(
            f"{config.path} names the encoder {names[0]!r} and the decoder {names[1]!r}, but only "
            f"encoders {', '.join(ENCODERS)} and decoders {', '.join(DECODERS)} can be read."
        )
    return encoder, decoder


def own_decoder(encoder: str) -> str:
    """The default decoder of a codec."""
    return "dcgan" if encoder == "resnet" else encoder


class Part:
    """One published file: its tensors, and the shape of frames, if a pickled module states it."""

    def __init__(self, tensors: dict[str, Tensor], shape: object = None) -> None:
        self.tensors, self.shape = tensors, shape


def read_part(path: Path) -> Part:
    """Read one pickled module as inert data, or one state dict.

    Errors:
        InputError: it holds neither.
    """
    content = load_torch_file(own_file(path))
    if isinstance(content, PickledModule):
        return Part(module_tensors(content), content.state.get("output_shape"))
    if isinstance(content, dict) and all(isinstance(t, Tensor) for t in content.values()):
        return Part({str(name): tensor for name, tensor in content.items()})
    raise InputError(
        f"{path} should hold a pickled module or a state dict, got {type(content).__name__}."
    )


def width_of(file: str, part: Part) -> int:
    """Width of a convolutional codec from its tensors; some published settings lack it."""
    for name, dimension, factor in WIDTHS[file]:
        if name in part.tensors and part.tensors[name].ndim == 4:
            return part.tensors[name].shape[dimension] // factor
    raise InputError(f"{file}.pt holds no first convolution, such as {WIDTHS[file][0][0]}.")


def frame_of(config: Settings, decoder: str, part: Part) -> tuple[int, ...]:
    """Shape (channel, *space) of the frames that a published decoder makes."""
    if decoder == "mlp":
        return points_of(config, part)
    for name, dimension in LAST:
        if name in part.tensors and part.tensors[name].ndim == 4:
            side = SMALL_SIDE if config["data"] in SMALL_DATA else SIDE
            return (part.tensors[name].shape[dimension], side, side)
    raise InputError("decoder.pt holds no last convolution, such as conv.3.")


def points_of(config: Settings, part: Part) -> tuple[int, ...]:
    """Shape of the frames of an MLP decoder: stated by its module, or by its data set."""
    shape = part.shape
    if shape is None and config["data"] == "wave":
        return (1, SIDE, SIDE)
    if shape is None and config["data"] == "wave_partial":
        return (1, config.whole("n_wave_points"))
    if not isinstance(shape, list | tuple) or not all(type(n) is int and n > 0 for n in shape):
        raise InputError("decoder.pt names no output_shape, the shape of its frames.")
    return tuple(shape)


def separable_settings(
    model: Separable, options: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
    """The published settings of a model built with these options.

    Args:
        model: the model.
        options: complete options of its constructor.
        base: settings that it was imported with, or the published defaults.

    Errors:
        InputError: the published layout cannot hold an option; the message names it.
    """
    encoder = options["architecture"]
    decoder = options["decoder_architecture"] or encoder
    decoder = own_decoder(decoder)
    data = data_of(model, decoder, base.get("data"))
    learned = options["content"] == "learned"
    fixed = {"maps", "resnet"}  # published at one width
    demands = {
        "dynamics_layers": (options["dynamics_layers"], 3),
        **({"encoder_width": (options["encoder_width"], 64)} if encoder in fixed else {}),
        **({"decoder_width": (options["decoder_width"], 64)} if decoder in fixed else {}),
        **({"mixing": (options["mixing"], "concat")} if decoder == "maps" else {}),
        **({"content": (options["content"], "learned")} if decoder == "maps" else {}),
    }
    check_fit(model, demands)
    check_defaults(model, options, {*OPTIONS, *demands, *RULED})
    published = next(name for name, ours in DECODERS.items() if ours == decoder)
    architecture = next(name for name, ours in ENCODERS.items() if ours == encoder)
    named = base.get("decoder_architecture") == published or published != architecture
    widths = {"enc_hidden_size": "encoder_width", "dec_hidden_size": "decoder_width"}
    return settings_of(options, OPTIONS) | {
        **{theirs: options[ours] for theirs, ours in widths.items()},
        "architecture": architecture,
        "decoder_architecture": published if named else None,
        "data": data,
        "mixing": "mul" if options["mixing"] == "product" else "concat",
        "no_s": not learned,
        "nt_cond": model.spec.context,
        "nt_pred": model.spec.horizon,
        "offset": 0 if options["rollout_from"] == "target" else model.spec.context,
        **({"n_wave_points": model.spec.space[0]} if data == "wave_partial" else {}),
    }


def data_of(model: Separable, decoder: str, base: str | None) -> str:
    """A published data set with the model's frames and output, which a reader of the files needs.

    Errors:
        InputError: no published data set fits.
    """
    spec = model.spec
    identity = model.decoder.output == "identity"
    channels, space = len(spec.channels), spec.space
    if decoder == "mlp":
        waves = ["wave"] if spec.frame_shape == (1, SIDE, SIDE) else []
        waves = ["wave_partial"] if len(space) == 1 and channels == 1 else waves
        fitting = [] if identity else waves
    elif space == (SIDE, SIDE):
        colours = ["mnist", "chairs", "wave"] if channels == 1 else ["chairs", "mnist", "wave"]
        fitting = ["sst"] if identity else colours
    else:
        small = space == (SMALL_SIDE, SMALL_SIDE) and decoder == "vgg" and identity
        fitting = ["taxibj"] if small else []
    if not fitting:
        raise InputError(
            f"The published layout of Separable cannot hold frames of {spec.frame_shape} with "
            f"output: {model.decoder.output} from a {decoder} decoder."
        )
    return base if base in fitting else fitting[0]
