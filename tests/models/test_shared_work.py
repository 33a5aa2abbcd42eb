"""What samples and frames share is computed once per window: calls of layers are counted."""

from collections import Counter

import pytest
import torch

from statecast.data.base import window_generators
from statecast.frames import Forecast, Frames, FrameSpec
from statecast.metrics import METRICS
from statecast.models import state_space
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP
from statecast.nn.blocks import ConvolutionUnit

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


@pytest.fixture
def maps_seen(monkeypatch):
    """How many maps go through each kind of computation."""
    seen = Counter()
    share, apply = ConvolutionUnit.convolve_shared, ConvolutionUnit.with_shared

    def convolve_shared(self, shared, *, first):
        seen["shared"] += len(shared)
        return share(self, shared, first=first)

    def with_shared(self, each, once, *, shared_first):
        seen["with shared"] += len(each) * (once is not None)
        return apply(self, each, once, shared_first=shared_first)

    monkeypatch.setattr(ConvolutionUnit, "convolve_shared", convolve_shared)
    monkeypatch.setattr(ConvolutionUnit, "with_shared", with_shared)
    return seen


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize(("architecture", "maps"), [("vgg", 5), ("dcgan", 5), ("maps", 4)])
def test_context_is_encoded_and_content_convolved_once_per_window(
    architecture, maps, skips, maps_seen, monkeypatch
):
    model = model_of(architecture, skips)
    context = torch.rand(2, 3, *model.spec.frame_shape)
    encoded = []
    encoders = [module for name, module in model.named_children() if "encoder" in name]
    for encoder in encoders:
        encoder.register_forward_pre_hook(lambda _, arguments: encoded.append(len(arguments[0])))
    # So little that every frame of every sample is decoded by itself.
    monkeypatch.setattr(state_space, "DECODE_BYTES", 1)
    forecast = model.forecast(
        context, 4, samples=5, generator=window_generators(torch.arange(2), 1)
    )
    samples = len(forecast.samples) if model.stochastic else 1
    # SRVP encodes frames, Separable whole contexts, for content and for dynamics.
    assert encoded == ([2 * 3] if model.stochastic else [2] * len(encoders))
    taking = maps if skips else 1
    assert maps_seen["shared"] == taking * 2
    assert maps_seen["with shared"] == taking * 2 * samples * 4


@pytest.mark.parametrize("name", ["ssim", "ssim_skimage", "spectrum"])
def test_what_a_metric_needs_of_the_truth_is_computed_once(name, monkeypatch):
    metric_class = METRICS[name]
    spec = model_of("dcgan", skips=False).spec
    frames = torch.rand(6, 2, 4, *spec.frame_shape)
    times = torch.arange(1.0, 5.0)
    target = Frames(values=frames[0], times=times, channels=spec.channels)
    forecast = Forecast(samples=frames[1:], times=times, channels=spec.channels)
    transformed = []
    where = "statecast.metrics.ssim.smooth" if "ssim" in name else (
        "statecast.metrics.spectral.periodogram"
    )  # fmt: skip
    module, function = where.rsplit(".", 1)
    plain = getattr(__import__(module, fromlist=[function]), function)

    def counting(images, *arguments):
        transformed.append(images)
        return plain(images, *arguments)

    monkeypatch.setattr(where, counting)
    metric_class.of(spec).sums(forecast, target)
    flat = target.values.flatten()
    of_truth = [i for i in transformed if torch.equal(i.flatten(), flat)]
    assert len(of_truth) == 1
    # Of each sample and of their mean: its spectrum; or mean, square and product with the truth.
    each = 3 if "ssim" in name else 1
    assert len(transformed) == (each * 6 + (2 if "ssim" in name else 1))
