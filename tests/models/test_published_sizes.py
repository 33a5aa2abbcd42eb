"""Models of the published settings have as many weights as the published ones."""

import pytest
import torch

from statecast.frames import FrameSpec
from statecast.models import MODELS

SIZES = [  # model, options, channels, sides, context, and weights of all or of parts
    ("ddpae", {}, 1, 64, 10, {"": 706_364}),
    ("dsvae", {"posterior": "factorised", "published": True}, 3, 64, 7, {"": 166_950_793}),
    ("dsvae", {"posterior": "full", "published": True}, 3, 64, 7, {"": 178_231_689}),
    # Controls of 3×4 weights are not ours, and a second bias of 4×50 is not the published code's.
    ("kvae", {}, 1, 32, 4, {"": 144_252 - 12 + 200}),
    ("mcnet", {"adversary": True}, 1, 128, 10, {"": 18_462_274, "discriminator.": 4_368_321}),
    ("mim", {"patch": 1}, 1, 64, 10, {"": 13_889_537}),
    ("mim", {"patch": 4}, 1, 64, 10, {"": 9_562_832}),
    ("mim", {"patch": 1}, 2, 32, 10, {"": 10_357_058}),
    ("phydnet", {"version": "released"}, 1, 64, 10, {"": 3_091_732}),
    ("phydnet", {"version": "paper"}, 1, 64, 10, {"": 2_951_002}),
    ("pknl", {"version": 2018}, 1, 64, 4, {"": 22_198_232}),
    ("pknl", {"version": 2019}, 1, 64, 4, {"": 22_197_736}),
    (
        "savp", {}, 3, 64, 2,
        {"cell.": 6_683_161, "encoder.": 666_832, "discriminators.vae_gan.": 5_144_001,
         "discriminators.gan.": 5_144_001},
    ),
    (
        "struct_vrnn", {}, 3, 64, 8,
        {"detector.": 489_600, "decoder.": 652_451, "dynamics.": 1_364_096},
    ),
    *(
        (
            "svg", {"backbone": backbone}, 1, side, 5,
            {"encoder.": encoder, "decoder.": decoder, "predictor.": 1_121_152,
             "posterior.": 564_500},
        )
        for backbone, side, encoder, decoder in (
            ("dcgan", 64, 3_805_376, 6_558_529),
            ("vgg", 64, 8_688_448, 11_821_505),
            ("dcgan", 128, 8_001_216, 14_948_673),
            ("vgg", 128, 15_770_944, 21_263_297),
        )
    ),
    # Robots' states, 7 × 3 + 3, are read where there are any: beside 7 × 64 of a convolution.
    ("sv2p", {"published": True}, 3, 64, 2, {"": 8_378_500 - 24, "tower.": 67_140}),
    ("sv2p", {"published": True, "agent": (4, 3)}, 3, 64, 2, {"": 8_378_500 + 7 * 64}),
    ("td_vae", {"code_size": 784, "max_gap": 4, "gap_input": False}, 1, 28, 10, {"": 1_820_760}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options", "channels", "side", "context", "weights"), SIZES)
def test_published_sizes(name, options, channels, side, context, weights):
    names = tuple(f"c{number}" for number in range(channels))
    actions, agent_states = options.get("agent", (0, 0))
    spec = FrameSpec(
        channels=names, space=(side, side), context=context, horizon=10, actions=actions,
        agent_states=agent_states,
    )  # fmt: skip
    with torch.device("meta"):
        model = MODELS[name](spec, **{k: v for k, v in options.items() if k != "agent"})
    found = {
        part: sum(w.numel() for key, w in model.named_parameters() if key.startswith(part))
        for part in weights
    }
    assert found == weights
