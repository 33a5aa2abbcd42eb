"""What samples and frames share is computed once per window: fewer multiplications."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from statecast.data.base import window_generators
from statecast.frames import FrameSpec
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.nn.fast import switches as fast_paths

SIDE = {"vgg": 64, "dcgan": 32, "maps": 16}


def model_of(architecture, skips):
    side = SIDE[architecture]
    spec = FrameSpec(
        channels=("grey",), space=(side, side), context=3, horizon=4, value_range=(0.0, 1.0)
    )
    generator = torch.Generator().manual_seed(0)
    if architecture == "maps":
        return Separable(
            spec, architecture="maps", skips=skips, encoder_width=2, decoder_width=2,
            content_size=4, latent_size=4, dynamics_hidden=4, generator=generator,
        )  # fmt: skip
    return SRVP(
        spec, architecture=architecture, skips=skips, width=2, code_size=4, latent_size=3,
        noise_size=2, inference_hidden=5, content_size=5, transition_hidden=4, generator=generator,
    )  # fmt: skip


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("architecture", SIDE)
def test_context_is_encoded_and_content_convolved_once_per_window(architecture, skips):
    model = model_of(architecture, skips)
    context = torch.rand(2, 3, *model.spec.frame_shape)

    def operations(frames):
        """Those of a forecast, on all that `frames` more frames of samples add."""
        samples, horizon = (frames, 1) if model.stochastic else (1, frames)
        generator = window_generators(torch.arange(2), 1)
        with FlopCounterMode(display=False) as counter:
            model.forecast(context, horizon, samples=samples, generator=generator)
        return counter.get_total_flops()

    def first_and_later():
        one, two, five = (operations(frames) for frames in (1, 2, 5))
        assert five - two == 3 * (two - one)
        return one, two - one

    first, later = first_and_later()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.content_of(context)
    assert first - later >= counter.get_total_flops() > 0  # which no later frame repeats
    with fast_paths.without("content_once"):
        plain_first, plain_later = first_and_later()
    assert later < plain_later
    assert first <= plain_first
