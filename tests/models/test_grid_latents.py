"""Models whose codes are maps, or whose encoder is a ResNet: what holds for vectors holds here."""

import pytest
import torch
from helpers.seeds import seeded

from statecast.errors import InputError
from statecast.frames import Batch, FrameSpec
from statecast.models.separable import Separable
from statecast.models.srvp import SRVP

SPEC = FrameSpec(
    channels=("warm", "cold"), space=(12, 20), context=3, horizon=2, value_range=(0.0, 1.0)
)
CLOSE = {"atol": 1e-3, "rtol": 1e-3}  # of values around 1, through networks that amplify rounding
GRID = (3, 5)  # a quarter of the sides


def small(seed=0, **options):
    defaults = {
        "architecture": "maps", "encoder_width": 4, "decoder_width": 4, "content_size": 5,
        "latent_size": 3, "dynamics_blocks": 2, "dynamics_hidden": 6, "output": "identity",
        "rollout_from": "target",
    }  # fmt: skip
    generator = seeded(seed)
    return Separable(SPEC, **(defaults | options), generator=generator)


def frames(batch=3, length=SPEC.length, seed=1):
    generator = seeded(seed)
    return torch.rand(batch, length, 2, 12, 20, generator=generator)


@pytest.fixture(params=[False, True], ids=["plain", "skips"])
def model(request):
    return small(skips=request.param)


def trained(model):
    """A model of larger weights, whose batch statistics are those of frames."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(10 if weight.ndim == 4 else 1)
    for module in model.train().modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # averages over all batches
    with torch.no_grad():
        for seed in range(3):
            model.loss(
                Batch.of(frames(seed=seed), SPEC.context),
                generator=seeded(0),
            )
    return model.eval()


def test_a_forecast_follows_the_codes_frame_by_frame(model):
    trained(model)
    context = frames(length=3)
    forecast = model.forecast(context, 4, samples=2)
    assert forecast.samples.shape == (2, 3, 4, 2, 12, 20)
    with torch.no_grad():
        latent, content = model.dynamics_of(context), model.content_of(context)
        assert latent.shape == (3, 3, *GRID)
        assert content.code.shape == (3, 5, *GRID)
        for time in range(4):
            frame = model.decode(content, latent[:, None])[:, 0]
            torch.testing.assert_close(forecast.samples[1, :, time], frame, **CLOSE)
            for block in model.dynamics_blocks:
                latent = latent + block(latent)
    assert not torch.allclose(forecast.samples[0, :, 0], forecast.samples[0, :, 3])


@torch.no_grad()
def test_memory_may_be_bound_without_a_difference(model):
    content = trained(model).content_of(frames(length=3))
    latents = torch.randn(2, 3, 5, 3, *GRID, generator=seeded(1))
    whole = model.decode_all(content, latents)
    for kilobytes in (1, 8, 20):
        parts = model.decode_all(content, latents, limit=1024 * kilobytes)
        torch.testing.assert_close(parts, whole, **CLOSE)


def test_content_of_one_sequence_serves_many(model):
    trained(model)
    context, other = frames(length=3), frames(batch=1, length=3, seed=9)
    one = model.forecast(context, 2, content_from=other)
    many = model.forecast(context, 2, content_from=other.expand(3, -1, -1, -1, -1))
    torch.testing.assert_close(one.samples, many.samples, **CLOSE)
    assert not torch.allclose(one.samples, model.forecast(context, 2).samples)


def test_a_sequence_does_not_depend_on_its_batch(model):
    context = frames(length=3)
    together = trained(model).forecast(context, 3).samples
    alone = model.forecast(context[1:2], 3).samples
    torch.testing.assert_close(together[:, 1:2], alone, **CLOSE)


def test_half_steps_lie_on_the_way():
    model, context = trained(small(dynamics_gain=0.2)), frames(length=3)
    times = [1.0, 1.5, 2.0]
    with torch.no_grad():
        state = model.observe(context)
        whole, halves = (model.advance(state, torch.tensor(times), substeps=n) for n in (1, 2))
    torch.testing.assert_close(whole[:, :, 1], (whole[:, :, 0] + whole[:, :, 2]) / 2, **CLOSE)
    torch.testing.assert_close(halves[:, :, 0], whole[:, :, 0], **CLOSE)
    assert model.forecast(context, times=times, substeps=2).samples.shape[2] == 3


def test_the_loss_reaches_every_weight_and_averages_the_prior(model):
    terms = model.train().loss(Batch.of(frames(), SPEC.context), generator=seeded(0))
    terms["total"].backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name
    model.eval()
    with torch.no_grad():
        latent = model.dynamics_of(frames()[:, :3])
        prior = model.loss_terms(frames(), 0)["prior"]
    torch.testing.assert_close(prior, latent.square().flatten().mean() / 2, **CLOSE)


def test_content_that_is_one_is_a_product_with_one():
    model = trained(small(content="constant", content_size=99))
    assert model.content_encoder is None
    assert model.prior_weight == 0
    content = model.content_of(frames())
    assert torch.equal(content.code, torch.ones(3, 3, *GRID))
    latents = torch.randn(3, 2, 3, *GRID, generator=seeded(0))
    with torch.no_grad():
        alone = model.decoder.stages[0](latents.flatten(0, 1))
        mixed, shared = model.decoder.mix(content, latents)
        assert shared is None
        torch.testing.assert_close(model.decoder.stages[0](mixed), alone, **CLOSE)


def test_products_of_maps_need_as_many_channels():
    assert small(mixing="product", content_size=3).forecast(frames(length=3), 2)
    with pytest.raises(InputError, match="equal size, got 5 and 3"):
        small(mixing="product")


@pytest.mark.parametrize("kind", [SRVP, Separable])
def test_a_resnet_encoder_serves_both_models(kind):
    spec = FrameSpec(channels=("a",), space=(16, 32), context=3, horizon=2, value_range=(0.0, 1.0))
    sizes = {"width": 4, "code_size": 6, "noise_size": 3, "inference_hidden": 8, "content_size": 8,
             "transition_hidden": 9}  # fmt: skip
    if kind is Separable:
        sizes = {"encoder_width": 4, "decoder_width": 4, "dynamics_hidden": 9}
    model = kind(
        spec, architecture="resnet", latent_size=4, generator=seeded(0),
        **sizes,
    )  # fmt: skip
    values = torch.rand(4, 5, 1, 16, 32, generator=seeded(1))
    model.train().loss(Batch.of(values, 3), generator=seeded(2))["total"].backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
    assert model.forecast(values[:, :3], 4).samples.shape == (1, 4, 4, 1, 16, 32)
