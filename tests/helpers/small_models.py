"""Every registered model, as small as it can be."""

from helpers.seeds import seeded

from statecast.frames import FrameSpec
from statecast.models import MODELS

SPEC = FrameSpec(
    channels=("red", "green"), space=(16, 16), context=3, horizon=2, value_range=(0.0, 1.0)
)
SMALL = {
    "srvp": {"width": 4, "code_size": 6, "latent_size": 4, "noise_size": 3, "inference_hidden": 8,
             "content_size": 8, "transition_hidden": 9},
    "separable": {"encoder_width": 4, "decoder_width": 4, "content_size": 5, "latent_size": 4,
                  "dynamics_hidden": 9},
    "svg": {"width": 4, "code_size": 6, "noise_size": 3, "recurrent_size": 8},
    "convlstm": {"width": 4, "layers": 2},
    "predrnn": {"width": 4, "layers": 2},
    "mim": {"width": 4, "layers": 3},
    "phydnet": {"state_channels": 8, "residual_hidden": (6,), "groups": 2},
    "drnet": {"width": 3, "content_size": 5, "pose_size": 4, "discriminator_hidden": 6,
              "recurrent_size": 7},
    "dsvae": {"width": 4, "code_size": 6, "content_size": 5, "motion_size": 3, "hidden": 7},
    "ddpae": {"width": 2, "image_code_size": 6, "content_size": 5, "recurrent_size": 4},
    "mcnet": {"width": 4},
    "pknl": {"width": 4, "levels": 3},
    "kvae": {"filters": (4, 4), "mixing_hidden": 6},
    "td_vae": {"code_size": 8, "belief_size": 6, "latent_size": 3, "map_hidden": 7,
               "decoder_hidden": 9},
    "cdna": {"width": 4, "lstm_widths": (4,) * 7},
    "sv2p": {"width": 4, "lstm_widths": (4,) * 7, "tower_widths": (4, 4, 4)},
    "savp": {"width": 4, "encoder_width": 4, "discriminator_width": 2, "noise_size": 3},
    "struct_vrnn": {"keypoints": 4, "heat_width": 8, "width": 4, "layers": 1, "recurrent_size": 8,
                    "prior_hidden": 5, "posterior_hidden": 5, "latent_size": 3, "candidates": 2},
    "dmd": {"rank": 4},
}  # fmt: skip

POINTS = {  # of frames of a few points
    "srvp": {"architecture": "mlp", "width": 8, "code_size": 4, "latent_size": 3, "noise_size": 2,
             "inference_hidden": 6, "content_size": 6, "transition_hidden": 8},
    "separable": {"architecture": "mlp", "encoder_width": 8, "decoder_width": 8, "content_size": 3,
                  "latent_size": 3, "dynamics_hidden": 8},
}  # fmt: skip


def build(name, spec=SPEC, *, seed=0, **options):
    return MODELS[name](spec, **(SMALL.get(name, {}) | options), generator=seeded(seed))


def build_points(name, spec, *, seed=0, **options):
    return MODELS[name](spec, **(POINTS.get(name, {}) | options), generator=seeded(seed))
