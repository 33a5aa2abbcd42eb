"""Options and frames that a model cannot take are refused, with words that tell why."""

import math
from dataclasses import replace

import pytest
from helpers.small_models import SPEC, build

from statecast.errors import InputError

FRAMES = [  # model, options, changes of the frames
    ("ddpae", {}, {"space": (8, 16)}, "at least 16"),
    ("ddpae", {}, {"space": (18, 16)}, "divisible by 4, got 18×16"),
    ("drnet", {}, {"space": (40, 32)}, "divisible by 16, got 40×32"),
    (
        "drnet",
        {"training_frames": "first"},
        {"context": 2, "horizon": 1},
        "windows of at least 4 frames, got 3",
    ),
    ("dsvae", {}, {"space": (12, 16)}, "divisible by 8, got 12×16"),
    ("kvae", {"filters": (4,) * 4}, {"space": (16, 8)}, "divisible by 16, got 16×8"),
    ("kvae", {"likelihood": "bernoulli"}, {"value_range": None}, "Use gaussian"),
    ("kvae", {}, {"space": (7,)}, "point"),
    ("mcnet", {}, {"space": (12, 16)}, "divisible by 8, got 12×16"),
    ("mcnet", {}, {"context": 1}, "context of at least 2 frames"),
    ("mim", {}, {"space": (8,)}, "needs images"),
    ("phydnet", {}, {"space": (9, 12)}, r"divisible by 4, got 9×12.* 8×12"),
    ("phydnet", {}, {"space": (12,)}, "points of shape"),
    ("pknl", {"levels": 5}, {"space": (8, 12)}, "divisible by 32, got 8×12"),
    ("pknl", {}, {"space": (12,)}, "points of shape"),
    *((name, {}, {"space": (20, 16)}, "divisible by 8, got 20×16") for name in ("cdna", "sv2p")),
    ("cdna", {}, {"space": (7,)}, "points of shape"),
    ("savp", {}, {"space": (18, 16)}, "divisible by 4, got 18×16"),
    ("savp", {}, {"space": (68, 64)}, "divisible by 8, got 68×64"),
    ("savp", {}, {"space": (16,)}, r"points of shape \(2, 16\)"),
    ("savp", {}, {"context": 2, "horizon": 1}, "at least 4 frames, got 2"),
    *(
        (name, {"architecture": "vgg"}, {"space": (63, 104)}, "56×104")
        for name in ("srvp", "separable")
    ),
    ("struct_vrnn", {}, {"space": (16, 24)}, "16×24 and heat_width: 8"),
    ("struct_vrnn", {}, {"space": (10, 32)}, "10×32 and heat_width: 8"),
    ("struct_vrnn", {}, {"space": (16,)}, r"points of shape \(2, 16\)"),
    ("svg", {}, {"space": (40, 32)}, "divisible by 16, got 40×32.*(48|32)×32"),
    ("svg", {}, {"space": (128, 144)}, r"divisible by 32, got 128×144.*128×(128|160)"),
    ("svg", {}, {"space": (7,)}, r"points of shape \(2, 7\)"),
    ("svg", {"published": True}, {"context": 1}, "at least 2 frames, got 1"),
]
OPTIONS = [
    ("cdna", {"lstm_widths": (3, 4)}, "7 convolutional LSTMs, got 2"),
    ("cdna", {"kernel_size": 4}, "odd kernel_size"),
    ("ddpae", {"objects": 0}, "`objects` of at least 1"),
    ("ddpae", {"scale": 1.0}, "a `scale` above 1"),
    ("dmd", {"rank": 0}, "rank of at least 1"),
    ("dmd", {"energy": 0.0}, r"energy in \(0, 1\]"),
    ("dmd", {"energy": 1.5}, r"energy in \(0, 1\]"),
    ("dmd", {"ridge": -1.0}, "ridge of at least 0"),
    ("dmd", {"delays": 0}, "between 1 and the context, 3"),
    ("dmd", {"delays": 4}, "between 1 and the context, 3"),
    ("kvae", {"transition_variance": 0.0}, "positive"),
    ("kvae", {"filters": ()}, "at least 1 convolution"),
    ("mim", {"patch": 3}, "multiples of the patch, 3"),
    ("mim", {"patch": 0}, "multiples of the patch, 0"),
    ("mim", {"layers": 0}, "at least 1, got 0"),
    ("mim", {"kernel": 4}, "must be odd, got 4"),
    ("mim", {"sampling_end": 0}, "sampling_end"),
    ("phydnet", {"groups": 3}, "channels do not divide into 3 groups"),
    ("phydnet", {"kernel_size": 4}, "odd kernel_size, got 4"),
    ("phydnet", {"teacher_forcing": 1.5}, "teacher_forcing in"),
    ("pknl", {"levels": 0}, "levels"),
    ("pknl", {"diffusion": 0.0}, "positive `diffusion`"),
    ("predrnn", {"decoupling_weight": -0.1}, "finite and at least 0"),
    ("predrnn", {"decoupling_weight": math.inf}, "finite and at least 0"),
    ("separable", {"content_size": 5, "mixing": "product"}, "equal size"),
    ("separable", {"content": "constant", "skips": True}, "skips: false"),
    ("separable", {"shooting_segments": 0}, "1 to 3 forecasts, got shooting_segments=0"),
    ("separable", {"shooting_segments": 4}, "1 to 3 forecasts, got shooting_segments=4"),
    ("separable", {"architecture": "maps", "decoder_architecture": "mlp"}, "decoder_architecture"),
    ("separable", {"skips": True, "decoder_width": 8}, "encoder_width and decoder_width"),
    ("separable", {"solver": "leapfrog"}, "residual or euler or .* got 'leapfrog'"),
    ("srvp", {"architecture": "resnet", "skips": True}, r"resnet codec .* skips: false"),
    ("srvp", {"architecture": "maps"}, "codes that are vectors"),
    ("srvp", {"inference_frames": 5}, "between 1 and the context"),
    ("srvp", {"substeps": 0}, "at least 1"),
    ("srvp", {"observation_std": 0.0}, "positive"),
    ("srvp", {"transition": "gru", "substeps": 2}, "whole frames"),
    ("srvp", {"transition": "gru", "solver": "rk4"}, "gru transition works in whole frames only"),
    (
        "srvp",
        {"transition": "mlp", "solver": "dopri5"},
        "mlp transition works in whole frames only",
    ),
    ("srvp", {"transition": "gru", "stochastic": False}, "stochastic: true"),
    ("srvp", {"transition": "coupling", "latent_size": 5}, "must be even, got 5"),
    ("srvp", {"solver": "residual"}, "solver should be euler or .* or dopri5, got"),
    ("srvp", {"solver": "dopri5", "substeps": 2}, "chooses its own steps"),
    ("srvp", {"solver": "dopri5", "relative_tolerance": -1e-3}, "Tolerances must be positive"),
    ("srvp", {"absolute_tolerance": 0.0}, "Tolerances must be positive"),
    ("srvp", {"absolute_tolerance": math.nan}, "should be a number, got nan"),
    ("srvp", {"renewal": "grid", "renewal_interval": 0.0}, "between 0.001 and 1e6"),
    ("srvp", {"renewal": "grid", "renewal_interval": math.inf}, "renewal_interval must lie"),
    ("srvp", {"renewal": "poisson", "renewal_rate": 0.0}, "renewal_rate must be above 0"),
    ("srvp", {"renewal": "poisson", "renewal_rate": 5.0}, "below largest_rate"),
    ("srvp", {"renewal": "adaptive", "renewal_threshold": math.inf}, "at least 0 nats and finite"),
    ("srvp", {"renewal": "grid", "stochastic": False}, "set stochastic: true"),
    ("srvp", {"noise": "white", "smallest_diffusion": 0.0}, "must be positive and finite"),
    ("srvp", {"noise": "coloured", "correlation_time": 0.0}, "must be positive"),
    ("srvp", {"noise": "coloured", "correlation_time": 0.3}, "set substeps to 4 or more"),
    ("srvp", {"noise": "white", "solver": "heun"}, "supports the solvers euler, got 'heun'"),
    ("srvp", {"noise": "coloured", "solver": "dopri5"}, "got 'dopri5'"),
    ("srvp", {"noise": "white", "transition": "gru"}, "works in whole frames only"),
    ("srvp", {"noise": "white", "transition": "coupling"}, "needs noise: held"),
    ("srvp", {"noise": "white", "renewal": "grid"}, "is never renewed"),
    ("sv2p", {"posterior_start": 5, "kl_start": 4}, "Stages must follow each other"),
    ("td_vae", {"max_gap": 5}, "fewer than the frames of a window, 5"),
    ("td_vae", {"min_gap": 4}, "min_gap ≤ max_gap"),
    ("td_vae", {"gap_input": False, "longest_jump": 2.0}, "1 without gap_input"),
    ("td_vae", {"observation_std": 0.0}, "must be positive"),
]


@pytest.mark.parametrize(
    ("name", "options", "changes", "message"),
    [*FRAMES, *((name, options, {}, message) for name, options, message in OPTIONS)],
)
def test_what_a_model_cannot_take_is_refused(name, options, changes, message):
    with pytest.raises(InputError, match=message):
        build(name, replace(SPEC, **changes), **options)
