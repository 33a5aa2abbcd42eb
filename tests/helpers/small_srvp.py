"""A small SRVP on nine points, with weights large enough for every term to matter."""

import torch

from statecast.frames import FrameSpec
from statecast.models.srvp import SRVP
from statecast.nn.blocks import initialise_normal

SPEC = FrameSpec(channels=("intensity",), space=(9,), context=4, horizon=3, value_range=(0.0, 1.0))


def small(seed=0, **options):
    defaults = {
        "architecture": "mlp", "width": 16, "code_size": 8, "latent_size": 5, "noise_size": 3,
        "inference_frames": 3, "inference_hidden": 12, "content_size": 12, "transition_hidden": 11,
    }  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    model = SRVP(SPEC, **(defaults | options), generator=generator)
    for codec in (model.encoder, model.decoder):
        initialise_normal(codec, 0.5, generator)  # so that frames make a difference
    return model


def frames(batch=3, length=SPEC.length, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, length, 1, 9, generator=generator)
